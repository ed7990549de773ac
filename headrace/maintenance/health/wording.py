"""Format counts, times and sizes for findings, reasons and gains."""

_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


def time_text(seconds: float) -> str:
    """Format a duration: `0.4 ms`, `12 ms`, `3.4 s`."""
    if seconds < 0.0095:
        return f"{seconds * 1000:.2g} ms"
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.3g} s"


def span_text(seconds: float) -> str:
    """Format an age or a period in one unit: `40 s`, `3 min`, `2 h`."""
    for length, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def size_text(count_bytes: int) -> str:
    """Format a size in bytes: `812 B`, `1.4 MiB`."""
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if count_bytes >= unit:
            return f"{count_bytes / unit:,.1f} {name}"
    return f"{count_bytes} B"


def counted(number: int, noun: str) -> str:
    """Format a count with its noun: `1 file`, `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
