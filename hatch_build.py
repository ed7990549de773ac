"""What the wheel carries beside the library: the shells, dbt's macros and the files of a new lake.

They stay where they are in a checkout, which an editable installation reads.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIED = (
    "ui",
    "orchestration",
    "new_lake",
    "dg.toml",
    "dbt_project/macros",
    "dbt_project/tests",
    "dbt_project/profiles.yml",
)
_NOT = {"__pycache__"}


class CarryShells(BuildHookInterface):
    """Puts each file of `CARRIED` below `headrace/shells`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them to a wheel that is not editable."""
        if version == "editable":
            return
        root = Path(self.root)
        for name in CARRIED:
            for file in _files(root / name):
                inside = file.relative_to(root).as_posix()
                build_data["force_include"][str(file)] = f"headrace/shells/{inside}"


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    return [
        file
        for file in sorted(place.rglob("*"))
        if file.is_file() and not _NOT.intersection(file.parts)
    ]
