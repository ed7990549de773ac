"""A Redis server whose log of changes ends in the middle of one, as after a crash, or at an older moment."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.serving.redis import RedisOnlineStore
from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.redis import Redis, url
from tests.amounts import examples, seed_of_today
from tests.redis_server import redis_server
from tests.serving.test_redis import (
    BATCH,
    LATER,
    ONE_US,
    START,
    STATE,
    opened,
    release,
    rows,
    values,
    write,
)

pytestmark = pytest.mark.slow
COUNT = 25
LAST = replace(STATE, snapshot_id=3)
SETTINGS = {"appendfsync": "always"}


def log_of(cluster: Cluster) -> Path:
    """The file that changes are written to."""
    return max(cluster.of("redis").rglob("*.aof"), key=lambda each: each.stat().st_size)


def start(cluster: Cluster) -> None:
    run.up(cluster, [Redis(SETTINGS)], say=lambda _: None)


def stop(cluster: Cluster) -> None:
    run.stop(cluster, Redis(SETTINGS))


def agree(store: RedisOnlineStore, kind: str) -> bool:
    """Whether the rows are those of the state, and of whole batches beyond it."""
    before, after = [1] * COUNT, [2] * COUNT
    if store.state(STATE.view) == LATER:
        return values(store, COUNT) == after
    # keys that a `put` takes away first change with its last batch
    parts = [before, *([1, *[2] * n, *[1] * (COUNT - 1 - n)] for n in (BATCH, 2 * BATCH))]
    return store.state(STATE.view) == STATE and values(store, COUNT) in (
        parts if kind == "put" else [before]
    )


@pytest.mark.parametrize("kind", ["put", "replace"])
def test_rows_and_state_agree_wherever_the_log_ends_and_later_writes_stay(
    tmp_path: Path, kind: str
) -> None:
    draw = random.Random(f"{seed_of_today()} {kind}")
    with redis_server(tmp_path, **SETTINGS) as cluster:
        with opened(cluster) as store:
            store.replace(STATE, rows(COUNT, 1))
        first = log_of(cluster).stat().st_size
        write(url(cluster), kind)
        stop(cluster)
        log = log_of(cluster)
        whole = log.read_bytes()
        cuts = [first, *draw.sample(range(first + 1, len(whole)), examples(60, few=4))]
        for cut in cuts:
            log.write_bytes(whole[:cut])
            start(cluster)
            with opened(cluster) as store:
                assert agree(store, kind), cut
                release(cluster)
                store.put(LAST, rows(COUNT, 3, at=START + 2 * ONE_US))
            stop(cluster)
            start(cluster)
            with opened(cluster) as store:
                assert store.state(STATE.view) == LAST, cut
                assert values(store, COUNT) == [3] * COUNT, cut
            stop(cluster)
        start(cluster)
