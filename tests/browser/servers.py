"""Servers as the Makefile starts them, on loopback ports of their own, stopped by process group."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from tests.conftest import ROOT

BIN = Path(sys.executable).parent
_START_S, _STOP_S = 120.0, 20.0


@contextlib.contextmanager
def serving(
    command: Sequence[str], *, log: Path, ready: str, environment: Mapping[str, str]
) -> Generator[None]:
    """Run a server from the repository's root until the block ends; `ready` is asked until it answers."""
    with log.open("w") as output:
        server = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for(ready, server, log=log)
            yield
        finally:
            stop(server)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group of its own, and all it started."""
    for with_signal in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, with_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)


def _wait_for(url: str, server: subprocess.Popen[bytes], *, log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(log.read_text())
