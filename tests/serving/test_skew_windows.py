"""Skew of window views: each planted cause is named, and what was served by the rule is equal."""

import datetime as dt
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import resolve_windows
from headrace.dml.delete import delete_where
from headrace.ingest.run import ingest
from headrace.serving.publish_windows import publish_windows
from headrace.serving.server.log import ServingLog
from headrace.serving.skew import measure_skew
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.vectors import lookup_vectors
from headrace.tables.commits.operations import Provenance
from tests.amounts import seed_of_today
from tests.samples.window_oracle import NOON, STREAM, Row
from tests.serving.plays import VIEW, World, add, plays
from tests.serving.test_skew import LOG as OTHER_LOG
from tests.serving.test_window_samples import DECLARED, lake, sample_set, show

pytestmark = pytest.mark.slow
__all__ = ["lake"]  # the fixture
WINDOWS = resolve_windows(WindowView.model_validate(DECLARED), [STREAM])
SET = sample_set()
_FIELDS = OTHER_LOG.model_dump(mode="json")["fields"] | {
    "u": {"type": "long"},
    "c": {"type": "string"},
}
LOG = Stream.model_validate(OTHER_LOG.model_dump(mode="json") | {"fields": _FIELDS})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteOnlineStore]:
    with SQLiteOnlineStore(tmp_path / "online.db") as opened:
        yield opened


def at(seconds: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=seconds)


def event(user: int, seconds: float, *, number: int = 0) -> Row:
    return {
        "id": f"{user}-{number}",
        "event_time": at(seconds),
        "known_at": at(seconds),
        "u": user,
        "c": "a",
        "item": user,
        "price": None,
        "score": None,
        "tag": None,
        "_source": "one",
        "_source_partition": 0,
        "_source_offset": 100 * user + number,
        "_source_time": None,
    }


def logged(lake: Lake, log: ServingLog) -> pa.Table:
    log.close()
    assert ingest(lake, LOG).dead_letters == 0
    return lake.table(LOG.table).head().to_arrow()


def edited(log: pa.Table, user: int, *, values: Row | None = None, **facts: Any) -> pa.Table:  # noqa: ANN401
    """Change what the log says of one user: some values, and facts of the view."""
    rows: list[dict[str, Any]] = log.to_pylist()
    for row in rows:
        if row["u"] == user:
            said, views = json.loads(row["values"]), json.loads(row["views"])
            views[VIEW] |= facts
            row |= {"values": json.dumps(said | dict(values or {})), "views": json.dumps(views)}
    return pa.Table.from_pylist(rows, log.schema)


def test_each_planted_cause_is_named(lake: Lake, store: SQLiteOnlineStore) -> None:
    table = plays(lake)
    show(lake, [])
    add(table, [event(user, 1) for user in range(9)])
    publish_windows(lake, store, WINDOWS, table.head(), as_of=at(5))
    add(table, [event(1, 2, number=1)])  # in the table, not yet in the store
    log = ServingLog.of(lake.settings, LOG, every_s=0.01)
    entities = [{"u": user, "c": "a"} for user in (*range(9), 99)]
    time.sleep(0.01)
    log.note(SET.name, entities, lookup_vectors(store, SET.features, entities, at=at(6)))
    time.sleep(0.01)
    add(table, [event(2, 3, number=1)])  # says that it was known before the request
    found = logged(lake, log)
    nothing = {name: None for name in json.loads(found.column("values")[0].as_py())}
    found = edited(found, 3, values={"w_plays_1m": 7})
    found = edited(found, 4, values={"w_plays_1m": 7}, definition="another")
    found = edited(found, 5, values={"w_plays_1m": 1.0})
    found = edited(found, 6, values=nothing, status="not_yet_known")
    found = edited(found, 7, values=nothing, status="expired")
    delete_where(table, "u = 8", provenance=Provenance())
    report = measure_skew(lake, SET, found)
    users = {(row["request_id"], row["row"]): row["u"] for row in found.to_pylist()}
    causes: dict[int, set[str]] = {}
    for each in report.examples:
        causes.setdefault(users[each.request_id, each.row], set()).add(each.cause)
    assert causes == {
        1: {"staleness"},
        2: {"late_arrival"},
        3: {"missing"},
        4: {"definition"},
        5: {"type"},
        6: {"superseded"},
        7: {"staleness"},
        8: {"removed"},
    }
    assert report.rows == 10


def test_what_was_served_of_windows_is_what_training_has(
    lake: Lake, store: SQLiteOnlineStore
) -> None:
    world = World(lake, store, random.Random(seed_of_today()), WINDOWS)
    show(lake, [])
    log = ServingLog.of(lake.settings, LOG, every_s=0.01)
    entities = [{"u": user, "c": place} for user in range(5) for place in ("a", "b")]
    for _ in range(5):
        world.arrive(6)
        world.publish()
        world.tick(0.5)
        found = lookup_vectors(store, SET.features, entities, at=world.clock)
        log.note(SET.name, entities, found)
        world.tick(9)
    report = measure_skew(lake, SET, logged(lake, log))
    assert (report.rows, report.mismatches) == (50, 0)
    assert len(report.features) == len(SET.features[0].columns)
