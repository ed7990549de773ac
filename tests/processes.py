"""Processes that tests start, so that programs compete, hang and are killed for real.

One process pays for the imports, once for each that runs tests; every other is a fork of it. What a
target's module imports beyond these costs every process: half a second of CPU for pytest alone.
"""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess

from tests.waiting import WAIT_S

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


def start(target: Callable[..., None], *arguments: object, crash_at: str = "") -> BaseProcess:
    """Start a process that is killed at a crash point, if one is given."""
    process = CONTEXT.Process(target=_run, args=(target, arguments, crash_at))
    process.start()
    return process


def exit_code(process: BaseProcess) -> int | None:
    """Wait for a process to end: 0 done, negative for the signal that killed it."""
    process.join(timeout=WAIT_S)
    return process.exitcode


def _run(target: Callable[..., None], arguments: tuple[object, ...], crash_at: str) -> None:
    if crash_at:
        os.environ["HEADRACE_CRASH_AT"] = crash_at
    target(*arguments)
