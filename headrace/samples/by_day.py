"""What the days of a sample table hold: positives, pending labels, missing features; and examples."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.clock import EPOCH, ONE_DAY, ONE_US
from headrace.definitions.properties import RECIPE_PROPERTY
from headrace.engines.base import Engine
from headrace.engines.open import open_engine
from headrace.identifiers import quote, quote_text
from headrace.samples.labels import CORRECTED, PENDING
from headrace.samples.resolve import EVENT_TIME, SAMPLE_ID, Recipe
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

DAYS_MAX = 60


@dataclass(frozen=True, kw_only=True)
class SampleDay:
    """One day of samples, in UTC.

    `positives`, `pending` and `corrected` count samples by label; `without_row` counts, by feature
    view, the samples for which no row was known or the newest known one had expired.
    """

    day: dt.date
    rows: int
    positives: Mapping[str, int]
    pending: Mapping[str, int]
    corrected: Mapping[str, int]
    without_row: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class SampleExample:
    """A sample to look at; `positive` if any of its labels is."""

    sample_id: str
    event_time: dt.datetime
    positive: bool


@dataclass(frozen=True, kw_only=True)
class SampleDays:
    """The newest days of a sample table, oldest first, and some samples of them, positives first."""

    days: tuple[SampleDay, ...] = ()
    examples: tuple[SampleExample, ...] = ()


def sample_days(
    lake: OpenLake, version: TableVersion, *, days_max: int = DAYS_MAX, examples: int = 12
) -> SampleDays:
    """Read the newest `days_max` days that hold samples; older partitions are not opened.

    Raises:
        LakeError: If the table cannot be read.

    """
    if version.snapshot_id is None or RECIPE_PROPERTY not in version.properties:
        return SampleDays()
    recipe = Recipe.from_json(version.properties[RECIPE_PROPERTY])
    held = sorted(day for key in version.partitions for day in key if isinstance(day, dt.date))
    since = held[-days_max:][0] if held else EPOCH.date()
    with open_engine(lake.settings) as engine:
        engine.bind("samples", version)
        happened = engine.dialect.epoch_us(quote(EVENT_TIME))
        start = (dt.datetime.combine(since, dt.time(), dt.UTC) - EPOCH) // ONE_US
        recent = f"from samples where {happened} >= {start}"
        return SampleDays(
            days=_days(engine, recipe, recent=recent, happened=happened),
            examples=_examples(engine, recipe, recent=recent, limit=examples),
        )


def _days(engine: Engine, recipe: Recipe, *, recent: str, happened: str) -> tuple[SampleDay, ...]:
    counted: dict[str, str] = {}
    for n, label in enumerate(recipe.labels):
        state = quote(f"{label.name}_state")
        counted[f"positive_{n}"] = _positive(engine, label.name)
        counted[f"pending_{n}"] = f"{state} = {quote_text(PENDING)}"
        counted[f"corrected_{n}"] = f"{state} = {quote_text(CORRECTED)}"
    for n, feature in enumerate(recipe.features):
        counted[f"without_{n}"] = f"{quote(f'{feature.name}__event_time')} is null"
    sums = ", ".join(
        f"sum(case when {condition} then 1 else 0 end) as {name}"
        for name, condition in counted.items()
    )
    day_us = ONE_DAY // ONE_US
    # whole division of times before 1970 would round up, and there are none
    sql = (
        f"select day, count(*) as row_count{', ' if sums else ''}{sums} from "
        f"(select *, floor({happened} / {day_us}.0) as day {recent}) s group by day order by day"
    )
    return tuple(
        SampleDay(
            day=(EPOCH + int(row["day"]) * ONE_DAY).date(),
            rows=row["row_count"],
            positives={x.name: int(row[f"positive_{n}"]) for n, x in enumerate(recipe.labels)},
            pending={x.name: int(row[f"pending_{n}"]) for n, x in enumerate(recipe.labels)},
            corrected={x.name: int(row[f"corrected_{n}"]) for n, x in enumerate(recipe.labels)},
            without_row={x.view: int(row[f"without_{n}"]) for n, x in enumerate(recipe.features)},
        )
        for row in engine.query(sql).read_all().to_pylist()
    )


def _examples(
    engine: Engine, recipe: Recipe, *, recent: str, limit: int
) -> tuple[SampleExample, ...]:
    positive = " or ".join(_positive(engine, label.name) for label in recipe.labels) or "false"
    sql = (
        f"select {SAMPLE_ID} as id, {quote(EVENT_TIME)} as shown_at, "
        f"case when {positive} then 1 else 0 end as is_positive {recent} "
        f"order by is_positive desc, shown_at desc, id limit {limit}"
    )
    return tuple(
        SampleExample(
            sample_id=str(row["id"]), event_time=row["shown_at"], positive=bool(row["is_positive"])
        )
        for row in engine.query(sql).read_all().to_pylist()
    )


def _positive(engine: Engine, label: str) -> str:
    """Render whether a label is positive: neither 0, null nor NaN."""
    value = quote(label)
    is_nan = engine.dialect.is_nan(f"cast({value} as double)")
    return f"(coalesce({value} <> 0, false) and not coalesce({is_nan}, false))"
