"""What the modules that read facts share: how long facts stay fresh, and times in UTC."""

import datetime as dt

FRESH_S = 5


def utc_time(epoch_ms: int | None) -> dt.datetime | None:
    """Convert milliseconds since the epoch; None stays None."""
    return None if epoch_ms is None else dt.datetime.fromtimestamp(epoch_ms / 1000, dt.UTC)
