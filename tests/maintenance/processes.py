"""Writers and clean-ups in processes of their own, so that they can hang, be killed and die for real."""

import datetime as dt
import os
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from headrace.config import Settings
from tests.processes import CONTEXT
from tests.waiting import WAIT_S

KILLED = -9


def start_writer(settings: Settings) -> tuple[BaseProcess, Connection]:
    """Write one file, say where it is, and commit it once the connection says so."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_write_wait_commit, args=(settings, theirs))
    process.start()
    return process, ours  # pyright: ignore[reportReturnType]  (typeshed says `PipeConnection` of a `forkserver`)


def run_writer(settings: Settings, *, crash_at: str) -> int | None:
    """Append, and be killed on the way; the exit code is `KILLED`."""
    return _end_of(CONTEXT.Process(target=_append, args=(settings, crash_at)))


def run_cleanup(settings: Settings, *, now: dt.datetime, crash_at: str) -> int | None:
    """Clean up, and be killed on the way."""
    return _end_of(CONTEXT.Process(target=_clean, args=(settings, now, crash_at)))


def run_restore(settings: Settings, run_id: str, *, now: dt.datetime, crash_at: str) -> int | None:
    """Restore a run, and be killed on the way."""
    return _end_of(CONTEXT.Process(target=_restore, args=(settings, run_id, now, crash_at)))


def run_empty_trash(settings: Settings, *, now: dt.datetime, crash_at: str) -> int | None:
    """Empty the trash, and be killed on the way."""
    return _end_of(CONTEXT.Process(target=_empty, args=(settings, now, crash_at)))


def _end_of(process: BaseProcess) -> int | None:
    process.start()
    process.join(timeout=WAIT_S)
    return process.exitcode


def _write_wait_commit(settings: Settings, pipe: Connection) -> None:
    from headrace.api import Lake
    from headrace.storage.locations import local_path
    from headrace.tables.commits import operations
    from headrace.tables.writer import write_batches
    from tests.tables.factories import events, events_table

    with Lake.open(settings) as lake:
        table = events_table(lake)
        files = write_batches(table, [events([7])])
        pipe.send([local_path(file.file_path) for file in files])
        pipe.recv()
        operations.append(table, files, provenance=operations.Provenance())


def _append(settings: Settings, crash_at: str) -> None:
    from headrace.api import Lake
    from tests.tables.factories import add, events_table

    os.environ["HEADRACE_CRASH_AT"] = crash_at
    with Lake.open(settings) as lake:
        add(events_table(lake), range(100))


def _clean(settings: Settings, now: dt.datetime, crash_at: str) -> None:
    from headrace.api import Lake
    from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup

    os.environ["HEADRACE_CRASH_AT"] = crash_at
    with Lake.open(settings) as lake:
        table = lake.table("raw.events")
        apply_cleanup(table, plan_cleanup(table, now=now), now=now)


def _restore(settings: Settings, run_id: str, now: dt.datetime, crash_at: str) -> None:
    from headrace.api import Lake
    from headrace.maintenance.cleanup.trash import restore

    os.environ["HEADRACE_CRASH_AT"] = crash_at
    with Lake.open(settings) as lake:
        restore(lake.table("raw.events"), run_id, now=now)


def _empty(settings: Settings, now: dt.datetime, crash_at: str) -> None:
    from headrace.api import Lake
    from headrace.maintenance.cleanup.trash import empty_trash

    os.environ["HEADRACE_CRASH_AT"] = crash_at
    with Lake.open(settings) as lake:
        empty_trash(lake.table("raw.events"), now=now)
