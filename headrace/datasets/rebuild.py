"""Rebuilding a dataset version: compute its samples again from the inputs it pinned."""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from headrace.datasets.content_hash import ContentHash
from headrace.datasets.lockfile import LockedDay, Lockfile
from headrace.datasets.measure import DayContent, Measure, measure_batches
from headrace.datasets.versions import find_lockfile
from headrace.engines.open import open_engine
from headrace.errors import (
    DatasetChangedError,
    DatasetReason,
    SnapshotNotFoundError,
    TableNotFoundError,
)
from headrace.samples.partition import PartitionBuilder, Pinned, inputs_then
from headrace.samples.resolve import Recipe
from headrace.samples.schema import samples_schema
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion
from headrace.tables.writer import fit


@dataclass(frozen=True, kw_only=True)
class RebuiltDay:
    """One day computed again, beside what was published."""

    day: dt.date
    rows: int
    content_hash: str
    expected_rows: int
    expected_hash: str

    @property
    def reproduced(self) -> bool:
        """Whether it came out the same."""
        return (self.rows, self.content_hash) == (self.expected_rows, self.expected_hash)


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """A version computed again, in memory, day by day; nothing was written."""

    lock: Lockfile
    days: tuple[RebuiltDay, ...]
    rows: int
    content_hash: str

    @property
    def reproduced(self) -> bool:
        """Whether every day, and so the whole, came out the same."""
        same = self.content_hash == self.lock.content_hash
        return same and all(day.reproduced for day in self.days)


def rebuild(
    lake: OpenLake,
    name: str,
    version: int | None = None,
    *,
    progress: Callable[[RebuiltDay], None] | None = None,
) -> Rebuild:
    """Compute a published version again from its pinned inputs and compare.

    Reads neither the sample table nor today's declarations: the recipe, the inputs and the
    watermarks come from the lockfile, and inputs have the columns of their snapshots. Writes
    nothing.

    Raises:
        DatasetNotFoundError: If it is not published.
        DatasetChangedError: If a pinned input is gone.

    """
    return rebuild_locked(lake, find_lockfile(lake, name, version), progress=progress)


def rebuild_locked(
    lake: OpenLake, lock: Lockfile, *, progress: Callable[[RebuiltDay], None] | None = None
) -> Rebuild:
    """Compute the version a lockfile describes; see `rebuild`.

    Raises:
        DatasetChangedError: If a pinned input is gone.

    """
    recipe = Recipe.from_json(json.dumps(lock.definition))
    done: dict[dt.date, RebuiltDay] = {}
    whole: ContentHash | None = None
    for pinned, days in _by_pinned(lock):
        try:
            with open_engine(lake.settings) as engine:
                versions = inputs_then(lake, recipe, pinned)
                _refuse_missing(lock, recipe, versions)
                builder = PartitionBuilder(engine, recipe, pinned=pinned, versions=versions)
                schema = samples_schema(recipe, versions)
                for locked in days:
                    content = _compute(lock, builder, schema, locked.day)
                    done[locked.day] = _compare(content, locked)
                    whole = content.content if whole is None else whole.merge(content.content)
                    if progress is not None:
                        progress(done[locked.day])
        except (SnapshotNotFoundError, TableNotFoundError) as error:
            detail = f"a pinned input is gone ({error}), so it cannot be computed again"
            table = error.table if isinstance(error, SnapshotNotFoundError) else error.name
            raise DatasetChangedError(
                lock.name, lock.version, detail, reason=DatasetReason.INPUT_GONE, table=table
            ) from error
    return Rebuild(
        lock=lock,
        days=tuple(done[day] for day in sorted(done)),
        rows=0 if whole is None else whole.rows,
        content_hash="" if whole is None else whole.hexdigest(),
    )


def _by_pinned(lock: Lockfile) -> list[tuple[Pinned, list[LockedDay]]]:
    """Group the days that share their inputs, so that each group is bound and prepared once."""
    groups: list[tuple[Pinned, list[LockedDay]]] = []
    for day in lock.days:
        pinned = Pinned(inputs=day.inputs, watermarks=day.watermarks)
        for known, days in groups:
            if known == pinned:
                days.append(day)
                break
        else:
            groups.append((pinned, [day]))
    return groups


def _refuse_missing(lock: Lockfile, recipe: Recipe, versions: Mapping[str, TableVersion]) -> None:
    """An input that was empty then has no snapshot to say which columns it had."""
    for name, columns in recipe.reads.items():
        missing = sorted(columns - set(versions[name].schema.names))
        if missing:
            detail = (
                f"`{name}` has no column `{missing[0]}` any more, so it cannot be computed again"
            )
            reason = DatasetReason.COLUMN_GONE
            raise DatasetChangedError(lock.name, lock.version, detail, reason=reason, table=name)


def _compute(
    lock: Lockfile, builder: PartitionBuilder, schema: pa.Schema, day: dt.date
) -> DayContent:
    batches = (fit(batch, schema, table=lock.table) for batch in builder.rows(day))
    return measure_batches(
        batches, day=day, schema=schema, measure=Measure(tuple(lock.columns), ())
    )


def _compare(content: DayContent, locked: LockedDay) -> RebuiltDay:
    return RebuiltDay(
        day=locked.day,
        rows=content.content.rows,
        content_hash=content.content.hexdigest(),
        expected_rows=locked.rows,
        expected_hash=locked.content_hash,
    )
