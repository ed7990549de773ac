"""How findings, reasons and gains say counts, times and sizes."""

_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


def time_text(seconds: float) -> str:
    """Say how long something takes: `0.4 ms`, `12 ms`, `3.4 s`."""
    if seconds < 0.0095:
        return f"{seconds * 1000:.2g} ms"
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.3g} s"


def span_text(seconds: float) -> str:
    """Say how long ago or for how long, in one unit: `40 s`, `3 min`, `2 h`."""
    for length, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def size_text(count_bytes: int) -> str:
    """Say a size: `812 B`, `1.4 MiB`."""
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if count_bytes >= unit:
            return f"{count_bytes / unit:,.1f} {name}"
    return f"{count_bytes} B"


def counted(number: int, noun: str) -> str:
    """Say how many: `1 file`, `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
