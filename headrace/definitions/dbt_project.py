"""Find a lake's dbt project and its models, without running dbt."""

import os
from pathlib import Path
from typing import Any

import yaml

from headrace.config import Settings

_FILE = "dbt_project.yml"


def project_places(settings: Settings) -> tuple[Path, ...]:
    """List the folders where a lake's dbt project may be, in order of precedence."""
    given = os.environ.get("HEADRACE_DBT_PROJECT")
    checkout = Path(__file__).parents[2] / "dbt_project"
    return (Path(given),) if given else (settings.root / "dbt_project", checkout)


def find_project(settings: Settings) -> Path | None:
    """Find the dbt project of a lake; None if there is none."""
    return next((place for place in project_places(settings) if (place / _FILE).is_file()), None)


def lost_model(settings: Settings, recorded: str) -> Path | None:
    """Return the lake's project if it built a table but no longer has its model; else None.

    `recorded` is the `MODEL_PROPERTY` of the table. Tables of other projects are ignored.
    """
    project, _, model = recorded.partition(".")
    place = find_project(settings)
    if place is None:
        return None
    try:
        said: Any = yaml.safe_load((place / _FILE).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None  # dbt reports the error
    if not isinstance(said, dict) or said.get("name") != project:
        return None
    folders = said.get("model-paths") or ["models"]
    files = [f"{model}{version}.{kind}" for version in ("", "_v*") for kind in ("sql", "py")]
    places = [(folder, file) for folder in folders for file in files]
    places += [(folder, f"{model}.csv") for folder in said.get("seed-paths") or ["seeds"]]
    return None if any(any((place / folder).rglob(file)) for folder, file in places) else place
