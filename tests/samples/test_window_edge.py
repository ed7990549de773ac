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


# by how far apart two copies are: how many events they are; one lake has all of them, each of its own key
APART = {
    "within": (WITHIN - SECOND, 1),
    "edge": (WITHIN, 1),
    "beyond": (WITHIN + SECOND, 2),
}


@pytest.mark.parametrize("commits", [1, 2])
@pytest.mark.parametrize("later_first", [False, True], ids=["in order", "later one first"])
def test_a_copy_with_another_event_time_is_dropped_within_the_window_and_stays_beyond(
    lake: Lake, later_first: bool, commits: int
) -> None:
    """Row 30 of the failures of others: duplicates come back at the edge of the window."""
    shown = [
        (f"{name} {day}", "", at(9, day=day), at(9, day=day)) for name in APART for day in (0, 1)
    ]
    take(lake, stream("shown"), *shown)
    clicks = stream("clicks")
    firsts = [(f"{name} 0", name, at(9.5), at(40)) for name in APART]
    copies = [
        (f"{name} 1", name, at(9.5) + apart, at(39) if later_first else at(41))
        for name, (apart, _) in APART.items()
    ]
    parts = (copies, firsts) if later_first else (firsts, copies)
    if commits == 1:
        take(lake, clicks, *parts[0], *parts[1])
    else:
        take(lake, clicks, *parts[0])
        built(lake)
        take(lake, clicks, *parts[1])
    counted = {name: clicks for name, (_, clicks) in built(lake).items()}
    for name, (_, events) in APART.items():
        assert counted[f"{name} 0"] + counted[f"{name} 1"] == events, name
        kept = f"{name} 1" if later_first else f"{name} 0"
        assert counted[kept] == 1, name  # the first to arrive stays
