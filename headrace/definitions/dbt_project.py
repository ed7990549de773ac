"""Where a lake's dbt project lies, and which models it has, without asking dbt."""

import os
from pathlib import Path
from typing import Any

import yaml

import headrace
from headrace.config import Settings

_FILE = "dbt_project.yml"


def project_places(settings: Settings) -> tuple[Path, ...]:
    """List the places where a lake's dbt project may lie, the first that has one counts."""
    given = os.environ.get("HEADRACE_DBT_PROJECT")
    checkout = Path(headrace.__file__).parents[1] / "dbt_project"
    return (Path(given),) if given else (settings.root / "dbt_project", checkout)


def find_project(settings: Settings) -> Path | None:
    """Find the dbt project of a lake, None if there is none."""
    return next((place for place in project_places(settings) if (place / _FILE).is_file()), None)


def lost_model(settings: Settings, recorded: str) -> Path | None:
    """Tell the project that has built a table and has its model no more; None otherwise.

    `recorded` is a table's `MODEL_PROPERTY`. A table of another project than the lake's is nobody's
    business here.
    """
    project, _, model = recorded.partition(".")
    place = find_project(settings)
    if place is None:
        return None
    try:
        said: Any = yaml.safe_load((place / _FILE).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None  # dbt says what is wrong with it
    if not isinstance(said, dict) or said.get("name") != project:
        return None
    folders = said.get("model-paths") or ["models"]
    files = (f"{model}{version}.{kind}" for version in ("", "_v*") for kind in ("sql", "py"))
    found = ((place / folder).rglob(file) for file in files for folder in folders)
    return None if any(any(each) for each in found) else place
