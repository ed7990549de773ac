"""Shows one sample with the times behind every value, and rows that were not known yet."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.properties import RECIPE_PROPERTY
from headrace.definitions.stream import REMOVED
from headrace.engines.base import Engine
from headrace.engines.open import open_engine
from headrace.errors import SampleNotFoundError, SnapshotNotFoundError
from headrace.identifiers import TableName, quote, quote_text
from headrace.registry import Build
from headrace.samples.plan import day_text
from headrace.samples.resolve import (
    EVENT_TIME,
    KEEP_RATE,
    LABEL_STATE,
    SAMPLE_ID,
    Recipe,
    ResolvedFeature,
    ResolvedLabel,
)
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When a feature row happened and when serving could have used it.

    `removed` says that the entity was gone from then on, by whole snapshots of its stream.
    """

    event_time: dt.datetime
    known_at: dt.datetime
    removed: bool = False


@dataclass(frozen=True, kw_only=True)
class InspectedFeature:
    """Values from one feature view.

    `used` is None if no row was known, or if the newest known row was older than the TTL; that row
    is then `expired`. `not_used` is the first newer row that was not known in time. `logged` says that
    the values are those that were served, of the row that serving used.
    """

    view: str
    snapshot_id: int | None
    values: tuple[tuple[str, object], ...]
    used: Moment | None
    expired: Moment | None
    not_used: Moment | None
    logged: bool = False


@dataclass(frozen=True, kw_only=True)
class InspectedLabel:
    """One label; `watermark` says how far its table was complete when the sample was built."""

    name: str
    table: str
    value: object
    state: str
    at: dt.datetime | None
    window_ends: dt.datetime
    watermark: dt.datetime | None


@dataclass(frozen=True, kw_only=True)
class InspectedSample:
    """One sample and the origin of all its values."""

    sample_set: str
    sample_id: str
    event_time: dt.datetime
    label_state: str
    keep_rate: float
    snapshot_id: int
    columns: tuple[tuple[str, object], ...]
    features: tuple[InspectedFeature, ...]
    labels: tuple[InspectedLabel, ...]


def inspect_sample(lake: OpenLake, tables: Sequence[TableName], sample_id: str) -> InspectedSample:
    """Find a sample in the first of `tables` that has it, and explain it.

    Feature views are read at the snapshots from which the sample was built, or at their heads if
    those have expired.

    Raises:
        SampleNotFoundError: If none of the tables has it.

    """
    built = [name for name in tables if lake.exists(name)]
    with open_engine(lake.settings) as engine:
        for name in built:
            version = lake.table(name).head()
            if RECIPE_PROPERTY not in version.properties:
                continue
            engine.bind("samples", version)
            sql = f"select * from samples where {SAMPLE_ID} = {quote_text(sample_id)}"
            rows = engine.query(sql).read_all()
            if rows.num_rows:
                engine.bind_arrow("sample", rows)
                return _Inspection(lake, engine, version, rows.to_pylist()[0]).result()
    raise SampleNotFoundError(sample_id, sample_sets=tuple(str(name) for name in built))


class _Inspection:
    """Explains one row of one sample table; the engine has it as `sample`."""

    def __init__(
        self, lake: OpenLake, engine: Engine, version: TableVersion, row: dict[str, object]
    ) -> None:
        self._lake, self._engine, self._row = lake, engine, row
        self._snapshot_id = version.snapshot_id or 0
        self._recipe = Recipe.from_json(version.properties[RECIPE_PROPERTY])
        self._t = _time(row[EVENT_TIME]) or EPOCH
        key = day_text(self._t.astimezone(dt.UTC).date())
        self._build: Build | None = lake.registry.builds(self._recipe.table).get(key)

    def result(self) -> InspectedSample:
        recipe, row = self._recipe, self._row
        computed = [name for used in recipe.windows for _, name in used.columns]
        return InspectedSample(
            sample_set=recipe.name,
            sample_id=str(row[SAMPLE_ID]),
            event_time=self._t,
            label_state=str(row[LABEL_STATE]),
            keep_rate=float(str(row[KEEP_RATE])),
            snapshot_id=self._snapshot_id,
            columns=tuple(
                (name, row[name]) for name in (*recipe.entities, *recipe.columns, *computed)
            ),
            features=tuple(self._feature(feature) for feature in recipe.features),
            labels=tuple(self._label(label) for label in recipe.labels),
        )

    def _feature(self, feature: ResolvedFeature) -> InspectedFeature:
        row, version = self._row, self._version(feature.view)
        self._engine.bind("feature", version)
        used_at = _time(row[f"{feature.name}__event_time"])
        known_at = _time(row[f"{feature.name}__known_at"])
        used = None
        if used_at is not None and known_at is not None:
            used = Moment(event_time=used_at, known_at=known_at)
        self._removed = quote(REMOVED) if REMOVED in version.schema.names else "false"
        seen = "f.event_time < s.event_time and f.known < s.event_time"
        newest = self._first(feature, seen, order="f.event_time desc, f.known desc")
        if used is not None and newest is not None:
            used = replace(used, removed=newest.removed)
        since = used or newest
        newer = "true"
        if since is not None:
            happened = self._engine.dialect.epoch_us("f.event_time")
            newer = f"{happened} >= {(since.event_time - EPOCH) // ONE_US}"
        return InspectedFeature(
            view=feature.view,
            snapshot_id=version.snapshot_id,
            values=tuple((name, row[name]) for _, name in feature.columns),
            used=used,
            expired=newest if used is None else None,
            not_used=self._first(
                feature, f"not ({seen}) and {newer}", order="f.known, f.event_time"
            ),
            logged=bool(row.get(f"{feature.name}__logged")),
        )

    def _first(self, feature: ResolvedFeature, condition: str, *, order: str) -> Moment | None:
        dialect = self._engine.dialect
        happened = dialect.epoch_us(quote(feature.event_time))
        told = dialect.epoch_us(quote(feature.known_at))
        known = f"greatest({told}, {happened} + {feature.delay_us})"
        same = " and ".join(f"f.{quote(name)} = s.{quote(name)}" for name in feature.entity)
        entity = ", ".join(quote(name) for name in feature.entity)
        sql = (
            f"select f.event_time, f.known, f.removed from (select {entity}, "
            f"coalesce({self._removed}, false) as removed, "
            f"{dialect.instant(happened)} as event_time, {dialect.instant(known)} as known "
            f"from feature) f join sample s on {same} where {condition} order by {order} limit 1"
        )
        found = self._engine.query(sql).read_all().to_pylist()
        if not found:
            return None
        return Moment(
            event_time=found[0]["event_time"],
            known_at=found[0]["known"],
            removed=found[0]["removed"],
        )

    def _label(self, label: ResolvedLabel) -> InspectedLabel:
        mark = None if self._build is None else self._build.watermarks.get(label.table)
        return InspectedLabel(
            name=label.name,
            table=label.table,
            value=self._row[label.name],
            state=str(self._row[f"{label.name}_state"]),
            at=_time(self._row[f"{label.name}_at"]),
            window_ends=self._t + label.window_us * ONE_US,
            watermark=None if mark is None else EPOCH + mark * ONE_US,
        )

    def _version(self, name: str) -> TableVersion:
        table, build = self._lake.table(TableName.parse(name)), self._build
        if build is None or name not in build.inputs:
            return table.head()
        try:
            version = table.at(snapshot_id=build.inputs[name])
        except SnapshotNotFoundError:
            return table.head()
        # a recipe uses the column names of the time of its build
        is_of_it = build.code == self._recipe.code
        return version.in_schema_with(self._recipe.reads[name]) if is_of_it else version


def _time(value: object) -> dt.datetime | None:
    return value if isinstance(value, dt.datetime) else None
