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
from headrace.tables.files import write_batches
from headrace.tables.lake import LakeTable
from headrace.tables.scan import read_file

TRIES_MAX = 3  # a partition that is overwritten under us is planned again this often


@dataclass(frozen=True, kw_only=True)
class CompactionResult:
    """What a compaction did; no commit when there was nothing to do."""

    table: TableName
    commit: Commit | None
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
) -> CompactionResult:
    """Rewrite the plan's bins and swap them in with one `replace` snapshot.

    Rows keep their order inside a bin. A bin is streamed, so memory is one row group, whatever its
    size. Appends may land meanwhile; both survive.

    Raises:
        CommitConflictError: If a file of the plan was removed meanwhile; nothing was changed.
        CorruptFileError: If a file cannot be read; nothing was changed.

    """
    started = time.monotonic()
    added: list[DataFile] = []
    for done, each in enumerate(plan.bins):
        progress(done, len(plan.bins))
        added.extend(write_batches(table, _rows(table, tuple(file.path for file in each.files))))
    commit = None
    if plan.bins:
        commit = replace_files(
            table,
            removed=[file.data_file for each in plan.bins for file in each.files],
            added=added,
            provenance=Provenance(run_id=run_id),
        )
    progress(len(plan.bins), len(plan.bins))
    return CompactionResult(
        table=table.name,
        commit=commit,
        files_before=plan.files_in,
        files_after=len(added),
        rows=sum(each.rows for each in plan.bins),
        elapsed_s=time.monotonic() - started,
    )


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
