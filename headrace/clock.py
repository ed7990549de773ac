"""What times are counted from and in, and the time it is now: UTC, one name each."""

import datetime as dt
import time

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EPOCH_DAY = dt.date(1970, 1, 1)
ONE_DAY = dt.timedelta(days=1)
ONE_US = dt.timedelta(microseconds=1)


def now_ms() -> int:
    """Return the milliseconds since the epoch; they may go back when the clock is set."""
    return time.time_ns() // 1_000_000
