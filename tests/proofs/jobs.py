"""Programs that change a table and may be run again after a crash: what the fault sweeps go through.

A job that ran to its end leaves the rows `effect` says; one that did not may simply be run again.
"""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from headrace.errors import AlreadyPublishedError
from headrace.identifiers import TableName
from headrace.maintenance.cleanup import trash
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from headrace.tables import alter, intents
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Fence, Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.publishing import write_audit_publish
from headrace.tables.refs import leases, refs, rollback
from headrace.tables.writer import write_batches
from tests.proofs import operations as ops
from tests.proofs.operations import Operation, Rows, batch_of, finish
from tests.tables.factories import EVENTS, events, events_table

STREAM = "clicks"  # whose committed offset is the number of its rows in the table
STREAM_DAY = 2
_STREAM_IDS = range(1_000, 2_000)
_STREAM_END = 9  # where the stream ends for now
TAG = "first"
_FIRST = (([1, 5], [2, 6], [3, 7]), ([10, 14], [11, 15], [12, 16]))  # by commit, then by day


@dataclass(frozen=True, kw_only=True)
class Job:
    """One program; `name` is also the test's.

    `effect` says what it does to the rows, in one commit. One that goes on changing the table after
    that commit may meet an error which says, rightly, that the rest was not done.
    """

    name: str
    run: Callable[[LakeTable], object]
    effect: Callable[[Rows], Rows] = dict
    goes_on: bool = False


def stream_rows(offsets: Iterable[int]) -> Rows:
    """Return the rows at some offsets of the stream."""
    ids = [_STREAM_IDS[offset] for offset in offsets]
    return {i: (f"event {i}", STREAM_DAY) for i in ids}


def stream_count(rows: Rows) -> int:
    """Count the rows that came from the stream; they must be its first ones."""
    found = sorted(i for i in rows if i in _STREAM_IDS)
    assert found == list(_STREAM_IDS[: len(found)])
    return len(found)


def ingest(table: LakeTable, *, end: int = _STREAM_END, partition: str = "a") -> None:
    """Take what the stream has beyond the committed offset."""
    committed = operations.offsets(table.head(), STREAM)
    start = committed.get(partition, 0)
    if start < end:
        files = write_batches(table, [batch_of(stream_rows(range(start, end)))])
        fence = Fence(key=STREAM, expected=committed, offsets={**committed, partition: end})
        operations.append(table, files, provenance=Provenance(), fence=fence)


def _overwrite(table: LakeTable) -> None:
    rows = {500: ("all there is", 0), **stream_rows(range(6))}
    files = write_batches(table, [batch_of(rows)])
    operations.overwrite(table, files, provenance=Provenance())


def _alter(table: LakeTable) -> None:
    if "later" not in table.head().schema.names:
        alter.alter(table, alter.AddColumn("later", type=pa.int64()), alter.DropColumn("tags"))


def _evolve(table: LakeTable) -> None:
    wider = EVENTS.append(pa.field("extra", pa.float64()))
    table.lake.create(table.name, wider, partition_by=["day(event_time)"])


def _create(table: LakeTable) -> None:
    events_table(table.lake, "other.events")


def _branch(table: LakeTable) -> None:
    refs.create_branch(table, "side", at=TAG)


def _lease(table: LakeTable) -> None:
    for held in leases.leases(table):
        leases.release(table, held)
    leases.lease(table, holder="reader", ttl_s=600)


def _publish(table: LakeTable) -> None:
    def write(audited: write_audit_publish.AuditBranch) -> None:
        files = write_batches(table, [events([600], day=1)])
        provenance = audited.provenance(Provenance())
        operations.append(table, files, provenance=provenance, branch=audited.branch)

    left_behind = f"{write_audit_publish.BRANCH_PREFIX}today"
    if (head_id := refs.branches(table).get(left_behind)) is not None:
        refs.drop(table, left_behind, snapshot_id=head_id)
    with contextlib.suppress(AlreadyPublishedError):
        write_audit_publish.write_audit_publish(table, "today", write=write, checks={})


def _roll_back(table: LakeTable) -> None:
    rollback.apply_rollback(table, rollback.plan_rollback(table, TAG))


def _clean_up(table: LakeTable) -> None:
    apply_cleanup(table, plan_cleanup(table))


def _restore(table: LakeTable) -> None:
    _clean_up(table)
    for run in trash.trash_list(table):
        trash.restore(table, run.run_id)


def _empty_trash(table: LakeTable) -> None:
    _clean_up(table)
    trash.empty_trash(table, now=dt.datetime.now(dt.UTC) + dt.timedelta(days=60))


def _first_rows() -> Rows:
    return {i: (f"event {i}", day) for ids in _FIRST for day, each in enumerate(ids) for i in each}


def _of(operation: Operation) -> Job:
    return Job(
        name=operation.name,
        run=lambda table: finish(operation.steps(table)),
        effect=operation.effect,
    )


def _with(rows: Mapping[int, tuple[str, int]]) -> Callable[[Rows], Rows]:
    return lambda before: {**before, **rows}


JOBS = (
    Job(name="append", run=ingest, effect=_with(stream_rows(range(_STREAM_END)))),
    Job(
        name="overwrite",
        run=_overwrite,
        effect=lambda _: {500: ("all there is", 0), **stream_rows(range(6))},
    ),
    _of(ops.overwriting(0, {300: ("overwritten", 0)})),
    _of(ops.merging({3: ("merged", 2), 200: ("merged", 1)})),
    _of(ops.deleting(frozenset({3, 5}))),
    _of(ops.COMPACTION),
    _of(ops.MANIFESTS),
    _of(ops.EXPIRY),
    Job(name="clean-up", run=_clean_up),
    _of(ops.tagging("mine")),
    Job(name="evolve", run=_evolve),
    Job(name="alter", run=_alter),
    Job(name="create", run=_create),
    Job(name="branch", run=_branch),
    Job(name="lease", run=_lease),
    Job(name="restore", run=_restore),
    Job(name="empty trash", run=_empty_trash),
    Job(name="publish", run=_publish, effect=_with({600: ("event 600", 1)}), goes_on=True),
    Job(name="rollback", run=_roll_back, effect=lambda _: _first_rows()),
)
TABLE = TableName("raw", "events")


def prepare(table: LakeTable) -> None:
    """Fill a table with what every job finds something to do in: two small files a day, an orphan."""
    for ids in _FIRST:
        batches = [events(each, day=day) for day, each in enumerate(ids)]
        operations.append(table, write_batches(table, batches), provenance=Provenance())
    first_id = table.head().snapshot_id
    assert first_id is not None
    refs.tag(table, TAG, snapshot_id=first_id)
    for end in (2, 4, 6):
        ingest(table, end=end)
    orphan = write_batches(table, [events([999])])
    intents.landed(table.lake.registry, orphan)  # as if its writer had ended
    ops.age_files(table)
