"""Daily partitions of assets, as configured in `lake/lake.toml`."""

import datetime as dt
import tomllib

import dagster as dg

from headrace.config import Settings
from headrace.errors import SettingReason, SettingsError

_FIRST_DAY = dt.date(2026, 1, 1)


def days_of(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Read `[orchestration] first_day` and, for a history with an end, `last_day`.

    Raises:
        SettingsError: If one of them is not a date, or the section has another key.

    """
    file = settings.declarations / "lake.toml"
    said = tomllib.loads(file.read_text()).get("orchestration", {})
    for key, value in said.items():
        if key not in {"first_day", "last_day"} or not isinstance(value, dt.date):
            msg = (
                f"`{file}`: orchestration.{key} is {value!r}; allowed are `first_day` and "
                "`last_day`, each a date such as 2026-01-01 without quotes"
            )
            raise SettingsError(
                msg, setting=f"orchestration.{key}", reason=SettingReason.NOT_ALLOWED
            )
    last: dt.date | None = said.get("last_day")
    return dg.DailyPartitionsDefinition(
        start_date=said.get("first_day", _FIRST_DAY).isoformat(),
        end_date=None if last is None else (last + dt.timedelta(days=1)).isoformat(),
        timezone="UTC",
    )
