"""Writers in processes of their own, so that they compete for real and can be killed."""

import os
import random
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.dml.merge import merge
from headrace.errors import CommitConflictError
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from tests.dml.keyed import Row, add_rows, arrow
from tests.processes import CONTEXT
from tests.waiting import WAIT_S

Work = Callable[[LakeTable], None]


def start(
    work: Callable[..., None], settings: Settings, *arguments: object, crash_at: str = ""
) -> BaseProcess:
    """Run a writer: exit code 0 done, -9 killed at `crash_at`."""
    process = CONTEXT.Process(target=_run, args=(work, settings, crash_at, arguments))
    process.start()
    return process


def finish(processes: Sequence[BaseProcess]) -> list[int | None]:
    """Wait for writers to end and return their exit codes."""
    for process in processes:
        process.join(WAIT_S)
    return [process.exitcode for process in processes]


def _run(
    work: Callable[..., None], settings: Settings, crash_at: str, arguments: tuple[object, ...]
) -> None:
    if crash_at:
        os.environ["HEADRACE_CRASH_AT"] = crash_at
    with Lake.open(settings) as lake:
        work(lake.table("raw.keyed"), *arguments)


def merge_each(table: LakeTable, merges: Sequence[Sequence[Row]], begin: float) -> None:
    """Merge groups of rows by user and item, one commit each."""
    time.sleep(max(0.0, begin - time.time()))
    for rows in merges:
        merge(table, arrow(rows), key=("user_id", "item"), provenance=Provenance())


def append_each(table: LakeTable, appends: Sequence[Sequence[Row]], begin: float) -> None:
    """Append groups of rows, one commit each."""
    time.sleep(max(0.0, begin - time.time()))
    for rows in appends:
        add_rows(table, rows)
        time.sleep(random.uniform(0, 0.02))


def delete_each(table: LakeTable, conditions: Sequence[str], begin: float) -> None:
    """Delete rows, one commit for each condition."""
    time.sleep(max(0.0, begin - time.time()))
    for condition in conditions:
        delete_where(table, condition, provenance=Provenance())


def compact_often(table: LakeTable, times: int, begin: float) -> None:
    """Compact; it may lose to what changes rows, never the other way round."""
    time.sleep(max(0.0, begin - time.time()))
    for _ in range(times):
        try:
            compact(table)
        except CommitConflictError:
            continue
