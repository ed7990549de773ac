"""What times are counted from and in, and the time it is now: UTC, one name each."""

import datetime as dt
import time
from typing import overload

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EPOCH_DAY = dt.date(1970, 1, 1)
ONE_DAY = dt.timedelta(days=1)
ONE_US = dt.timedelta(microseconds=1)


@overload
def time_at(at_ms: int) -> dt.datetime: ...


@overload
def time_at(at_ms: int | None) -> dt.datetime | None: ...


def time_at(at_ms: int | None) -> dt.datetime | None:
    """Return the moment that is so many milliseconds after the epoch; None for None."""
    return None if at_ms is None else EPOCH + dt.timedelta(milliseconds=at_ms)


def now_ms() -> int:
    """Return the milliseconds since the epoch; they may go back when the clock is set."""
    return time.time_ns() // 1_000_000
