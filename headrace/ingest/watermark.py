"""How far a stream is complete: the latest event time less the allowed lateness, never going back."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from headrace.definitions.properties import WATERMARK

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


def advance(
    watermark_us: int | None, *, latest_event_us: int | None, allowed_lateness: timedelta
) -> int | None:
    """Move a watermark past a batch whose latest event is `latest_event_us`; None means none yet."""
    if latest_event_us is None:
        return watermark_us
    reached = latest_event_us - allowed_lateness // _US
    return reached if watermark_us is None else max(watermark_us, reached)


def read(properties: Mapping[str, str]) -> int | None:
    """Read the watermark from a table's properties or a snapshot's summary."""
    text = properties.get(WATERMARK)
    return None if text is None else int(text)


def note(watermark_us: int | None) -> dict[str, str]:
    """Write the watermark as an entry of properties or summary."""
    return {} if watermark_us is None else {WATERMARK: str(watermark_us)}


def as_time(watermark_us: int | None) -> datetime | None:
    """Show a watermark as a time, if it is one Python can show."""
    if watermark_us is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=watermark_us)
    except OverflowError:
        return None
