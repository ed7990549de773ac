"""What a reader of any online store sees while others write, and while versions change names."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from headrace.serving.store import Found, OnlineRow, OnlineStore, ViewState
from tests.amounts import examples
from tests.contract.online_stores import FORMER, NEXT, STATE, Factory, minutes, row
from tests.waiting import WAIT_S


def test_what_was_written_is_there_after_reopening(reopen: Factory) -> None:
    first = reopen()
    first.put(STATE, [row(1, at=5)])
    first.close()
    second = reopen()
    assert second.get(STATE.view, [("all", 1)]) == [row(1, at=5)]
    assert second.state(STATE.view) == STATE
    second.close()


def test_many_keys_are_answered_in_their_order_with_what_is_missing_between(
    reopen: Factory,
) -> None:
    there = [number for number in range(2_500) if number % 3]
    with reopen() as store:
        store.put(STATE, [row(number, at=number, known=number + 1) for number in there])
        asked = [*reversed(range(2_500)), 7, 9_999]
        found = store.get(STATE.view, [("all", number) for number in asked])
    known = set(there)
    wanted = [row(n, at=n, known=n + 1) if n in known else None for n in asked]
    assert found == wanted


def test_a_reader_sees_a_write_whole_or_not_at_all(reopen: Factory) -> None:
    with reopen() as reader, reopen() as writer, ThreadPoolExecutor(1) as thread:
        writer.put(STATE, [row(1, at=0), row(2, at=0)])

        def write() -> None:
            for at in range(1, 60):
                writer.put(STATE, [row(1, at=at), row(2, at=at)])

        writing = thread.submit(write)
        while not writing.done():
            one, two = reader.get(STATE.view, [("all", 1), ("all", 2)])
            assert one is not None
            assert two is not None
            assert one.event_time == two.event_time
        writing.result()


def test_look_ups_of_the_same_process_do_not_wait_for_a_write(reopen: Factory) -> None:
    begun, go_on, answers = threading.Event(), threading.Event(), list[object]()
    with reopen() as store, ThreadPoolExecutor(2) as threads:
        store.put(STATE, [row(1, at=0)])

        def slow() -> Iterator[OnlineRow]:
            yield row(1, at=1)
            begun.set()
            assert go_on.wait(WAIT_S)
            yield row(2, at=1)

        def read() -> None:
            answers.append(store.look_up([(STATE.view, [("all", 1), ("all", 2)])])[0].rows)
            fresh, known = store.freshness(STATE.view), store.state(STATE.view)
            answers.append((store.views(), fresh and fresh.rows, known, store.size().bytes > 0))
            with reopen() as other:
                answers.append(other.get(STATE.view, [("all", 1)]))

        writing = threads.submit(store.put, STATE, slow())
        assert begun.wait(WAIT_S)
        reading = threads.submit(read)
        waited = wait([reading], timeout=WAIT_S / 2).not_done
        go_on.set()
        writing.result()
        reading.result()
        assert not waited
        assert answers == [[row(1, at=0), None], ((STATE.view,), 1, STATE, True), [row(1, at=0)]]
        assert store.get(STATE.view, [("all", 2)]) == [row(2, at=1)]


def test_several_views_are_looked_up_at_one_moment_with_their_states(reopen: Factory) -> None:
    """A writer moves two views one after the other: the second is never ahead of the first."""
    other = replace(STATE, view="features.other")
    with reopen() as reader, reopen() as writer, ThreadPoolExecutor(1) as thread:
        assert reader.look_up([(STATE.view, [("all", 1)]), (other.view, [])]) == [
            Found(state=None, rows=[None]),
            Found(state=None, rows=[]),
        ]

        def write() -> None:
            for number in range(60):
                for state in (STATE, other):
                    moved = replace(state, snapshot_id=number)
                    kind = writer.put if number % 2 else writer.replace
                    kind(moved, [row(1, at=number)])

        writing = thread.submit(write)
        while not writing.done():
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
        writing.result()


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
    done, seen = threading.Event(), set[int]()
    with reopen() as writer, ThreadPoolExecutor(2) as threads:
        for view in VIEWS:
            for name, number in ((view, 1), (f"{view}@former", 2)):
                rows = [row(item, at=5)._replace(values=(float(number), 3)) for item in range(4)]
                writer.put(replace(STATE, view=name, snapshot_id=number), rows)
        readings = [threads.submit(read_versions, reopen, done, seen) for _ in range(2)]
        number, until_s = 0, time.monotonic() + WAIT_S
        try:
            while number < examples(1_000, few=60) or (
                len(seen) < 2 and time.monotonic() < until_s
            ):
                number, view = number + 1, VIEWS[number % 3]
                writer.rename([(view, f"{view}@former"), (f"{view}@former", view)])
        finally:
            done.set()
        for each in readings:
            each.result()
    assert seen == {1, 2}
