"""The estimate before a publication: rows exactly, bytes within a fifth of what both stores then take."""

import datetime as dt
import random
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.config import Settings
from headrace.serving.encoded import encoded, encoded_batch
from headrace.serving.estimate import estimate
from headrace.serving.publish import publish_view
from headrace.serving.redis import RedisOnlineStore
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineRow
from headrace.tables.lake import LakeTable
from infra.launcher.redis import url
from tests.amounts import examples
from tests.contract.online_stores import START, STATE
from tests.redis_server import redis_server
from tests.serving.conftest import add, hours

pytestmark = pytest.mark.slow
ROWS = 12_000
SCHEMA = pa.schema(
    [
        pa.field("campaign", pa.string(), nullable=False),
        pa.field("item_id", pa.int64(), nullable=False),
        pa.field("event_time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("known_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("ctr", pa.float64()),
        pa.field("about", pa.string()),
    ]
)


@pytest.fixture
def table(lake: Lake, view: object) -> LakeTable:
    made: LakeTable = view(schema=SCHEMA)  # pyright: ignore[reportCallIssue]
    draw = random.Random(1)
    rows = [
        {
            "campaign": draw.choice(("all", "men")),
            "item_id": item,
            "event_time": hours(draw.random()),
            "known_at": hours(1),
            "ctr": draw.random(),
            "about": "x" * draw.choice((0, 3, 40, 400)),
        }
        for item in range(ROWS)
    ]
    add(made, rows)
    return made


def test_a_file_gets_as_long_as_was_said(lake: Lake, table: LakeTable, settings: Settings) -> None:
    with SQLiteOnlineStore(settings.online_store) as store:
        said = estimate(lake, store, table.name)
        assert store.state(str(table.name)) is None
        publish_view(lake, store, table.head())
    taken = settings.online_store.stat().st_size
    assert said.rows == ROWS
    assert said.bytes == pytest.approx(taken, rel=0.2)


def test_a_server_uses_as_much_memory_as_was_said(
    lake: Lake, table: LakeTable, tmp_path: Path
) -> None:
    with (
        redis_server(tmp_path, appendonly="no") as cluster,
        RedisOnlineStore(url(cluster)) as store,
        closing(redis.Redis.from_url(url(cluster))) as client,
    ):
        said = estimate(lake, store, table.name)
        publish_view(lake, store, table.head())
        (key,) = client.scan_iter("headrace:*:rows:*")
        taken = client.memory_usage(key, samples=0)
    assert said.rows == ROWS
    assert said.bytes == pytest.approx(taken, rel=0.2)


FLOATS = st.floats(width=64) | st.sampled_from([0.1, -0.0, 1e16, 1e-7, 5e-324])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.just('"{[\x1f\x7f/\\')


@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            TEXTS,
            FLOATS | st.none(),
            TEXTS | st.none(),
            st.lists(FLOATS, max_size=3) | st.none(),
            st.decimals(-9, 9, places=2) | st.none(),
            st.datetimes(dt.datetime(1900, 1, 1), timezones=st.just(dt.UTC)) | st.none(),  # noqa: DTZ001
            st.booleans() | st.none(),
            st.binary(max_size=4),
        ),
        max_size=6,
    )
)
@settings(deadline=None, max_examples=examples(200, few=30))
def test_a_batch_is_encoded_as_its_rows_one_by_one(rows: list[tuple[object, ...]]) -> None:
    kinds = [pa.int64(), pa.string(), pa.float64(), pa.string(), pa.list_(pa.float64())]
    kinds += [pa.decimal128(9, 2), pa.timestamp("us", tz="UTC"), pa.bool_(), pa.binary()]
    names = [f"c{number}" for number in range(len(kinds))]
    state = replace(STATE, entity=tuple(names[:2]), columns=tuple(names[2:]))
    columns = [pa.array([row[n] for row in rows], kind) for n, kind in enumerate(kinds)]
    times = [pa.array([START] * len(rows), pa.timestamp("us", tz="UTC"))] * 2
    batch = pa.RecordBatch.from_arrays([*times, *columns], names=["event_time", "known_at", *names])
    single = [
        encoded(state, OnlineRow(key=row[:2], event_time=START, known_at=START, values=row[2:]))  # pyright: ignore[reportArgumentType]
        for row in zip(*(column.to_pylist() for column in columns), strict=True)
    ]
    assert list(encoded_batch(batch, entity=2)) == single
