"""A looked-up vector is what the point-in-time rule would give for that moment."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.definitions.sample_set import FeatureUse
from headrace.errors import NotAFeatureViewError
from headrace.identifiers import TableName
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineRow, ViewState
from headrace.serving.vectors import lookup_vector
from tests.serving.conftest import hours

CTR = ViewState(
    view="features.item_ctr",
    entity=("campaign", "item_id"),
    columns=("ctr", "seen"),
    ttl=dt.timedelta(hours=10),
    delay=dt.timedelta(0),
    snapshot_id=1,
    published_at=hours(0),
)
SEGMENT = ViewState(
    view="features.segment_activity",
    entity=("user_segment",),
    columns=("clicks",),
    ttl=None,
    delay=dt.timedelta(0),
    snapshot_id=2,
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
    with pytest.raises(ValueError, match="`campaign`, which is not given"):
        lookup_vector(store, [CTR.view], {"item_id": 7})
    with pytest.raises(NotAFeatureViewError, match="never published"):
        lookup_vector(store, ["features.none"], ENTITIES)
    with pytest.raises(NotAFeatureViewError, match="no column `views`"):
        use = FeatureUse(view=TableName.parse(CTR.view), columns=("views",))
        lookup_vector(store, [use], ENTITIES)
    with pytest.raises(ValueError, match="no time zone"):
        lookup_vector(store, [CTR.view], ENTITIES, at=dt.datetime(2019, 11, 24))  # noqa: DTZ001 - a naive time is the point
