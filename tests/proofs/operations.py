"""Every operation on a table in two steps, with what it does to the rows in a plain dict.

A step ends where another writer may come in: between looking at the table and changing it.
"""

import os
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from headrace.dml.delete import delete_where
from headrace.dml.merge import merge
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from headrace.maintenance.compaction.compact import apply_compaction
from headrace.maintenance.compaction.plan import plan_compaction
from headrace.storage.locations import local_path
from headrace.tables import alter
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.refs import refs
from headrace.tables.version import TableVersion
from headrace.tables.writer import write_batches
from tests.tables.factories import START, day_key, events

# what a table holds: the name and day of each id; ids are unique in these proofs
Rows = Mapping[int, tuple[str, int]]
Steps = Generator[None, None, None]
DAYS = 3
BUCKETS = "HEADRACE_TEST_BUCKETS"  # the folder in which the S3 server of a test keeps its objects


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing to do to a table; `effect` says what it does to the rows."""

    name: str
    steps: Callable[[LakeTable], Steps]
    effect: Callable[[Rows], Rows] = dict


def rows_of(table: LakeTable) -> Rows:
    """Read the newest rows of a table into the model."""
    return rows_at(table.head())


def rows_at(version: TableVersion) -> Rows:
    """Read a pinned version into the model; ids that are there twice are an error."""
    read = version.to_arrow(columns=["id", "name", "event_time"]).to_pylist()
    found = {row["id"]: (row["name"], (row["event_time"] - START).days) for row in read}
    assert len(found) == len(read), "some id is there twice"
    return found


def batch_of(rows: Rows) -> pa.RecordBatch:
    """Build the rows of one or more days."""
    batches = [
        events([i], day=day).set_column(1, "name", pa.array([name]))
        for i, (name, day) in rows.items()
    ]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def finish(steps: Steps) -> None:
    """Take every step that is left."""
    for _ in steps:
        pass


def append(rows: Rows) -> Operation:
    """Add rows with new ids."""

    def steps(table: LakeTable) -> Steps:
        files = write_batches(table, [batch_of(rows)])
        yield
        operations.append(table, files, provenance=Provenance())

    return Operation(name="append", steps=steps, effect=lambda before: {**before, **rows})


def merging(rows: Rows) -> Operation:
    """Replace rows by id, or add them."""

    def steps(table: LakeTable) -> Steps:
        yield
        given = pa.Table.from_batches([batch_of(rows)])
        merge(table, given, key=["id"], provenance=Provenance())

    return Operation(name="merge", steps=steps, effect=lambda before: {**before, **rows})


def deleting(ids: frozenset[int]) -> Operation:
    """Delete rows by id."""

    def steps(table: LakeTable) -> Steps:
        yield
        listed = ", ".join(str(i) for i in sorted(ids))
        delete_where(table, f"id in ({listed})", provenance=Provenance())

    return Operation(
        name="delete_where",
        steps=steps,
        effect=lambda before: {i: row for i, row in before.items() if i not in ids},
    )


def overwriting(day: int, rows: Rows) -> Operation:
    """Make a day hold exactly these rows."""

    def steps(table: LakeTable) -> Steps:
        files = write_batches(table, [batch_of(rows)]) if rows else ()
        yield
        operations.overwrite_partitions(
            table, files, partitions=[day_key(day)], provenance=Provenance()
        )

    def effect(before: Rows) -> Rows:
        return {**{i: row for i, row in before.items() if row[1] != day}, **rows}

    return Operation(name="overwrite_partitions", steps=steps, effect=effect)


def _compact(table: LakeTable) -> Steps:
    plan = plan_compaction(table.head(), target_bytes=1 << 27)
    yield
    apply_compaction(table, plan)


def _rewrite_manifests(table: LakeTable) -> Steps:
    yield
    operations.rewrite_manifests(table, provenance=Provenance(), entries_max=4)


def _expire(table: LakeTable) -> Steps:
    yield
    operations.expire(table, keep=1, before_ms=1 << 62)


def _clean_up(table: LakeTable) -> Steps:
    plan = plan_cleanup(table)
    yield
    apply_cleanup(table, plan)


def age_files(table: LakeTable) -> None:
    """Make every file of a table old enough for clean-up, which leaves younger ones alone."""
    long_ago = time.time() - 30 * 86_400
    for path in folder_of(table).rglob("*"):
        os.utime(path, (long_ago, long_ago))


def folder_of(table: LakeTable) -> Path:
    """Return the folder of this host in which a table's files are, be they objects or not."""
    location = table.iceberg().location()
    if location.startswith("s3://"):
        return Path(os.environ[BUCKETS], location.removeprefix("s3://"))
    return Path(local_path(location))


def tagging(name: str) -> Operation:
    """Name the newest snapshot."""

    def steps(table: LakeTable) -> Steps:
        snapshot_id = table.head().snapshot_id
        yield
        if snapshot_id is not None:
            refs.tag(table, name, snapshot_id=snapshot_id)

    return Operation(name="tag", steps=steps)


def altering(change: Callable[[LakeTable], object]) -> Operation:
    """Change the schema; what the model knows of the rows stays."""

    def steps(table: LakeTable) -> Steps:
        yield
        change(table)

    return Operation(name="schema change", steps=steps)


SCHEMA_CHANGE = altering(lambda table: alter.add_column(table, "extra", pa.int64()))
OTHER_SCHEMA_CHANGE = altering(lambda table: alter.drop_column(table, "tags"))
COMPACTION = Operation(name="compaction", steps=_compact)
MANIFESTS = Operation(name="rewrite_manifests", steps=_rewrite_manifests)
EXPIRY = Operation(name="expiry", steps=_expire)
CLEAN_UP = Operation(name="clean-up", steps=_clean_up)
