"""Compaction: many small files become few, rows and readers of changes unaffected."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.manifest import DataFile

from headrace.errors import CommitConflictError
from headrace.identifiers import TableName
from headrace.maintenance.plan import CompactionPlan, plan_compaction
from headrace.tables import schema
from headrace.tables.commit import Commit, Provenance, replace_files
from headrace.tables.files import local_path, write_batches
from headrace.tables.lake import LakeTable
from headrace.tables.scan import FileEntry, read_file

TRIES_MAX = 3  # a partition that is overwritten under us is planned again this often
PASSES_MAX = 8  # a pass at least halves the files it takes, and most partitions need one


@dataclass(frozen=True, kw_only=True)
class CompactionResult:
    """What a compaction did; no commit when there was nothing to do."""

    table: TableName
    commit: Commit | None  # the last one
    files_before: int
    files_after: int
    rows: int
    elapsed_s: float

    @property
    def changed(self) -> bool:
        """Whether files were rewritten."""
        return self.commit is not None


def apply_compaction(
    table: LakeTable,
    plan: CompactionPlan,
    *,
    run_id: str = "",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    passes_max: int = PASSES_MAX,
) -> CompactionResult:
    """Rewrite the plan's bins and swap them in with one `replace` snapshot.

    Files shrink when they are put together (60 of 5 rows to a quarter of their bytes), so what comes
    out may be small again: those partitions are planned once more until nothing is left to do, or
    `passes_max` passes are over; with 1, exactly the plan is done.

    Rows keep their order inside a bin. A bin is streamed, so memory is one row group, whatever its
    size. Appends may land meanwhile; both survive.

    Raises:
        CommitConflictError: If a file of the plan was removed meanwhile; nothing was changed.
        CorruptFileError: If a file cannot be read; nothing was changed.

    """
    started = time.monotonic()
    touched, sequence_max = {each.partition for each in plan.bins}, plan.sequence_max
    taken: list[FileEntry] = []
    written: set[str] = set()

    def concerns(file: FileEntry) -> bool:
        # beside a running ingest each pass would otherwise find, and rewrite for, one more file
        return file.path in written or file.sequence <= sequence_max

    commit = None
    for number in range(passes_max):
        if not plan:
            break
        try:
            commit, added = _rewrite(table, plan, run_id=run_id, progress=progress)
        except CommitConflictError:
            if number == 0:
                raise
            break  # the first pass is done; what another commit left is for the next run
        files = [file for each in plan.bins for file in each.files]
        taken.extend(file for file in files if file.path not in written)
        written.difference_update(file.path for file in files)
        written.update(local_path(file.file_path) for file in added)
        plan = plan_compaction(
            table.head(),
            target_bytes=plan.target_bytes,
            partitions=touched,
            concerns=concerns,
        )
    return CompactionResult(
        table=table.name,
        commit=commit,
        files_before=len(taken),
        files_after=len(written),
        rows=sum(file.rows for file in taken),
        elapsed_s=time.monotonic() - started,
    )


def _rewrite(
    table: LakeTable,
    plan: CompactionPlan,
    *,
    run_id: str,
    progress: Callable[[int, int], None],
) -> tuple[Commit, list[DataFile]]:
    added: list[DataFile] = []
    for done, each in enumerate(plan.bins):
        progress(done, len(plan.bins))
        added.extend(write_batches(table, _rows(table, tuple(file.path for file in each.files))))
    commit = replace_files(
        table,
        removed=[file.data_file for each in plan.bins for file in each.files],
        added=added,
        provenance=Provenance(run_id=run_id),
    )
    progress(len(plan.bins), len(plan.bins))
    return commit, added


def compact(
    table: LakeTable, *, target_bytes: int | None = None, run_id: str = ""
) -> CompactionResult:
    """Plan and apply; a plan that a concurrent commit invalidates is made again.

    Idempotent: a second run plans nothing.

    Raises:
        CommitConflictError: If it lost to other commits `TRIES_MAX` times.

    """
    wanted = target_bytes or table.lake.settings.target_file_bytes
    for attempt in range(1, TRIES_MAX + 1):
        plan = plan_compaction(table.head(), target_bytes=wanted)
        try:
            return apply_compaction(table, plan, run_id=run_id)
        except CommitConflictError:
            if attempt == TRIES_MAX:
                raise
    msg = "unreachable: the last try returns or raises"
    raise AssertionError(msg)


def _rows(table: LakeTable, paths: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    wanted = schema.to_arrow(table.iceberg().schema(), field_ids=True)
    for path in paths:
        yield from read_file(path, wanted)
