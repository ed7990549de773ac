"""When automation builds an asset: Dagster's `eager`, without two of its rules that never hold here."""

import datetime as dt
import math
from typing import Any

import dagster as dg

from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream

DAY = dt.timedelta(days=1)


def samples_condition(
    sample_set: SampleSet, streams: tuple[Stream, ...]
) -> dg.AutomationCondition[Any]:
    """Build the latest days when an input changed: those whose labels can still arrive.

    `eager` builds the last day alone, and labels of yesterday arrive today. Earlier days are left to
    a backfill; days whose inputs did not change are not rebuilt.
    """
    window = max((label.window for label in sample_set.labels), default=dt.timedelta())
    late = max((stream.allowed_lateness for stream in streams), default=dt.timedelta())
    days = 1 + math.ceil((window + late) / DAY)
    recent = dg.AutomationCondition.in_latest_time_window(lookback_delta=days * DAY)
    return dg.AutomationCondition.eager().replace("in_latest_time_window", recent)


def dataset_condition() -> dg.AutomationCondition[Any]:
    """Publish when samples changed, though some days were never built.

    `eager` waits for all days of its input, of which the current one, and days without events, are
    never built.
    """
    return dg.AutomationCondition.eager().without(~dg.AutomationCondition.any_deps_missing())
