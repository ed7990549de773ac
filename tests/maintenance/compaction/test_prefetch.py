"""Reading ahead: every item once and in order, no more of them at a time than was allowed."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.maintenance.compaction.prefetch import prefetched

WAIT_S = 20


def _threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "read-ahead"]


@given(weights=st.lists(st.integers(0, 9), max_size=30), weight_max=st.integers(1, 20))
def test_all_items_come_in_order_whatever_they_weigh(weights: list[int], weight_max: int) -> None:
    items = list(enumerate(weights))
    found = prefetched(items, weigh=lambda item: item[1], weight_max=weight_max)
    assert list(found) == items


def test_items_are_made_before_they_are_asked_for_up_to_the_weight_and_not_beyond() -> None:
    made: list[int] = []
    waits = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 4:
                waits.set()
            yield number

    reading = prefetched(items(), weigh=lambda _: 4, weight_max=10)
    assert next(reading) == 0
    assert waits.wait(WAIT_S)  # 1, 2 and 3 lie there, 4 has no place yet
    time.sleep(0.1)
    assert made == [0, 1, 2, 3, 4]
    reading.close()
    assert _threads() == []


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    reading = prefetched(items(), weigh=lambda _: 1, weight_max=5)
    assert next(reading) == 1
    with pytest.raises(KeyError, match="two"):
        next(reading)
    assert _threads() == []


def test_a_caller_that_stops_early_leaves_no_thread_behind() -> None:
    def items() -> Iterator[int]:
        number = 0
        while True:
            yield (number := number + 1)

    reading = prefetched(items(), weigh=lambda _: 1, weight_max=3)
    assert next(reading) == 1
    reading.close()
    assert _threads() == []
