"""Daily partitions of assets, as configured in `lake/lake.toml`."""

import datetime as dt

import dagster as dg

from orchestration.lib.section import Section


def days_of(section: Section) -> dg.DailyPartitionsDefinition:
    """Return the days from `first_day` to today, or to the `last_day` of a history with an end."""
    last = section.last_day
    return dg.DailyPartitionsDefinition(
        start_date=section.first_day.isoformat(),
        end_date=None if last is None else (last + dt.timedelta(days=1)).isoformat(),
        timezone="UTC",
    )
