"""A looked-up vector is what the point-in-time rule would give for that moment."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from headrace.config import Settings
from headrace.definitions.sample_set import FeatureUse
from headrace.errors import EntityKeyError, NotAFeatureViewError
from headrace.identifiers import TableName
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineRow, Scalar, ViewState
from headrace.serving.vectors import lookup_vector, lookup_vectors
from tests.raising import refused
from tests.serving.conftest import SCHEMA, hours

CTR = ViewState(
    view="features.item_ctr",
    entity=("campaign", "item_id"),
    columns=("ctr", "seen"),
    schema=SCHEMA,
    ttl=dt.timedelta(hours=10),
    delay=dt.timedelta(0),
    snapshot_id=1,
    as_of=hours(9),
    published_at=hours(0),
)
SEGMENT = ViewState(
    view="features.segment_activity",
    entity=("user_segment",),
    columns=("clicks",),
    schema=pa.schema([("user_segment", pa.string()), ("clicks", pa.int64())]),
    ttl=None,
    delay=dt.timedelta(0),
    snapshot_id=2,
    as_of=hours(9),
    published_at=hours(0),
)
ENTITIES = {"campaign": "all", "item_id": 7, "user_segment": "a", "unused": 1}
MICROSECOND = dt.timedelta(microseconds=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteOnlineStore]:
    with SQLiteOnlineStore(tmp_path / "online.db") as opened:
        opened.put(
            CTR,
            [OnlineRow(key=("all", 7), event_time=hours(1), known_at=hours(2), values=(0.25, 4))],
        )
        opened.put(
            SEGMENT,
            [OnlineRow(key=("a",), event_time=hours(1), known_at=hours(1), values=(9,))],
        )
        yield opened


def test_a_vector_joins_the_values_of_several_views(store: SQLiteOnlineStore) -> None:
    vector = lookup_vector(store, [CTR.view, SEGMENT.view], ENTITIES, at=hours(5))
    assert vector.values() == {"ctr": 0.25, "seen": 4, "clicks": 9}
    first = vector.features[0]
    assert (first.view, first.column, first.status) == (CTR.view, "ctr", "fresh")
    assert (first.event_time, first.known_at) == (hours(1), hours(2))
    assert first.staleness_s == 4 * 3600


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (hours(2), "not_yet_known"),
        (hours(2) + MICROSECOND, "fresh"),
        (hours(11), "fresh"),
        (hours(11) + MICROSECOND, "expired"),
    ],
)
def test_a_value_is_used_after_it_is_known_until_its_ttl_ends(
    store: SQLiteOnlineStore, at: dt.datetime, status: str
) -> None:
    (ctr, _) = lookup_vector(store, [CTR.view], ENTITIES, at=at).features
    assert ctr.status == status
    assert ctr.value == (0.25 if status == "fresh" else None)
    assert ctr.event_time == hours(1)


def test_an_entity_never_seen_has_missing_values(store: SQLiteOnlineStore) -> None:
    vector = lookup_vector(store, [CTR.view], {**ENTITIES, "item_id": 8}, at=hours(5))
    assert [(f.value, f.status, f.event_time) for f in vector.features] == [
        (None, "missing", None)
    ] * 2


def test_a_sample_sets_use_names_its_columns_and_ttl(store: SQLiteOnlineStore) -> None:
    use = FeatureUse(
        view=TableName.parse(CTR.view), columns=("seen",), ttl=dt.timedelta(days=2), prefix="item_"
    )
    vector = lookup_vector(store, [use], ENTITIES, at=hours(40))
    assert vector.values() == {"item_seen": 4}


def test_without_a_moment_the_vector_is_of_now(store: SQLiteOnlineStore) -> None:
    vector = lookup_vector(store, [SEGMENT.view, CTR.view], ENTITIES)
    assert vector.values() == {"clicks": 9, "ctr": None, "seen": None}
    assert vector.at.tzinfo is dt.UTC


def test_wrong_questions_are_named(store: SQLiteOnlineStore) -> None:
    with pytest.raises(EntityKeyError) as missing:
        lookup_vector(store, [CTR.view], {"item_id": 7})
    assert (missing.value.view, missing.value.column) == (CTR.view, "campaign")
    with pytest.raises(NotAFeatureViewError) as unpublished:
        lookup_vector(store, ["features.none"], ENTITIES)
    assert unpublished.value.table == "features.none"
    use = FeatureUse(view=TableName.parse(CTR.view), columns=("views",))
    with pytest.raises(NotAFeatureViewError) as unknown:
        lookup_vector(store, [use], ENTITIES)
    assert (unknown.value.table, unknown.value.column) == (CTR.view, "views")
    with pytest.raises(ValueError, match="no time zone"):  # a plain one, which has no attributes
        lookup_vector(store, [CTR.view], ENTITIES, at=dt.datetime(2019, 11, 24))  # noqa: DTZ001 - a naive time is the point


MOMENT = hours(3)
ELSEWHERE = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("kind", "key", "others"),
    [
        (pa.int64(), 7, [np.int64(7), np.int32(7), np.uint8(7)]),
        (pa.int32(), 1, [np.int64(1)]),
        (pa.string(), "1", [np.str_("1")]),
        (pa.bool_(), True, [np.bool_(True)]),
        (pa.binary(), b"1", [bytearray(b"1"), memoryview(b"1")]),
        (pa.decimal128(9, 2), Decimal("1.50"), [Decimal("1.5"), Decimal("1.500")]),
        (pa.date32(), dt.date(2019, 11, 24), []),
        (pa.timestamp("us", tz="UTC"), MOMENT, [MOMENT.astimezone(ELSEWHERE)]),
    ],
)
def test_a_key_is_exactly_what_its_column_holds_or_refused_by_name(
    settings: Settings, kind: pa.DataType, key: Scalar, others: list[object]
) -> None:
    schema = pa.schema([("user_segment", kind), ("clicks", pa.int64())])
    state = replace(SEGMENT, schema=schema)
    with SQLiteOnlineStore(settings.online_store) as opened:
        kept = OnlineRow(key=(key,), event_time=hours(1), known_at=hours(1), values=(9,))
        opened.put(state, [kept])
        for same in (key, *others):
            vector = lookup_vector(opened, [SEGMENT.view], {"user_segment": same}, at=hours(5))
            assert vector.values() == {"clicks": 9}
        naive = MOMENT.replace(tzinfo=None)
        guesses = [1, "1", True, 1.0, b"1", Decimal("1.505"), MOMENT.date(), MOMENT, None]
        for guess in (*guesses, np.float64(1), [1], naive):
            is_of_kind = type(guess) is type(key) and guess not in (Decimal("1.505"), naive)
            if is_of_kind or (isinstance(key, Decimal) and type(guess) is int):
                continue
            with pytest.raises(EntityKeyError) as refusal:
                lookup_vector(opened, [SEGMENT.view], {"user_segment": guess}, at=hours(5))
            assert (refusal.value.view, refusal.value.column) == (SEGMENT.view, "user_segment")


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (pa.decimal128(4, 2), Decimal("NaN")),
        (pa.decimal128(4, 2), Decimal("-Infinity")),
        (pa.decimal128(4, 2), Decimal(123)),
        (pa.decimal128(4, 2), 1_000),
        (pa.binary(4), b"12345"),
    ],
)
def test_a_key_that_its_column_cannot_hold_is_refused_and_not_missing(
    settings: Settings, kind: pa.DataType, wrong: object
) -> None:
    schema = pa.schema([("user_segment", kind), ("clicks", pa.int64())])
    with SQLiteOnlineStore(settings.online_store) as opened:
        opened.put(replace(SEGMENT, schema=schema), [])
        with refused(EntityKeyError, column="user_segment"):
            lookup_vector(opened, [SEGMENT.view], {"user_segment": wrong}, at=hours(5))


def test_vectors_of_many_sets_are_those_of_each_alone(store: SQLiteOnlineStore) -> None:
    views = [CTR.view, SEGMENT.view]
    sets = [{**ENTITIES, "item_id": item} for item in (7, 8, 7, 9)]
    found = lookup_vectors(store, views, sets, at=hours(5))
    alone = [lookup_vector(store, views, each, at=hours(5)) for each in sets]
    assert [found.vector(number) for number in range(4)] == alone
    assert found.columns() == {
        "ctr": [0.25, None, 0.25, None],
        "seen": [4, None, 4, None],
        "clicks": [9] * 4,
    }


def test_a_state_seen_before_is_noticed_to_be_of_another_shape(store: SQLiteOnlineStore) -> None:
    known = {CTR.view: CTR}
    text = pa.field("item_id", pa.string())
    named = replace(CTR, schema=SCHEMA.set(SCHEMA.get_field_index("item_id"), text))
    row = OnlineRow(key=("all", "7"), event_time=hours(1), known_at=hours(1), values=(0.5, 1))
    store.replace(named, [row])
    with refused(EntityKeyError, column="item_id"):
        lookup_vectors(store, [CTR.view], [ENTITIES], at=hours(5), known=known)
    found = lookup_vectors(
        store, [CTR.view], [{**ENTITIES, "item_id": "7"}], at=hours(5), known=known
    )
    assert found.columns()["ctr"] == [0.5]
    assert known == {CTR.view: named}
