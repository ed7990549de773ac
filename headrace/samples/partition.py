"""Computes one day of samples, a function of recipe, pinned inputs and watermarks alone."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile

from headrace.clock import ONE_DAY
from headrace.definitions.windows import Windows
from headrace.engines.base import Engine
from headrace.engines.dialect import Dialect
from headrace.errors import (
    ColumnReason,
    ContractError,
    DuplicateExposureError,
    LeakError,
    NullKnownAtError,
)
from headrace.identifiers import TableName, quote
from headrace.samples import labels as label_rules
from headrace.samples.first_arrivals import first_arrivals_sql
from headrace.samples.point_in_time import (
    NO_TIES,
    Exposures,
    FeatureJoin,
    record_sql,
    split_sql,
)
from headrace.samples.resolve import (
    EVENT_TIME,
    SAMPLE_ID,
    Recipe,
    ResolvedFeature,
)
from headrace.samples.sample_rows import kept_rows_sql, samples_sql
from headrace.samples.schema import samples_schema
from headrace.samples.served_log import ServedLog, answers_sql
from headrace.samples.ties import TiedKeys
from headrace.samples.times import Span, start_of
from headrace.samples.window_use import ResolvedWindows
from headrace.samples.windows import WindowJoin, window_sql
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.version import TableVersion


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """The snapshot of each input, and how far each label table was complete (epoch µs).

    A table without a snapshot was empty. A label of a table without a watermark never matures.
    """

    inputs: Mapping[str, int]
    watermarks: Mapping[str, int]


class PartitionBuilder:
    """Computes days of one recipe from pinned inputs, and caches what several days share.

    `versions` are the inputs of `pinned`, with the columns that the recipe names.
    """

    def __init__(
        self,
        engine: Engine,
        recipe: Recipe,
        *,
        pinned: Pinned,
        versions: Mapping[str, TableVersion],
    ) -> None:
        self._engine, self._recipe, self._pinned, self._versions = engine, recipe, pinned, versions
        self._dialect = engine.dialect
        self._kinds = samples_schema(recipe, versions)
        for name, version in versions.items():
            engine.bind(name, version)
        self._ties = TiedKeys(engine)
        self._tied: dict[int, str] = {}

    @property
    def recipe(self) -> Recipe:
        """What its samples are made of."""
        return self._recipe

    def rows(self, day: dt.date) -> Iterator[pa.RecordBatch]:
        """Yield the samples of `day`, in order of `(event_time, sample_id)`.

        Equal arguments give equal rows in equal order. Every batch is checked before it is yielded.

        Raises:
            DuplicateExposureError: If two exposures of the day share an id.
            LeakError: If a sample would use a value of its own time or later.
            NullKnownAtError: If a feature row does not say when it happened or was known.

        """
        self._prepare(day)
        for batch in self._engine.query(self.sql(day)):
            refuse_leaks(batch, self._recipe)
            yield batch

    def write(self, day: dt.date, *, into: LakeTable) -> tuple[DataFile, ...]:
        """Let the engine write the samples of `day` as files of a table, uncommitted.

        Each file has the order of `rows`. Nothing is checked for leaks: read what was written.

        Raises:
            ContractError: If the samples do not fit the table.
            DuplicateExposureError: If two exposures of the day share an id.
            NullKnownAtError: If a feature row does not say when it happened or was known.

        """
        self._prepare(day)
        return self._engine.write(self.sql(day), into=into)

    def _prepare(self, day: dt.date) -> None:
        self._refuse_duplicates(day)
        for number, feature in enumerate(self._recipe.features):
            self._refuse_nulls(feature, day)
            if self._dialect.has_asof_join:
                self._find_ties(number, feature, day)

    def _find_ties(self, number: int, feature: ResolvedFeature, day: dt.date) -> None:
        join, version = feature_join(feature, relation=""), self._versions[feature.view]
        tied = self._ties.of(join, version=version, within=reach(feature, day))
        self._tied[number] = f"tied_{number}" if tied.num_rows else NO_TIES
        if tied.num_rows:
            self._engine.bind_arrow(f"tied_{number}", tied)

    def sql(self, day: dt.date) -> str:
        """Render the query of one day, over relations bound by this builder."""
        recipe, dialect = self._recipe, self._dialect
        steps = [dialect.step_once("exposure", self._exposures(day))]
        for number, label in enumerate(recipe.labels):
            window = dt.timedelta(microseconds=label.window_us)
            span = Span(first=start_of(day), end=start_of(day + ONE_DAY) + window)
            events = self._events(label.table, EVENT_TIME, span)
            mark = self._pinned.watermarks.get(label.table)
            sql = label_rules.label_sql(
                label,
                exposures="exposure",
                events=events,
                watermark_us=mark,
                dialect=dialect,
            )
            steps.append(f"label_{number} as ({sql})")
        steps.append(dialect.step_once("kept", kept_rows_sql(recipe, dialect=dialect)))
        for number, feature in enumerate(recipe.features):
            steps.append(f"feature_{number} as ({self._feature_sql(number, feature, day)})")
        for number, used in enumerate(recipe.windows):
            steps.append(f"window_{number} as ({self._window_sql(used, day)})")
        if recipe.served is not None:
            steps.append(f"answer as ({self._answers_sql(recipe.served, day)})")
        return f"with {', '.join(steps)}\n{samples_sql(recipe, self._kinds, dialect=dialect)}"

    def _feature_sql(self, number: int, feature: ResolvedFeature, day: dt.date) -> str:
        dialect, span = self._dialect, reach(feature, day)
        exposures = Exposures(relation="kept", id=SAMPLE_ID, at=EVENT_TIME, begin=start_of(day))
        rows = _rows_sql(feature.view, feature.event_time, span, dialect=dialect)
        join = feature_join(feature, relation=rows)
        if dialect.has_asof_join:
            return split_sql(exposures, join, dialect=dialect, tied=self._tied.get(number))
        return record_sql(exposures, join, dialect=dialect)

    def _window_sql(self, used: ResolvedWindows, day: dt.date) -> str:
        exposures = Exposures(relation="kept", id=SAMPLE_ID, at=EVENT_TIME)
        span = window_reach(used.windows, day)
        join = WindowJoin(
            windows=used.windows,
            relation=_rows_sql(used.windows.events, EVENT_TIME, span, dialect=self._dialect),
            coordinate=used.coordinate,
            columns=used.columns,
        )
        return window_sql(exposures, join, dialect=self._dialect)

    def _answers_sql(self, log: ServedLog, day: dt.date) -> str:
        first = start_of(day) - dt.timedelta(microseconds=log.within_us)
        span = Span(first=first, end=start_of(day + ONE_DAY))
        rows = _rows_sql(log.table, EVENT_TIME, span, dialect=self._dialect)
        return answers_sql(
            log, rows, exposures="kept", sample_set=self._recipe.name, dialect=self._dialect
        )

    def _exposures(self, day: dt.date) -> str:
        recipe = self._recipe
        span = Span.of_day(day)
        rows = self._events(recipe.exposures, recipe.at, span)
        columns = ", ".join(quote(name) for name in (*recipe.entities, *recipe.columns))
        return (
            f"select {quote(recipe.id)} as {SAMPLE_ID}, {quote(recipe.at)} as {EVENT_TIME}, "
            f"{columns} from {rows}"
        )

    def _events(self, table: str, column: str, span: Span) -> str:
        """Render the rows of a span, each event once if the recipe says that it may be repeated."""
        for repeats in self._recipe.repeats:
            if repeats.table == table:
                return first_arrivals_sql(repeats, span, dialect=self._dialect)
        return _rows_sql(table, column, span, dialect=self._dialect)

    def refuse_null_ids(self, day: dt.date) -> None:
        """Refuse exposures without an id: no label and no feature is joined to them, so they were lost.

        Raises:
            ContractError: If an exposure of the day has none.

        """
        table, name = self._recipe.exposures, self._recipe.id
        if not self._versions[table].schema.field(name).nullable:
            return
        sql = f"select count(*) as n from ({self._exposures(day)}) e where {SAMPLE_ID} is null"
        rows = self._engine.query(sql).read_all().column("n")[0].as_py()
        if rows:
            detail = f"`{name}`, the id of exposures, is null in {rows:,} rows of {day.isoformat()}"
            raise ContractError(table, detail, reason=ColumnReason.NULL_VALUE, column=name)

    def _refuse_duplicates(self, day: dt.date) -> None:
        sql = (
            f"select {SAMPLE_ID} as id, count(*) as n from ({self._exposures(day)}) "
            f"group by {SAMPLE_ID} having count(*) > 1 order by {SAMPLE_ID}"
        )
        found = self._engine.query(sql).read_all()
        if found.num_rows:
            example = str(found.column("id")[0].as_py())
            raise DuplicateExposureError(
                self._recipe.exposures, day=day.isoformat(), example=example, ids=found.num_rows
            )

    def _refuse_nulls(self, feature: ResolvedFeature, day: dt.date) -> None:
        schema = self._versions[feature.view].schema
        times = [n for n in (feature.event_time, feature.known_at) if schema.field(n).nullable]
        if not times:
            return
        missing = " or ".join(f"{quote(name)} is null" for name in times)
        happened = quote(feature.event_time)
        within = reach(feature, day).condition_sql(happened, dialect=self._dialect)
        sql = (
            f"select count(*) as n from {TableName.parse(feature.view).sql} "
            f"where ({missing}) and coalesce({within}, true)"
        )
        rows = self._engine.query(sql).read_all().column("n")[0].as_py()
        if rows:
            raise NullKnownAtError(feature.view, rows=rows, columns=tuple(times))


def feature_join(feature: ResolvedFeature, *, relation: str) -> FeatureJoin:
    """Turn a recipe's feature into a join over `relation`."""
    return FeatureJoin(
        relation=relation,
        entity=feature.entity,
        columns=feature.columns,
        event_time=feature.event_time,
        known_at=feature.known_at,
        event_time_as=f"{feature.name}__event_time",
        known_at_as=f"{feature.name}__known_at",
        order=feature.order,
        ttl=None if feature.ttl_us is None else dt.timedelta(microseconds=feature.ttl_us),
        delay=dt.timedelta(microseconds=feature.delay_us),
    )


def reach(feature: ResolvedFeature, day: dt.date) -> Span:
    """Return the span in which feature rows can matter to an exposure of `day`."""
    start = start_of(day)
    ttl = None if feature.ttl_us is None else dt.timedelta(microseconds=feature.ttl_us)
    return Span(first=None if ttl is None else start - ttl, end=start + ONE_DAY)


def window_reach(windows: Windows, day: dt.date) -> Span:
    """Return the span in which events can matter to an exposure of `day`."""
    longest = dt.timedelta(microseconds=windows.longest_us + windows.hop_us)
    return Span(first=start_of(day) - longest, end=start_of(day + ONE_DAY))


def refuse_leaks(batch: pa.RecordBatch, recipe: Recipe) -> None:
    """Check that no sample uses a row that happened or became known at its own time or later.

    Raises:
        LeakError: Naming the view and one sample.

    """
    moments = batch.column(EVENT_TIME)
    for feature in recipe.features:
        for name in (f"{feature.name}__event_time", f"{feature.name}__known_at"):
            leaks = pc.fill_null(pc.greater_equal(batch.column(name), moments), fill_value=False)
            rows = pc.sum(leaks).as_py() or 0
            if rows:
                example = batch.column(SAMPLE_ID).filter(leaks)[0].as_py()
                detail = f"`{name}` of sample `{example}` is not before it"
                raise LeakError(recipe.name, rows=rows, detail=detail)


def inputs_then(lake: OpenLake, recipe: Recipe, pinned: Pinned) -> dict[str, TableVersion]:
    """Open pinned inputs in the schemas that `pin_heads` chose when the recipe was resolved.

    Raises:
        SnapshotNotFoundError, TableNotFoundError: If one no longer exists.

    """
    found = {name: _at(lake.table(name), pinned.inputs.get(name)) for name in recipe.inputs}
    return {name: each.in_schema_with(recipe.reads[name]) for name, each in found.items()}


def _at(table: LakeTable, snapshot_id: int | None) -> TableVersion:
    if snapshot_id is None:
        return replace(table.head(), snapshot_id=None)
    return table.at(snapshot_id=snapshot_id)


def _rows_sql(table: str, column: str, span: Span, *, dialect: Dialect) -> str:
    condition = span.condition_sql(quote(column), dialect=dialect)
    return f"(select * from {TableName.parse(table).sql} where {condition})"
