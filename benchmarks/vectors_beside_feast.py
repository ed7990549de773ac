"""Claim: the server answers ten times as many requests for vectors as Feast's, each ten times as fast.

Both servers are one process each and read the same values from the same Redis: eight numbers of each of
100 items a request. `wrk` asks one after the other over two connections. Feast has an environment of its
own, of the hash-checked `requirements/feast.txt`, which is made below `.headrace` on the first run.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import feast_server, online_store
from benchmarks.feature_server import Served, headrace_serve, served
from benchmarks.harness import ROOT, Result, declare_lake, show
from benchmarks.online_store import COLUMNS
from benchmarks.wrk import Load, load

ENTITIES, KEYS = 20_000, 100
SECONDS, ROUNDS = 15, 3
RATIO_MIN = 10.0
_BODIES = 100
_ENVIRONMENT = ROOT / ".headrace" / "feast"
_PINNED = ROOT / "requirements" / "feast.txt"


def run(*, quick: bool) -> list[Result]:
    """Measure three rounds of each; `quick` one of two seconds."""
    from infra.launcher.redis import url
    from tests.redis_server import redis_server

    python = feast_python()
    entities = ENTITIES // 10 if quick else ENTITIES
    with TemporaryDirectory(prefix="headrace-feast-") as scratch:
        home = Path(scratch)
        with redis_server(home / "redis") as cluster:
            address = f"127.0.0.1:{cluster.port('redis')},password={cluster.secret('redis')}"
            theirs = _feast(home / "feast", python, address, entities)
            ours = _headrace(home / "ours", url(cluster), entities)
            environment = {**os.environ, "HEADRACE_ONLINE_STORE_URI": url(cluster)}
            with (
                served(theirs, home=home / "feast", alive="/health") as peer,
                served(ours, home=home / "ours", alive="/healthz", environment=environment) as mine,
            ):
                _refuse_other_values(mine, peer)
                found = _measured(mine, peer, rounds=1 if quick else ROUNDS, quick=quick)
    return _results(found)


def feast_python() -> Path:
    """Return the Python of Feast's environment, made if it is not there or not of these versions."""
    python, mark = _ENVIRONMENT / "bin" / "python", _ENVIRONMENT / "requirements.txt"
    if mark.is_file() and mark.read_bytes() == _PINNED.read_bytes():
        return python
    uv = str(Path(sys.executable).with_name("uv"))
    env = {**os.environ, "VIRTUAL_ENV": str(_ENVIRONMENT)}
    subprocess.run(
        [uv, "venv", "-q", "--clear", "--python", sys.executable, str(_ENVIRONMENT)], check=True
    )
    subprocess.run([uv, "pip", "sync", "-q", "--require-hashes", str(_PINNED)], check=True, env=env)
    mark.write_bytes(_PINNED.read_bytes())
    return python


def _feast(home: Path, python: Path, address: str, entities: int) -> list[str]:
    home.mkdir()
    command = [str(python), "-m", "benchmarks.feast_server", str(home), address, str(entities)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    program = str(python.with_name("feast"))
    return [program, "serve", "--host", "127.0.0.1", "--port", "PORT", "--workers", "1"] + [
        "--no-access-log",
        "--max-requests=0",  # a worker that is replaced breaks a connection
    ]


def _headrace(home: Path, address: str, entities: int) -> list[str]:
    from headrace.serving.redis import RedisOnlineStore

    with RedisOnlineStore(address) as store:
        store.replace(online_store.state(), online_store.rows(entities))
    home.mkdir()
    declare_lake(str(home))
    return headrace_serve()


def _bodies(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one request as each server takes it."""
    items = random.Random(number).sample(range(ENTITIES // 10), KEYS)
    ours = {"views": [online_store.VIEW], "entities": [{"item_id": item} for item in items]}
    named = [f"{feast_server.VIEW}:{name}" for name in COLUMNS]
    return ours, {"features": named, "entities": {"item_id": items}}


_PATHS = ("/v1/vectors", "/get-online-features")


def _refuse_other_values(mine: Served, peer: Served) -> None:
    for number in range(5):
        ours, theirs = (
            _ask(server, path, body)
            for server, path, body in zip((mine, peer), _PATHS, _bodies(number), strict=True)
        )
        names = theirs["metadata"]["feature_names"]
        columns = {n: each["values"] for n, each in zip(names, theirs["results"], strict=True)}
        rows = [list(row) for row in zip(*(columns[name] for name in COLUMNS), strict=True)]
        if rows != ours["values"] or len(rows) != KEYS:
            msg = "the servers answer with other values"
            raise AssertionError(msg)


def _ask(server: Served, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    url = f"http://127.0.0.1:{server.port}{path}"
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def _measured(
    mine: Served, peer: Served, *, rounds: int, quick: bool
) -> dict[str, tuple[Load, ...]]:
    bodies = [_bodies(number) for number in range(_BODIES)]
    found: dict[str, list[Load]] = {"headrace": [], "Feast": []}
    for number in range(rounds):
        turn = list(enumerate(zip(found, (mine, peer), _PATHS, strict=True)))
        for which, (name, server, path) in turn if number % 2 == 0 else reversed(turn):
            url = f"http://127.0.0.1:{server.port}{path}"
            asked = [pair[which] for pair in bodies]
            done = load(url, asked, seconds=2 if quick else SECONDS)
            if done.refused or done.broken:
                msg = f"{name} failed: {done}"
                raise AssertionError(msg)
            found[name].append(done)
    return {name: tuple(each) for name, each in found.items()}


def _results(found: Mapping[str, tuple[Load, ...]]) -> list[Result]:
    per_s = {name: statistics.median(one.per_s for one in each) for name, each in found.items()}
    p50 = {name: statistics.median(one.p50_ms for one in each) for name, each in found.items()}
    p99 = {name: statistics.median(one.p99_ms for one in each) for name, each in found.items()}
    show(
        f"vectors of {KEYS} items with {len(COLUMNS)} values each, two connections",
        [
            {"": name, "requests/s": per_s[name], "p50 ms": p50[name], "p99 ms": p99[name]}
            for name in found
        ],
    )
    faster, sooner = per_s["headrace"] / per_s["Feast"], p99["Feast"] / p99["headrace"]
    return [
        Result(
            claim="vectors_beside_feast",
            value=per_s["headrace"],
            unit=f"requests/s for {KEYS} vectors, p99 {p99['headrace']:.1f} ms",
            peer=f"Feast's server, {per_s['Feast']:.0f} requests/s, p99 {p99['Feast']:.0f} ms",
            ratio=1 / faster,
            target=f"{RATIO_MIN:g} times as many, and p99 a tenth; {faster:.1f} and {sooner:.1f} times",
            holds=faster >= RATIO_MIN and sooner >= RATIO_MIN,
        )
    ]
