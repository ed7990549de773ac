"""The compose file as Compose reads it: variables replaced, then parsed by the specification's rules."""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml
from compose_spec import PyCompose, PyOptions

from infra.secrets_check import NAMES
from tests.conftest import ROOT

FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def secrets() -> dict[str, str]:
    """Return secrets as someone writes them into `.env`."""
    return {name: f"{at:02d}-of-the-tests-0123456789" for at, name in enumerate(NAMES)}


def load(environment: Mapping[str, str] | None = None, *, path: Path = FILE) -> PyCompose:
    """Read the file.

    Raises:
        KeyError: If a variable that it demands is not set.
        ValueError: If the specification knows no such file.

    """
    env = secrets() if environment is None else environment

    def replaced(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        value = env.get(found["name"])
        if value:
            return value
        if found["kind"] == "?":
            raise KeyError(found["name"])
        return found["rest"] or ""

    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = yaml.safe_load("\n".join(_VARIABLE.sub(replaced, line) for line in lines))
    named = {key: value for key, value in whole.items() if not key.startswith("x-")}
    return PyOptions().from_yaml(yaml.safe_dump(named))
