"""What every online store does, whatever it is made of."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.serving.redis import RedisOnlineStore
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import Found, OnlineRow, OnlineStore, ViewState, column_values
from infra.launcher.redis import url
from tests.amounts import examples
from tests.redis_server import redis_server

Factory = Callable[[], OnlineStore]
START = dt.datetime(2019, 11, 24, tzinfo=dt.UTC)
STATE = ViewState(
    view="features.item_ctr",
    entity=("campaign", "item_id"),
    columns=("ctr", "seen"),
    schema=pa.schema(
        [
            pa.field("campaign", pa.string(), metadata={"PARQUET:field_id": "1"}),
            pa.field("item_id", pa.int64(), metadata={"PARQUET:field_id": "2"}),
            pa.field("ctr", pa.float64(), metadata={"PARQUET:field_id": "5"}),
            pa.field("seen", pa.int64(), metadata={"PARQUET:field_id": "6"}),
        ]
    ),
    ttl=dt.timedelta(days=7),
    delay=dt.timedelta(0),
    snapshot_id=7_781_234_567_890_123_456,
    as_of=START + dt.timedelta(days=8),
    published_at=START + dt.timedelta(days=8, microseconds=1),
)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis"), appendonly="no") as cluster:
        yield url(cluster)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Factory:
    """Make a factory: each call opens the same store again."""
    if request.param == "sqlite":
        return lambda: SQLiteOnlineStore(tmp_path / "online.db")
    address = request.getfixturevalue("redis_url")
    return lambda: RedisOnlineStore(address, prefix=str(tmp_path), batch_rows=50)


@pytest.fixture
def store(reopen: Factory) -> Iterator[OnlineStore]:
    opened = reopen()
    yield opened
    opened.close()


def minutes(count: float) -> dt.datetime:
    return START + dt.timedelta(minutes=count)


def row(item: int, *, at: float, known: float | None = None, ctr: float = 0.5) -> OnlineRow:
    return OnlineRow(
        key=("all", item),
        event_time=minutes(at),
        known_at=minutes(at if known is None else known),
        values=(ctr, 3),
    )


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
    newer = replace(row(1, at=6), values=(None, None))
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
    store.put(state, [replace(row(1, at=5), values=values)])
    (found,) = store.get(STATE.view, [("all", 1)])
    assert found is not None
    assert found.values == values
    assert [type(value) for value in found.values] == [type(value) for value in values]
    assert column_values(state, found)["c7"] == Decimal("1.50")


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
    old = replace(row(1, at=1), values=(0.1, 2, 3))
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
    assert store.put(STATE, [row(1, at=2), row(3, at=2)], without=[keys[0], keys[1], keys[3]]) == 3
    assert store.get(STATE.view, keys) == [row(1, at=2), None, row(3, at=5), None]


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
        replace(row(2, at=5), event_time=dt.datetime(2019, 11, 24)),  # noqa: DTZ001 - a naive time is the point
        replace(row(2, at=5), key=("all",)),
        replace(row(2, at=5), key=("all", None)),
        replace(row(2, at=5), key=("all", 1.5)),
        replace(row(2, at=5), values=(1,)),
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


def test_what_was_written_is_there_after_reopening(reopen: Factory) -> None:
    first = reopen()
    first.put(STATE, [row(1, at=5)])
    first.close()
    second = reopen()
    assert second.get(STATE.view, [("all", 1)]) == [row(1, at=5)]
    assert second.state(STATE.view) == STATE
    second.close()


def test_a_reader_sees_a_write_whole_or_not_at_all(reopen: Factory) -> None:
    reader, writer = reopen(), reopen()
    writer.put(STATE, [row(1, at=0), row(2, at=0)])
    done = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for at in range(1, 60):
                writer.put(STATE, [row(1, at=at), row(2, at=at)])
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        one, two = reader.get(STATE.view, [("all", 1), ("all", 2)])
        assert one is not None
        assert two is not None
        assert one.event_time == two.event_time
    thread.join()
    reader.close()
    writer.close()
    assert not failures


def test_several_views_are_looked_up_at_one_moment_with_their_states(reopen: Factory) -> None:
    """A writer moves two views one after the other: the second is never ahead of the first."""
    reader, writer = reopen(), reopen()
    other = replace(STATE, view="features.other")
    assert reader.look_up([(STATE.view, [("all", 1)]), (other.view, [])]) == [
        Found(state=None, rows=[None]),
        Found(state=None, rows=[]),
    ]
    done = threading.Event()

    def write() -> None:
        for number in range(60):
            for state in (STATE, other):
                moved = replace(state, snapshot_id=number)
                kind = writer.put if number % 2 else writer.replace
                kind(moved, [row(1, at=number)])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        wanted = [(other.view, [("all", 1), ("all", 2)]), (STATE.view, [("all", 1)])]
        second, first = reader.look_up(wanted)
        assert second.rows[1:] == [None] or second.state is None
        snapshots = [
            -1 if each.state is None else each.state.snapshot_id for each in (first, second)
        ]
        assert 0 <= snapshots[0] - snapshots[1] <= 1
        for found, number in zip((first, second), snapshots, strict=True):
            if found.state is not None:
                assert found.rows[0] == row(1, at=number)
    thread.join()
    reader.close()
    writer.close()


NEXT, FORMER = f"{STATE.view}@next", f"{STATE.view}@former"
SWITCH = [(STATE.view, FORMER), (NEXT, STATE.view)]


def version(name: str, snapshot: int) -> ViewState:
    return replace(STATE, view=name, snapshot_id=snapshot)


def test_views_change_names_with_all_they_have(store: OnlineStore) -> None:
    store.put(version(STATE.view, 1), [row(1, at=5), row(2, at=5)])
    store.put(version(NEXT, 2), [row(1, at=6)])
    store.put(version(FORMER, 3), [row(7, at=7)])
    store.rename(SWITCH)
    assert store.get(STATE.view, [("all", 1), ("all", 2)]) == [row(1, at=6), None]
    assert store.get(FORMER, [("all", 1), ("all", 7)]) == [row(1, at=5), None]
    assert store.state(STATE.view) == version(STATE.view, 2)
    assert store.state(FORMER) == version(FORMER, 1)
    assert store.state(NEXT) is None
    assert store.views() == (STATE.view,)
    fresh = store.freshness(FORMER)
    assert fresh is not None
    assert (fresh.rows, fresh.newest_event_time) == (2, minutes(5))


def test_two_views_exchange_their_names_and_can_be_written_after_it(store: OnlineStore) -> None:
    store.put(version(STATE.view, 1), [row(1, at=5)])
    store.put(version(FORMER, 2), [])
    for number in range(4):
        store.rename([(STATE.view, FORMER), (FORMER, STATE.view)])
        served, other = (2, 1) if number % 2 == 0 else (1, 2)
        assert store.state(STATE.view) == version(STATE.view, served)
        assert store.state(FORMER) == version(FORMER, other)
    store.put(version(STATE.view, 1), [row(2, at=6)])
    store.replace(version(FORMER, 2), [row(3, at=6)])
    assert store.get(STATE.view, [("all", 1), ("all", 2)]) == [row(1, at=5), row(2, at=6)]
    assert store.get(FORMER, [("all", 1), ("all", 3)]) == [None, row(3, at=6)]


def test_a_guard_refuses_other_names_and_what_is_not_there_has_none(store: OnlineStore) -> None:
    store.put(version(STATE.view, 1), [row(1, at=5)])
    seen: list[object] = []

    def refuse(found: object) -> None:
        seen.append(found)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.rename([(STATE.view, FORMER)], guard=refuse)
    assert seen == [{STATE.view: version(STATE.view, 1), FORMER: None}]
    with pytest.raises(ValueError, match="never published"):
        store.rename(SWITCH)
    assert store.get(STATE.view, [("all", 1)]) == [row(1, at=5)]
    assert store.state(FORMER) is None


VIEWS = [f"features.v{number}" for number in range(3)]


def read_versions(reopen: Factory, done: threading.Event, seen: set[int]) -> None:
    """Read three views until `done`; note the versions that were seen, each whole."""
    keys = [("all", item) for item in range(4)]
    with reopen() as reader:
        while not done.is_set():
            for found in reader.look_up([(view, keys) for view in VIEWS]):
                assert found.state is not None
                number = found.state.snapshot_id
                assert [each and each.values[0] for each in found.rows] == [number] * 4
                seen.add(number)


def test_a_reader_of_three_views_sees_one_version_of_each_while_they_flip(
    reopen: Factory,
) -> None:
    """Every value says its version: rows of one view are never of two, nor of another's state."""
    writer = reopen()
    for view in VIEWS:
        for name, number in ((view, 1), (f"{view}@former", 2)):
            rows = [replace(row(item, at=5), values=(float(number), 3)) for item in range(4)]
            writer.put(replace(STATE, view=name, snapshot_id=number), rows)
    done, seen, failures = threading.Event(), set[int](), list[BaseException]()

    def carried() -> None:
        try:
            read_versions(reopen, done, seen)
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)

    readers = [threading.Thread(target=carried) for _ in range(2)]
    for each in readers:
        each.start()
    number, until_s = 0, time.monotonic() + 60
    while number < examples(1_000, few=60) or (len(seen) < 2 and time.monotonic() < until_s):
        number, view = number + 1, VIEWS[number % 3]
        writer.rename([(view, f"{view}@former"), (f"{view}@former", view)])
    done.set()
    for each in readers:
        each.join()
    writer.close()
    assert not failures
    assert seen == {1, 2}
