"""What every online store does with rows, whatever it is made of."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.serving.store import (
    EntityKey,
    OnlineRow,
    OnlineStore,
    Value,
    ViewState,
    column_values,
)
from tests.amounts import examples
from tests.contract.online_stores import STATE, minutes, row


def test_what_was_put_is_found_in_the_order_of_the_keys(store: OnlineStore) -> None:
    assert store.put(STATE, [row(1, at=5), row(2, at=6)]) == 2
    found = store.get(STATE.view, [("all", 2), ("all", 9), ("all", 1), ("all", 2)])
    assert found == [row(2, at=6), None, row(1, at=5), row(2, at=6)]


def test_a_view_never_published_has_nothing(store: OnlineStore) -> None:
    assert store.get("features.none", [("all", 1)]) == [None]
    assert store.state("features.none") is None
    assert store.freshness("features.none") is None
    assert store.views() == ()


def test_a_late_row_never_overwrites_a_newer_one(store: OnlineStore) -> None:
    store.put(STATE, [row(1, at=5, known=6)])
    assert store.put(STATE, [row(1, at=4, known=60, ctr=0.9)]) == 0
    assert store.put(STATE, [row(1, at=5, known=5, ctr=0.9)]) == 0
    assert store.get(STATE.view, [("all", 1)]) == [row(1, at=5, known=6)]


def test_a_revision_of_the_same_event_time_overwrites(store: OnlineStore) -> None:
    store.put(STATE, [row(1, at=5, known=6)])
    assert store.put(STATE, [row(1, at=5, known=7, ctr=0.9)]) == 1
    assert store.get(STATE.view, [("all", 1)]) == [row(1, at=5, known=7, ctr=0.9)]


def test_putting_the_same_rows_again_changes_nothing(store: OnlineStore) -> None:
    store.put(STATE, [row(1, at=5), row(2, at=6)])
    assert store.put(STATE, [row(1, at=5), row(2, at=6)]) == 0


def test_a_null_value_of_a_newer_row_is_a_value(store: OnlineStore) -> None:
    store.put(STATE, [row(1, at=5)])
    newer = row(1, at=6)._replace(values=(None, None))
    store.put(STATE, [newer])
    assert store.get(STATE.view, [("all", 1)]) == [newer]


@given(
    arrivals=st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 4), st.integers(0, 4)), max_size=12
    ).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows)))
)
@settings(
    deadline=None,
    max_examples=examples(40, few=15),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_order_of_arrival_ends_in_the_same_latest_rows(
    store: OnlineStore, arrivals: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]
) -> None:
    def value_of(item: int, at: int, late: int) -> OnlineRow:
        return row(item, at=at, known=at + late, ctr=at + late / 10)

    in_order, shuffled = ([value_of(*arrival) for arrival in order] for order in arrivals)
    keys = [("all", item) for item in (1, 2, 3)]
    newest = [
        max(
            (r for r in in_order if r.key == key),
            key=lambda r: (r.event_time, r.known_at),
            default=None,
        )
        for key in keys
    ]
    store.replace(STATE, in_order)
    assert store.get(STATE.view, keys) == newest
    store.replace(STATE, [])
    for arrived in shuffled:
        store.put(STATE, [arrived])
    assert store.get(STATE.view, keys) == newest


def test_values_come_back_equal_and_of_the_same_type(store: OnlineStore) -> None:
    values = (
        None,
        True,
        -(2**63),
        0.1,
        float("-inf"),
        "naïve \N{SNOWMAN} 'quoted' \"twice\"",
        b"\x00\xff",
        Decimal("1.50"),
        dt.date(2019, 11, 24),
        minutes(1.5),
        (1, None, ("a",)),
    )
    state = replace(STATE, columns=tuple(f"c{n}" for n in range(len(values))))
    store.put(state, [row(1, at=5)._replace(values=values)])
    (found,) = store.get(STATE.view, [("all", 1)])
    assert found is not None
    assert found.values == values
    assert [type(value) for value in found.values] == [type(value) for value in values]
    assert column_values(state, found)["c7"] == Decimal("1.50")


def test_rows_of_one_look_up_are_read_as_each_alone_is(store: OnlineStore) -> None:
    told: list[tuple[Value, ...]] = [
        (0.5, 1),
        ("[{", 'a\n\r"],["\u2028b'),
        (None, ("a", None, (1.5,))),
        (minutes(1), float("nan")),
        (b"", Decimal("-0.10")),
        (True, 2**63 - 1),
    ]
    rows = [row(item, at=item)._replace(values=values) for item, values in enumerate(told)]
    store.put(STATE, rows)
    asked = (5, 9, 0, 3, 2, 4, 1)
    keys: list[EntityKey] = [("all", item) for item in asked]
    together, alone = store.get(STATE.view, keys), [store.get(STATE.view, [key])[0] for key in keys]
    assert repr(together) == repr(alone)
    found = [None if each is None else repr(each.values) for each in together]
    assert found == [None if at == 9 else repr(told[at]) for at in asked]
    assert store.get(STATE.view, [("all", 0), ("all", 5)]) == [rows[0], rows[5]]


def test_keys_of_different_types_or_views_do_not_meet(store: OnlineStore) -> None:
    other = replace(STATE, view="features.other")
    store.put(STATE, [row(1, at=5)])
    store.put(other, [row(1, at=9)])
    assert store.get(STATE.view, [("all", "1")]) == [None]
    assert store.get(STATE.view, [("all", 1)]) == [row(1, at=5)]
    assert store.views() == ("features.item_ctr", "features.other")


def test_state_and_freshness_say_how_far_a_view_has_come(store: OnlineStore) -> None:
    store.put(STATE, [row(1, at=5, known=9), row(2, at=6, known=7)])
    later = replace(STATE, snapshot_id=42, held_back=(dt.date(2019, 11, 24),))
    store.put(later, [row(3, at=1)])
    assert store.state(STATE.view) == later
    fresh = store.freshness(STATE.view)
    assert fresh is not None
    assert (fresh.rows, fresh.snapshot_id) == (3, 42)
    assert (fresh.newest_event_time, fresh.newest_known_at) == (minutes(6), minutes(9))
    assert fresh.published_at == STATE.published_at


PUTS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4), st.integers(0, 4)), max_size=4),
        st.sets(st.integers(1, 4), max_size=2),
    ),
    max_size=6,
)


@given(puts=PUTS)
@settings(
    deadline=None,
    max_examples=examples(100, few=15),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_rows_and_newest_times_are_those_of_what_is_there_after_any_puts(
    store: OnlineStore, puts: list[tuple[list[tuple[int, int, int]], set[int]]]
) -> None:
    store.replace(STATE, [row(4, at=2, known=3)])
    for written, gone in puts:
        rows = [row(item, at=at, known=at + late) for item, at, late in written]
        store.put(STATE, rows, without=[("all", item) for item in gone])
        there = [r for r in store.get(STATE.view, [("all", n) for n in range(5)]) if r is not None]
        fresh = store.freshness(STATE.view)
        assert fresh is not None
        assert fresh.rows == len(there)
        assert fresh.newest_event_time == max((r.event_time for r in there), default=None)
        assert fresh.newest_known_at == max((r.known_at for r in there), default=None)


def test_an_empty_view_is_published_all_the_same(store: OnlineStore) -> None:
    assert store.put(STATE, []) == 0
    fresh = store.freshness(STATE.view)
    assert fresh is not None
    assert (fresh.rows, fresh.newest_event_time) == (0, None)


def test_a_view_of_another_shape_must_be_replaced(store: OnlineStore) -> None:
    store.put(STATE, [row(1, at=5), row(2, at=5)])
    wider = replace(STATE, columns=("ctr", "seen", "new"))
    with pytest.raises(ValueError, match="another shape"):
        store.put(wider, [])
    old = row(1, at=1)._replace(values=(0.1, 2, 3))
    assert store.replace(wider, [old]) == 1
    assert store.get(STATE.view, [("all", 1), ("all", 2)]) == [old, None]


@pytest.mark.parametrize("changed", [pa.float32(), None])
def test_a_column_of_another_type_or_id_is_another_shape(
    store: OnlineStore, changed: pa.DataType | None
) -> None:
    store.put(STATE, [row(1, at=5)])
    field = pa.field("ctr", changed or pa.float64(), metadata={"PARQUET:field_id": "9"})
    other = replace(STATE, schema=STATE.schema.set(2, field))
    with pytest.raises(ValueError, match="another shape"):
        store.put(other, [])
    store.replace(other, [])
    found = store.state(STATE.view)
    assert found is not None
    assert found.schema.equals(other.schema, check_metadata=True)


def test_keys_taken_away_end_with_what_is_written_of_them_or_with_nothing(
    store: OnlineStore,
) -> None:
    store.put(STATE, [row(1, at=5), row(2, at=5), row(3, at=5)])
    keys = [("all", item) for item in (1, 2, 3, 4)]
    rows = [row(1, at=2), row(1, at=0), row(3, at=2)]
    assert store.put(STATE, rows, without=[keys[0], keys[1], keys[3]]) == 3
    assert store.get(STATE.view, keys) == [row(1, at=2), None, row(3, at=5), None]
    store.put(STATE, [row(2, at=1), row(2, at=3), row(2, at=2)], without=[keys[1]])
    assert store.get(STATE.view, keys[1:2]) == [row(2, at=3)]


def test_rows_are_listed_by_when_they_happened(store: OnlineStore) -> None:
    store.put(STATE, [row(item, at=item, known=item + 1) for item in range(6)])
    store.put(replace(STATE, view="features.other"), [row(9, at=1)])
    found = store.happened(STATE.view, [(minutes(1), minutes(3)), (minutes(5), minutes(9))])
    listed = {(each.key, each.event_time, each.known_at) for each in found}
    assert listed == {(("all", n), minutes(n), minutes(n + 1)) for n in (1, 2, 5)}


def test_a_dropped_view_was_never_published(store: OnlineStore) -> None:
    other = replace(STATE, view="features.other")
    store.put(STATE, [row(1, at=5), row(2, at=5)])
    store.put(other, [row(1, at=5)])
    assert store.drop(STATE.view) == 2
    assert store.state(STATE.view) is None
    assert store.get(STATE.view, [("all", 1)]) == [None]
    assert store.get(other.view, [("all", 1)]) == [row(1, at=5)]


def test_a_guard_sees_the_state_it_takes_the_place_of_and_can_refuse(store: OnlineStore) -> None:
    store.put(STATE, [row(1, at=5)])
    seen: list[ViewState | None] = []

    def refuse(before: ViewState | None) -> None:
        seen.append(before)
        raise ConnectionError

    newer = replace(STATE, snapshot_id=42)
    for write in (store.put, store.replace):
        with pytest.raises(ConnectionError):
            write(newer, [row(1, at=9)], guard=refuse)
    with pytest.raises(ConnectionError):
        store.drop(STATE.view, guard=refuse)
    assert seen == [STATE] * 3
    assert store.state(STATE.view) == STATE
    assert store.get(STATE.view, [("all", 1)]) == [row(1, at=5)]


def test_replacing_keeps_the_newest_row_of_a_key_given_twice(store: OnlineStore) -> None:
    store.replace(STATE, [row(1, at=5), row(1, at=4)])
    assert store.get(STATE.view, [("all", 1)]) == [row(1, at=5)]


def test_a_write_that_fails_midway_leaves_everything_as_it_was(store: OnlineStore) -> None:
    store.put(STATE, [row(1, at=5)])

    def broken() -> Iterator[OnlineRow]:
        yield row(1, at=6)
        yield row(2, at=6)
        msg = "the source broke"
        raise ConnectionError(msg)

    for write in (store.put, store.replace):
        with pytest.raises(ConnectionError):
            write(replace(STATE, snapshot_id=42), broken())
    assert store.get(STATE.view, [("all", 1), ("all", 2)]) == [row(1, at=5), None]
    assert store.state(STATE.view) == STATE


def test_a_put_that_fails_shows_whole_batches_and_leaves_the_state(store: OnlineStore) -> None:
    atomic = store.atomic_rows_max
    size = 1_000 if atomic is None else atomic

    def broken() -> Iterator[OnlineRow]:
        yield from (row(item, at=5) for item in range(size + 1))
        msg = "the source broke"
        raise ConnectionError(msg)

    with pytest.raises(ConnectionError):
        store.put(STATE, broken())
    found = store.get(STATE.view, [("all", item) for item in range(size + 1)])
    seen = sum(each is not None for each in found)
    assert seen in ({0} if atomic is None else {0, atomic})
    assert store.state(STATE.view) is None


@pytest.mark.parametrize(
    "bad",
    [
        row(2, at=5)._replace(event_time=dt.datetime(2019, 11, 24)),  # noqa: DTZ001 - a naive time is the point
        row(2, at=5)._replace(key=("all",)),
        row(2, at=5)._replace(key=("all", None)),
        row(2, at=5)._replace(key=("all", 1.5)),
        row(2, at=5)._replace(values=(1,)),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_nothing_is_written(
    store: OnlineStore, bad: OnlineRow
) -> None:
    with pytest.raises(ValueError, match=r"time zone|key part|entity key"):
        store.put(STATE, [row(1, at=5), bad])
    assert store.get(STATE.view, [("all", 1)]) == [None]


def test_many_keys_are_one_look_up(store: OnlineStore) -> None:
    store.put(STATE, (row(item, at=item) for item in range(2_000)))
    keys = [("all", item) for item in range(2_100)]
    found = store.get(STATE.view, keys)
    assert [None if r is None else r.key for r in found] == [*keys[:2_000], *[None] * 100]
