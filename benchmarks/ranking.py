"""Claim: 200 candidates are ranked over HTTP within 20 ms at 50 requests a second, store and client included.

One user view and one item view in the embedded store, a small model with embeddings and a list. The
server is a process of its own; requests are sent at their time, whether earlier ones are answered or
not. The peer is the call of the model alone on the same rows in one process.
"""

import http.client
import json
import statistics
import threading
import time
from pathlib import Path

from benchmarks.feature_server import headrace_serve, prepare, ranking
from benchmarks.feature_server import served as served_by
from benchmarks.harness import Contender, Result, Rounds, measure, show

CANDIDATES = 200
REQUESTS_PER_S = 50
SECONDS = 20
P99_MS_MAX = 20.0
_THREADS = 4


def served(*, folder: str, seconds: int) -> Rounds:
    """Rank over HTTP at a fixed rate."""
    home = Path(folder)
    prepare(home)
    command = headrace_serve("--model", str(home / "model"))
    with served_by(command, home=home, alive="/healthz") as server:
        for number in range(20):
            _ask(http.client.HTTPConnection("127.0.0.1", server.port), number)
        yield {}
        while True:
            before_s = server.cpu_s
            took_ms = _load(server.port, seconds)
            spent_s = server.cpu_s - before_s
            yield {
                "p50_ms": statistics.median(took_ms),
                "p99_ms": statistics.quantiles(took_ms, n=100)[98],
                "server_cpu_ms": spent_s * 1_000 / len(took_ms),
                "requests": len(took_ms),
            }


def model_alone(*, folder: str, seconds: int) -> Rounds:
    """Call the model on the rows of as many requests, without store and server."""
    from headrace.serving.scorer import Scorer

    home = Path(folder)
    prepare(home)
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
    body = ranking(number, candidates=CANDIDATES)
    connection.request("POST", "/v1/rank", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise AssertionError(content)
