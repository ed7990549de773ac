"""Services that follow a log in processes of their own, so that they can be killed and can compete."""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier

from headrace.config import Settings
from headrace.errors import FencedError
from headrace.ingest.cadence import Cadence
from headrace.ingest.sources.base import PositionsOf
from tests.ingest.factories import json_line, make_stream
from tests.ingest.log_source import Entry, Log, LogReader, LogSource
from tests.ingest.processes import FENCED
from tests.processes import CONTEXT
from tests.waiting import WAIT_S

STREAM = make_stream("json")
PARTITIONS = 3
_CADENCE = Cadence(seconds=0.02, rows=7)


def log_of(records: int) -> LogSource:
    """A topic that every process makes alike: good records, bad ones, holes, and a marker at the end."""
    logs: Mapping[int, Log] = {
        partition: Log(
            entries=[
                Entry(at, b"{" if at % 5 == 1 else json_line(id=f"{partition}-{at}"))
                for at in range(records)
                if at % 7 != 3
            ],
            end=records + 1,
        )
        for partition in range(PARTITIONS)
    }
    return LogSource(logs)


def expected(records: int) -> tuple[int, int]:
    """How many rows and dead letters that topic has."""
    entries = [each for log in log_of(records).logs.values() for each in log.entries]
    bad = sum(each.value == b"{" for each in entries)
    return len(entries) - bad, bad


def start_follower(
    settings: Settings, *, records: int, crash_at: str = "", together: Barrier | None = None
) -> BaseProcess:
    """Follow in a process: exit code 0 after SIGTERM, `FENCED` fenced, -9 killed at `crash_at`."""
    process = CONTEXT.Process(
        target=_follow, args=(settings, records, together, crash_at), daemon=True
    )
    process.start()
    return process


class _Together(LogSource):
    """A log whose readers, in several processes, begin at the same positions."""

    together: Barrier | None = None

    def open(
        self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False
    ) -> LogReader:
        reader = super().open(positions, rows_per_commit=rows_per_commit, follow=follow)
        if self.together is not None:
            self.together.wait(timeout=WAIT_S)
        return reader


def _follow(settings: Settings, records: int, together: Barrier | None, crash_at: str) -> None:
    from headrace.api import Lake
    from headrace.ingest.follow import follow

    if crash_at:
        os.environ["HEADRACE_CRASH_AT"] = crash_at
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    source = _Together(log_of(records).logs)
    source.together = together
    try:
        with Lake.open(settings) as lake:
            follow(lake, STREAM, stop=stop, cadence=_CADENCE, source=source)
    except FencedError:
        sys.exit(FENCED)
