"""Builds the planned days of a sample set, one checked snapshot per day."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile

from headrace.crash_points import crash_point
from headrace.definitions.properties import LEAKS, RECIPE_PROPERTY
from headrace.definitions.sample_set import SampleSet
from headrace.engines.open import open_engine
from headrace.iceberg.standard_properties import COMPRESSION_CODEC
from headrace.identifiers import TableName
from headrace.registry import Build
from headrace.samples.partition import PartitionBuilder, refuse_leaks
from headrace.samples.plan import BuildPlan, day_text, plan_build
from headrace.samples.resolve import EVENT_TIME, SAMPLE_ID, Recipe
from headrace.samples.schema import samples_schema
from headrace.shown import facts_html
from headrace.tables.commits import operations
from headrace.tables.commits.adopt import discard, fresh, written_batches
from headrace.tables.commits.operations import Provenance
from headrace.tables.declare import declare_table
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.writer import write_batches

TRAINING_CODEC = "uncompressed"
_LEAK_FREE = {LEAKS: "0"}
_USED_TIMES = ("event_time", "known_at")


@dataclass(frozen=True, kw_only=True)
class BuiltDay:
    """The result of one day."""

    day: dt.date
    reason: str
    rows: int
    positives: int
    snapshot_id: int


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """The result of a build; `leaks` is always 0, because a leak stops the build."""

    table: str
    built: tuple[BuiltDay, ...]
    unchanged: tuple[dt.date, ...]
    leaks: int = 0

    @property
    def rows(self) -> int:
        """Samples in the days that were built."""
        return sum(day.rows for day in self.built)

    @property
    def positives(self) -> int:
        """Samples among them with a label other than 0."""
        return sum(day.positives for day in self.built)

    def __repr__(self) -> str:
        return f"BuildResult({self.table}: {self})"

    def _repr_html_(self) -> str:
        reasons = ", ".join(dict.fromkeys(day.reason for day in self.built))
        return facts_html(
            {
                "table": self.table,
                "days built": f"{len(self.built):,}" + (f" ({reasons})" if reasons else ""),
                "days unchanged": f"{len(self.unchanged):,}",
                "samples": f"{self.rows:,}",
                "positive": f"{self.positives:,}",
                "leaks": str(self.leaks),
            }
        )

    def __str__(self) -> str:
        days = len(self.built) + len(self.unchanged)
        if not self.built:
            return f"{days} days: nothing to rebuild, {len(self.unchanged)} unchanged"
        reasons = ", ".join(dict.fromkeys(day.reason for day in self.built))
        return (
            f"{days} days: {len(self.built)} rebuilt ({reasons}), {len(self.unchanged)} unchanged    "
            f"{self.rows:,} samples, {self.positives:,} positive, {self.leaks} leaks"
        )


def build(
    lake: OpenLake,
    sample_set: SampleSet,
    *,
    days: Iterable[dt.date] | None = None,
    progress: Callable[[BuiltDay], None] | None = None,
    run_id: str = "",
) -> BuildResult:
    """Bring a sample set's table up to date with its inputs; `plan_build` says which days.

    Idempotent: on the same inputs a second run builds nothing. After a crash it builds the rest; a
    day whose commit was not yet recorded is replaced by the same rows.

    Raises:
        DefinitionError: If the declaration contradicts the tables.
        ContractError, DuplicateExposureError, LeakError, NullKnownAtError: Days built before are kept; the
            failing day and later ones are unchanged.

    """
    return apply_build(
        lake, plan_build(lake, sample_set, days=days), progress=progress, run_id=run_id
    )


def apply_build(
    lake: OpenLake,
    plan: BuildPlan,
    *,
    progress: Callable[[BuiltDay], None] | None = None,
    run_id: str = "",
) -> BuildResult:
    """Build the days of a plan, oldest first. Raises what `build` raises."""
    recipe = plan.recipe
    built: list[BuiltDay] = []
    if plan:
        table = _create(lake, plan)
        with open_engine(lake.settings) as engine:
            builder = PartitionBuilder(engine, recipe, pinned=plan.pinned, versions=plan.versions)
            write = _write_rows if engine.is_embedded else _let_write
            for day in sorted(plan.reasons):
                counts = _Counts(recipe)
                builder.refuse_null_ids(day)
                files = write(table, builder, day, counts)
                done = _commit(table, plan, day, files=files, counts=counts, run_id=run_id)
                crash_point("samples.after_partition")
                _record(lake, plan, done)
                built.append(done)
                if progress is not None:
                    progress(done)
    return BuildResult(table=recipe.table, built=tuple(built), unchanged=plan.unchanged)


def _create(lake: OpenLake, plan: BuildPlan) -> LakeTable:
    recipe = plan.recipe
    return declare_table(
        lake,
        TableName.parse(recipe.table),
        samples_schema(recipe, plan.versions),
        partition_by=["day(event_time)"],
        properties={RECIPE_PROPERTY: recipe.to_json()},
        # training reads these files far more often than a build writes them
        defaults={COMPRESSION_CODEC: TRAINING_CODEC},
    )


def _write_rows(
    table: LakeTable, builder: PartitionBuilder, day: dt.date, counts: "_Counts"
) -> tuple[DataFile, ...]:
    """Write the rows that the engine yields; they are checked and counted on their way."""
    return write_batches(table, counts.over(builder.rows(day)))


def _let_write(
    table: LakeTable, builder: PartitionBuilder, day: dt.date, counts: "_Counts"
) -> tuple[DataFile, ...]:
    """Let the engine write, then check and count what is in its files."""
    files = builder.write(day, into=table)
    try:
        for batch in written_batches(table, files, columns=counts.columns):
            refuse_leaks(batch, builder.recipe)
            counts.add(batch)
    except BaseException:
        discard(table, files)
        raise
    return files


def _commit(
    table: LakeTable,
    plan: BuildPlan,
    day: dt.date,
    *,
    files: tuple[DataFile, ...],
    counts: "_Counts",
    run_id: str,
) -> BuiltDay:
    provenance = Provenance(
        inputs=plan.pinned.inputs, code=plan.recipe.code, run_id=run_id, notes=_LEAK_FREE
    )
    with fresh(table, files):
        done = operations.overwrite_partitions(
            table, files, partitions=[(day,)], provenance=provenance
        )
    return BuiltDay(
        day=day,
        reason=plan.reasons[day],
        rows=counts.rows,
        positives=counts.positives,
        snapshot_id=done.snapshot_id,
    )


def _record(lake: OpenLake, plan: BuildPlan, done: BuiltDay) -> None:
    lake.registry.record_builds(
        [
            Build(
                table=plan.recipe.table,
                partition=day_text(done.day),
                snapshot_id=done.snapshot_id,
                inputs=plan.pinned.inputs,
                code=plan.recipe.code,
                watermarks=plan.pinned.watermarks,
            )
        ]
    )


class _Counts:
    """Counts the rows and positives of batches while they are written, or once they are."""

    def __init__(self, recipe: Recipe) -> None:
        self._labels = [label.name for label in recipe.labels]
        used = [f"{each.name}__{time}" for each in recipe.features for time in _USED_TIMES]
        self.columns = (SAMPLE_ID, EVENT_TIME, *used, *self._labels)
        self.rows = self.positives = 0

    def over(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield batches, and count them."""
        for batch in batches:
            self.add(batch)
            yield batch

    def add(self, batch: pa.RecordBatch) -> None:
        """Count one batch, which has at least `columns`."""
        self.rows += batch.num_rows
        self.positives += self._positives(batch)

    def _positives(self, batch: pa.RecordBatch) -> int:
        found: pa.Array | None = None
        for name in self._labels:
            values = batch.column(name)
            nonzero = pc.fill_null(pc.not_equal(values, 0), fill_value=False)
            if pa.types.is_floating(values.type):
                nonzero = pc.and_not(nonzero, pc.is_nan(values).fill_null(False))
            found = nonzero if found is None else pc.or_(found, nonzero)
        return 0 if found is None else int(pc.sum(found).as_py() or 0)
