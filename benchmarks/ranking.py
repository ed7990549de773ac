"""Claim: 200 candidates are ranked over HTTP within 20 ms at 50 requests a second, store and client included.

One user view and one item view in the embedded store, a small model with embeddings and a list. The
server is a process of its own; requests are sent at their time, whether earlier ones are answered or
not. The peer is the call of the model alone on the same rows in one process.
"""

import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from benchmarks.harness import Contender, Result, Rounds, measure, show

CANDIDATES = 200
REQUESTS_PER_S = 50
SECONDS = 20
P99_MS_MAX = 20.0
_USERS, _ITEMS = 2_000, 5_000
_THREADS = 4


def served(*, folder: str, seconds: int) -> Rounds:
    """Rank over HTTP at a fixed rate."""
    home = Path(folder)
    _prepare(home)
    port = _free_port()
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("headrace")), "serve", "--port", str(port)]
        + ["--model", str(home / "model")],
        cwd=home,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port)
        for number in range(20):
            _ask(http.client.HTTPConnection("127.0.0.1", port), number)
        yield {}
        while True:
            before_s = _cpu_s(server.pid)
            took_ms = _load(port, seconds)
            spent_s = _cpu_s(server.pid) - before_s
            yield {
                "p50_ms": statistics.median(took_ms),
                "p99_ms": statistics.quantiles(took_ms, n=100)[98],
                "server_cpu_ms": spent_s * 1_000 / len(took_ms),
                "requests": len(took_ms),
            }
    finally:
        server.terminate()
        server.wait()


def model_alone(*, folder: str, seconds: int) -> Rounds:
    """Call the model on the rows of as many requests, without store and server."""
    from headrace.serving.scorer import Scorer

    home = Path(folder)
    _prepare(home)
    scorer = Scorer.open(home / "model")
    columns = {
        "user_clicks": [3] * CANDIDATES,
        "user_liked": [[1, 2, 3]] * CANDIDATES,
        "ctr": [0.5] * CANDIDATES,
        "brand": ["brand 7"] * CANDIDATES,
        "item_id": list(range(CANDIDATES)),
        "position": [1] * CANDIDATES,
    }
    yield {}
    while True:
        begun = time.process_time()
        for _ in range(REQUESTS_PER_S * seconds):
            scorer.score(columns)
        spent_s = time.process_time() - begun
        yield {"cpu_ms": spent_s * 1_000 / (REQUESTS_PER_S * seconds)}


def run(*, quick: bool) -> list[Result]:
    """Measure three rounds; `quick` measures one, of two seconds."""
    arguments = {"seconds": 2 if quick else SECONDS}
    contenders = [
        Contender(name=name, module=__name__, function=name, arguments=arguments)
        for name in ("served", "model_alone")
    ]
    found = measure(contenders, rounds=1 if quick else 3)
    ours, alone = found["served"], found["model_alone"]
    show(
        f"ranking {CANDIDATES} candidates at {REQUESTS_PER_S} requests/s",
        [
            {
                "": ours.name,
                "p50 ms": ours.figure("p50_ms"),
                "p99 ms": ours.figure("p99_ms"),
                "CPU ms of the server a request": ours.figure("server_cpu_ms"),
                "CPU ms of the model alone": alone.figure("cpu_ms"),
            }
        ],
    )
    return [
        Result(
            claim="ranking",
            value=ours.figure("p99_ms"),
            unit=f"ms at the 99th percentile for {CANDIDATES} candidates at {REQUESTS_PER_S}/s",
            peer=f"the model alone, {alone.figure('cpu_ms'):.2f} CPU ms",
            ratio=ours.figure("server_cpu_ms") / alone.figure("cpu_ms"),
            target=f"value <= {P99_MS_MAX}",
            holds=ours.figure("p99_ms") <= P99_MS_MAX,
        )
    ]


def _prepare(home: Path) -> None:
    from headrace.loading.export import export_model
    from headrace.serving.sqlite import SQLiteOnlineStore
    from tests.serving import ranked

    (home / "lake").mkdir()
    (home / "lake" / "lake.toml").write_text("[profiles.local]\n")
    with SQLiteOnlineStore(home / ".headrace" / "online.db") as store:
        store.replace(ranked.USERS, (ranked.user(number) for number in range(_USERS)))
        store.replace(ranked.ITEMS, (ranked.item(number) for number in range(_ITEMS)))
    export_model(
        ranked.Model(),
        spec=ranked.SPEC,
        types=ranked.TYPES,
        lock=ranked.lockfile(),
        folder=home / "model",
    )


def _load(port: int, seconds: int) -> list[float]:
    """Send requests at their times from a few connections; return how long each took, in ms."""
    times = [number / REQUESTS_PER_S for number in range(REQUESTS_PER_S * seconds)]
    took_ms: list[float] = []
    begun = time.perf_counter()

    def send(part: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for number in range(part, len(times), _THREADS):
            due = begun + times[number]
            time.sleep(max(0.0, due - time.perf_counter()))
            _ask(connection, number)
            took_ms.append((time.perf_counter() - due) * 1_000)  # a late start counts
        connection.close()

    threads = [threading.Thread(target=send, args=(part,)) for part in range(_THREADS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return took_ms


def _ask(connection: http.client.HTTPConnection, number: int) -> None:
    draw = random.Random(number)
    body = {
        "context": {"user_id": draw.randrange(_USERS), "position": 1},
        "candidates": [{"item_id": draw.randrange(_ITEMS)} for _ in range(CANDIDATES)],
        "top": 20,
    }
    connection.request("POST", "/v1/rank", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise AssertionError(content)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
