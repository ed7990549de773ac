"""Claim: the server answers for five minutes without an error, and its memory stays as it was.

`wrk` asks for rankings of 200 candidates over four connections as fast as they are answered, on the same
cores: more than the server bears is the load. The memory of the last minute is compared with that of the
second one, after which nothing new is loaded.
"""

import statistics
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.feature_server import Served, headrace_serve, prepare, ranking, served
from benchmarks.harness import Result, show
from benchmarks.wrk import Load, load

SECONDS, CONNECTIONS, CANDIDATES = 300, 4, 200
GROWTH_MAX = 1.05
_BODIES = 200
_EVERY_S = 1.0


def run(*, quick: bool) -> list[Result]:
    """Load a server for five minutes; `quick` for ten seconds."""
    seconds = 10 if quick else SECONDS
    found, memory = loaded(seconds=seconds)
    first, last = (statistics.median(part) for part in _minutes(memory))
    failed = found.refused + found.broken
    show(
        f"rankings of {CANDIDATES} candidates for {seconds} s over {CONNECTIONS} connections",
        [
            {
                "requests": found.requests,
                "per s": found.per_s,
                "p50 ms": found.p50_ms,
                "p99 ms": found.p99_ms,
                "failed": failed,
                "MiB in the second minute": first,
                "MiB in the last": last,
            }
        ],
    )
    return [
        Result(
            claim="serving_load",
            value=last,
            unit=f"MiB of the server in the last minute of {seconds} s; {found.requests:,} requests, "
            f"{failed} failed, p99 {found.p99_ms:.0f} ms",
            peer=f"{first:.0f} MiB in the second minute",
            ratio=last / first,
            target=f"ratio <= {GROWTH_MAX}, none failed",
            holds=last / first <= GROWTH_MAX and failed == 0,
        )
    ]


def loaded(*, seconds: int) -> tuple[Load, list[float]]:
    """Load a new server; return what was found, and its memory in MiB each second."""
    with TemporaryDirectory(prefix="headrace-load-") as scratch:
        home = Path(scratch)
        prepare(home)
        command = headrace_serve("--model", str(home / "model"))
        with served(command, home=home, alive="/healthz") as server:
            bodies = [ranking(number, candidates=CANDIDATES) for number in range(_BODIES)]
            memory, ended = list[float](), threading.Event()
            watcher = threading.Thread(target=_watch, args=(server, memory, ended))
            watcher.start()
            try:
                url = f"http://127.0.0.1:{server.port}/v1/rank"
                found = load(url, bodies, seconds=seconds, connections=CONNECTIONS)
            finally:
                ended.set()
                watcher.join()
    return found, memory


def _watch(server: Served, memory: list[float], ended: threading.Event) -> None:
    while not ended.wait(_EVERY_S):
        memory.append(server.rss_mib)


def _minutes(memory: list[float]) -> tuple[list[float], list[float]]:
    """Return the samples of the second and of the last minute; fifths of what is shorter."""
    length = max(1, min(60, len(memory) // 5))
    return memory[length : 2 * length], memory[-length:]
