"""Copies at the edge of the window in which an event counts once, whatever commits they come in."""

import datetime as dt

import pytest

from headrace.api import Lake
from headrace.samples.first_arrivals import WITHIN
from tests.samples.factories import at
from tests.samples.test_first_arrivals import built, lake, stream, take

__all__ = ["lake"]  # the fixture

pytestmark = pytest.mark.slow
SECOND = dt.timedelta(seconds=1)


@pytest.mark.parametrize("commits", [1, 2])
@pytest.mark.parametrize("later_first", [False, True], ids=["in order", "later one first"])
@pytest.mark.parametrize(
    ("apart", "events"),
    [(WITHIN - SECOND, 1), (WITHIN, 1), (WITHIN + SECOND, 2)],
    ids=["a second within", "at the edge", "a second beyond"],
)
def test_a_copy_with_another_event_time_is_dropped_within_the_window_and_stays_beyond(
    lake: Lake, apart: dt.timedelta, events: int, later_first: bool, commits: int
) -> None:
    """Row 30 of the failures of others: duplicates come back at the edge of the window."""
    take(lake, stream("shown"), ("a", "", at(9), at(9)), ("b", "", at(9, day=1), at(9, day=1)))
    clicks, click = stream("clicks"), "c"
    first = ("a", click, at(9.5), at(40))
    copy = ("b", click, at(9.5) + apart, at(39) if later_first else at(41))
    pair = (copy, first) if later_first else (first, copy)
    if commits == 1:
        take(lake, clicks, *pair)
    else:
        take(lake, clicks, pair[0])
        built(lake)
        take(lake, clicks, pair[1])
    counted = {name: clicks for name, (_, clicks) in built(lake).items()}
    assert sum(counted.values()) == events
    kept = "b" if later_first else "a"
    assert counted[kept] == 1  # the first to arrive stays
