"""Format numbers, ages and sizes for people."""

import datetime as dt

from headrace.standing.wording import listed, moment

__all__ = [
    "age",
    "compact",
    "count",
    "listed",
    "moment",
    "rows_text",
    "second",
    "share",
    "signed",
    "size",
    "snapshot",
    "unit_for",
    "unit_of",
]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_COMPACT_FROM = 10_000
_SHARE_MIN = 0.001
_YEAR_S = 31_557_600
_YEARS_FROM_S = 2 * _YEAR_S


def size(count_bytes: float) -> str:
    """Format a size in bytes: `1.4 MiB`, `128 MiB`."""
    unit = 0
    while count_bytes >= _STEP and unit < len(_UNITS) - 1:
        count_bytes /= _STEP
        unit += 1
    whole = count_bytes == int(count_bytes)
    return f"{count_bytes:,.{0 if whole else 1}f} {_UNITS[unit]}"


def age(at: dt.datetime | None, *, now: dt.datetime) -> str:
    """Format the age of `at`: `3 min ago`; a moment in the future gives `in 2 h`."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    spoken = _span(abs(seconds))
    if spoken is None:
        return "just now"
    return f"{spoken} ago" if seconds >= 0 else f"in {spoken}"


def _span(seconds: float) -> str | None:
    if seconds >= _YEARS_FROM_S:
        return f"{seconds / _YEAR_S:,.0f} y"
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length):,} {unit}"
    return None


def unit_of(seconds_max: float) -> tuple[str, float]:
    """Return the unit in which durations up to `seconds_max` are drawn, and its length in seconds."""
    units = (("y", _YEAR_S), ("d", 86_400), ("h", 3_600), ("min", 60))
    return next(((unit, length) for unit, length in units if seconds_max >= 2 * length), ("s", 1.0))


def count(number: int, noun: str, *, plural: str = "") -> str:
    """Format a count with its noun: `1 file`, `2 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def snapshot(snapshot_id: int | None) -> str:
    """Format a snapshot id as its last six digits, the short form used on pages."""
    return "—" if snapshot_id is None else f"…{str(snapshot_id)[-6:]}"


def rows_text(rows: int) -> str:
    """Format a number of rows for a narrow place: `287 rows`, `60 K rows`, `1.2 M rows`."""
    return f"{compact(rows)} {'row' if rows == 1 else 'rows'}"


def compact(number: int) -> str:
    """Format a number in at most five characters: `287`, `41.9 K`, `1.2 M`."""
    if abs(number) < _COMPACT_FROM:
        return f"{number:,}"
    value = float(number)
    for unit in ("K", "M", "G", "T"):
        value /= 1000
        if abs(value) < 999.5 or unit == "T":
            shown = f"{value:,.1f}" if abs(value) < 99.95 else f"{value:,.0f}"
            return f"{shown.removesuffix('.0')} {unit}"
    raise AssertionError(number)


def signed(number: int) -> str:
    """Format a change with its sign: `+1,234`, `−9`, `0`."""
    return f"{number:+,}".replace("-", "−") if number else "0"


def share(value: float | None) -> str:
    """Format a share: `12.3 %`, `< 0.1 %`; `—` for None."""
    if value is None:
        return "—"
    if 0 < value < _SHARE_MIN:
        return "< 0.1 %"
    return f"{value:.1%}".replace("%", " %").replace(".0 ", " ")


def unit_for(greatest_bytes: int) -> tuple[str, int]:
    """Choose the unit of a column of sizes, and the bytes it has: `MiB` for up to 1 GiB."""
    unit, step = 0, 1
    while greatest_bytes / step >= _STEP and unit < len(_UNITS) - 1:
        unit, step = unit + 1, step * _STEP
    return _UNITS[unit], step


def second(at: dt.datetime) -> str:
    """Format a time in UTC to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S}"
