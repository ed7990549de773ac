"""What the modules that read facts share: how long facts stay fresh, and times in UTC."""

import datetime as dt

FRESH_S = 5
REFRESH_S = 10  # a page that stays open reads anew
READ_S = 0.7  # a page shows what it has read after this long, and goes on


def utc_time(epoch_ms: int | None) -> dt.datetime | None:
    """Convert milliseconds since the epoch; None stays None."""
    return None if epoch_ms is None else dt.datetime.fromtimestamp(epoch_ms / 1000, dt.UTC)
