"""Parse and format durations such as `0s`, `30m`, `24h`, `7d` and `1h30m`."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PART = re.compile(r"(\d+)(ms|d|h|m|s)")
_WHOLE = re.compile(r"(?:\d+(?:ms|d|h|m|s))+")
_MS_MAX = 100 * 366 * 86_400_000  # a century: anything longer is a typo


def parse_duration(text: object) -> timedelta:
    """Read a duration such as `30m` or `1d12h`.

    Raises:
        ValueError: If `text` is not a duration, or is longer than a century.

    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not _WHOLE.fullmatch(text):
        msg = f"`{text}` is not a duration; write a number and a unit, as in `30m`, `24h`, `7d`"
        raise ValueError(msg)
    length_ms = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    if length_ms > _MS_MAX:
        msg = f"`{text}` is longer than a century"
        raise ValueError(msg)
    return timedelta(milliseconds=length_ms)


def format_duration(duration: timedelta) -> str:
    """Format a duration so that `parse_duration` reads it back (to the millisecond)."""
    rest_ms = duration // timedelta(milliseconds=1)
    parts: list[str] = []
    for unit, unit_ms in _UNITS.items():
        count, rest_ms = divmod(rest_ms, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
]
