"""Refuse secrets of a compose file that are missing, of the example, short, unsafe or used twice."""

import os
import re
import sys
from collections.abc import Mapping, Sequence

from infra.roles import ROLES

_CHARACTERS_MIN = 16
_SAFE = re.compile(r"[A-Za-z0-9_-]+")  # they stand in URLs and configuration files
_EXAMPLE = re.compile(r"change.?me|example|password|secret|xxx", re.IGNORECASE)
NAMES = (
    "POSTGRES_PASSWORD",
    *(f"POSTGRES_{role.upper()}_PASSWORD" for role in ROLES),
    "S3_ROOT_SECRET_KEY",
    *(f"S3_{role.upper()}_SECRET_KEY" for role in ROLES),
    "TRINO_SHARED_SECRET",
    *(f"TRINO_{role.upper()}_PASSWORD" for role in ROLES),
    "REDIS_PASSWORD",
    "SERVE_TOKEN",
    "GRAFANA_PASSWORD",
)


def faults(environment: Mapping[str, str]) -> Sequence[str]:
    """Say what is wrong with each secret, without repeating any."""
    found: list[str] = []
    seen: dict[str, str] = {}
    for name in NAMES:
        value = environment.get(name, "")
        if not value:
            found.append(f"{name} is not set")
        elif _EXAMPLE.search(value):
            found.append(f"{name} is that of an example")
        elif len(value) < _CHARACTERS_MIN:
            found.append(f"{name} has less than {_CHARACTERS_MIN} characters")
        elif not _SAFE.fullmatch(value):
            found.append(f"{name} has other characters than letters, digits, `-` and `_`")
        elif value in seen:
            found.append(f"{name} is the same as {seen[value]}")
        seen.setdefault(value, name)
    return found


def main() -> None:
    """Exit with 1 and the faults of this process's environment, if it has any."""
    if found := faults(os.environ):
        sys.exit("\n".join(["error: write other secrets into .env:", *found]))


if __name__ == "__main__":
    main()
