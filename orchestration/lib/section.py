"""The section `[orchestration]` of `lake.toml`: days, owners, and how old data may be."""

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.config import Settings
from headrace.errors import SettingReason, SettingsError

DEFAULT = "default"
_FIRST_DAY = dt.date(2026, 1, 1)
_FRESH_HOURS = 24
_OWNER = re.compile(r"team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+")  # the two forms of Dagster
_HOURS_MAX = 24 * 3660


@dataclass(frozen=True, kw_only=True)
class Section:
    """How a lake is orchestrated: `[orchestration]` in `lake.toml`.

    `owners` and `fresh_hours` are by table, group or `default`, the most exact first.
    """

    first_day: dt.date = _FIRST_DAY
    """The first of the days that samples have in Dagster. Example: `2026-01-01`"""
    last_day: dt.date | None = None
    """The last one; a history without an end has none, and its tables have a freshness policy.
    Example: `2026-03-31`"""
    owners: Mapping[str, str] = field(default_factory=dict[str, str])
    """`team:name` or an e-mail address. Example: `{default = "team:recommendations"}`"""
    fresh_hours: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many hours a table's watermark may be old, beyond the `allowed_lateness` of its stream; 24
    where nothing is said. Example: `{"raw.items" = 240}`"""

    def owner_of(self, name: str, *, group: str) -> str | None:
        """Return the owner of a table or of another asset."""
        return _most_exact(self.owners, name, group)

    def fresh_hours_of(self, name: str, *, group: str) -> int:
        """Return how many hours a table's watermark may be old."""
        return _most_exact(self.fresh_hours, name, group) or _FRESH_HOURS


def read_section(settings: Settings) -> Section:
    """Read the section; everything in it is optional.

    Raises:
        SettingsError: If a key is unknown, or has a value of another kind.

    """
    file = settings.declarations / "lake.toml"
    said: dict[str, Any] = tomllib.loads(file.read_text()).get("orchestration", {})
    for key, value in said.items():
        if key in {"first_day", "last_day"}:
            _check(file, key, value, ok=type(value) is dt.date, allowed="a date such as 2026-01-01")
        elif key == "owners":
            _check_mapping(file, key, value, _is_owner, "`team:name` or an e-mail address")
        elif key == "fresh_hours":
            _check_mapping(file, key, value, _is_hours, f"a whole number from 1 to {_HOURS_MAX}")
        else:
            allowed = "there are `first_day`, `last_day`, `owners` and `fresh_hours`"
            _check(file, key, value, ok=False, allowed=allowed)
    return Section(**said)


def _most_exact(values: Mapping[str, Any], name: str, group: str) -> Any:  # noqa: ANN401  (of the mapping)
    return next((values[key] for key in (name, group, DEFAULT) if key in values), None)


def _is_owner(value: object) -> bool:
    return isinstance(value, str) and _OWNER.fullmatch(value) is not None


def _is_hours(value: object) -> bool:
    return type(value) is int and 1 <= value <= _HOURS_MAX


def _check_mapping(file: Path, key: str, value: object, is_fine: Any, allowed: str) -> None:  # noqa: ANN401  (a predicate)
    where = f"a table by table or group, or `{DEFAULT}`"
    _check(file, key, value, ok=isinstance(value, dict), allowed=where)
    if isinstance(value, dict):
        for name, each in value.items():
            _check(file, f"{key}.{name}", each, ok=is_fine(each), allowed=allowed)


def _check(file: Path, key: str, value: object, *, ok: bool, allowed: str) -> None:
    if not ok:
        msg = f"`{file}`: orchestration.{key} is {value!r}, but must be {allowed}"
        raise SettingsError(msg, setting=f"orchestration.{key}", reason=SettingReason.NOT_ALLOWED)
