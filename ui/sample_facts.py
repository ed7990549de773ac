"""The facts about samples that pages show, as plain records."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MomentFacts:
    """When a feature row happened, and when serving could have used it."""

    event_time: dt.datetime
    known_at: dt.datetime


@dataclass(frozen=True, kw_only=True)
class FeatureUse:
    """Values from one view: the row `used`, one too old, or a newer one that was not known in time."""

    view: str
    snapshot_id: int | None
    values: tuple[tuple[str, str], ...]
    used: MomentFacts | None
    expired: MomentFacts | None
    not_used: MomentFacts | None


@dataclass(frozen=True, kw_only=True)
class LabelUse:
    """One label; `watermark` says how far its table was complete when the sample was built."""

    name: str
    table: str
    value: str
    state: str
    at: dt.datetime | None
    window_ends: dt.datetime
    watermark: dt.datetime | None


@dataclass(frozen=True, kw_only=True)
class InspectedFacts:
    """One sample and the origin of all its values."""

    sample_set: str
    sample_id: str
    event_time: dt.datetime
    label_state: str
    keep_rate: float
    columns: tuple[tuple[str, str], ...]
    features: tuple[FeatureUse, ...]
    labels: tuple[LabelUse, ...]


@dataclass(frozen=True, kw_only=True)
class SampleDayFacts:
    """One day of a sample table; counts by label, and by feature view for `without_row`."""

    day: dt.date
    rows: int
    positives: Mapping[str, int]
    pending: Mapping[str, int]
    corrected: Mapping[str, int]
    without_row: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ExampleFacts:
    """A sample to look at."""

    sample_id: str
    event_time: dt.datetime
    positive: bool


@dataclass(frozen=True, kw_only=True)
class SampleSetFacts:
    """The newest days of a sample table, oldest first, and examples of them."""

    table: str
    days: tuple[SampleDayFacts, ...] = ()
    examples: tuple[ExampleFacts, ...] = ()
    error: str = ""
