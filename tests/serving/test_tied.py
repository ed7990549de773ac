"""Which appended rows are tied with the stored one, so that the store cannot tell which of them counts."""

import datetime as dt
import itertools
import math
from decimal import Decimal

import pytest

from headrace.serving.appended import are_tied
from headrace.serving.store import EncodedRow, OnlineRow, Value, epoch_us
from headrace.serving.values import decode, encode

START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
ONE_US = dt.timedelta(microseconds=1)
# no two of them are one value, though Python takes some for equal, and NaN for no value's equal
DIFFERENT: tuple[Value, ...] = (
    *(None, False, True, 0, 1, 0.0, -0.0, 1.0, 5e-324, math.nan, math.inf, -math.inf),
    *("", "0", "null", "NaN", b"", b"0", Decimal(1), Decimal("1.0"), START.date(), START),
    *((), (None,), (0,), (0.0,), (-0.0,), (math.nan,), (1, 2), (2, 1), ("1", "2"), ((1,), (2,))),
)


def new(value: Value, *, known: dt.datetime = START) -> EncodedRow:
    return "[1]", epoch_us(START), epoch_us(known), encode((7, value))


def stored(value: Value, *, at: dt.datetime = START, known: dt.datetime = START) -> OnlineRow:
    """A row as a look-up returns it."""
    return OnlineRow(key=(1,), event_time=at, known_at=known, values=decode(encode((7, value))))


@pytest.mark.parametrize("value", DIFFERENT)
def test_a_row_of_the_same_value_is_no_tie(value: Value) -> None:
    assert not are_tied(new(value), stored(value))


def test_a_row_of_another_value_is_a_tie_and_at_another_time_none() -> None:
    for value, other in itertools.permutations(DIFFERENT, 2):
        assert are_tied(new(value), stored(other)), (value, other)
        assert not are_tied(new(value), stored(other, at=START - ONE_US))
        assert not are_tied(new(value, known=START + ONE_US), stored(other))
        assert not are_tied(new(value), stored(other, known=START + ONE_US))
