"""Ingesters in processes of their own, so that they can be killed and can compete."""

import contextlib
import os
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import FencedError
from tests.processes import CONTEXT
from tests.waiting import WAIT_S

FENCED = 3


def start_ingester(
    settings: Settings,
    stream: Stream,
    *,
    rows_per_commit: int,
    crash_at: str | None = None,
    begin: float = 0.0,
) -> BaseProcess:
    """Ingest in a process: exit code 0 done, `FENCED` fenced, -9 killed at `crash_at`."""
    process = CONTEXT.Process(
        target=_ingest, args=(settings, stream, rows_per_commit, crash_at, begin)
    )
    process.start()
    return process


def exit_code(process: BaseProcess) -> int | None:
    """Wait for an ingester to end."""
    process.join(timeout=WAIT_S)
    return process.exitcode


def _ingest(
    settings: Settings, stream: Stream, rows_per_commit: int, crash_at: str | None, begin: float
) -> None:
    from headrace.api import Lake
    from headrace.ingest.run import ingest
    from headrace.ingest.sources.files import FileSource

    if crash_at is not None:
        os.environ["HEADRACE_CRASH_AT"] = crash_at
    with contextlib.suppress(ValueError):
        time.sleep(begin - time.time())
    source = FileSource(stream, data_dir=Path(settings.data_dir), read_bytes=512)
    try:
        with Lake.open(settings) as lake:
            ingest(lake, stream, rows_per_commit=rows_per_commit, source=source)
    except FencedError:
        sys.exit(FENCED)
