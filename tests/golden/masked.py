"""Mask what differs between two runs of the same commands: ids, times, durations, sizes, places."""

import re

_MASKS = tuple(
    (re.compile(pattern, re.MULTILINE), to)
    for pattern, to in (
        (r"\x1b\[[0-9;]*m", ""),
        (r"(bytes\w*\": )\d+", r"\1SIZE"),
        (r"(\w+_(s|ms|at_ms)\": )[-+\d.e]+", r"\1DURATION"),
        (r"(\w+_per_mib\": )[-+\d.e]+", r"\1RATE"),
        (r"\b\d[\d.]* ms\b", "DURATION"),
        (r"(metric: (?:On disk|Size) \| )\d+", r"\1SIZE"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(\+00:00|Z)?", "TIME"),
        (r"(?<![-\d] )\b\d\d:\d\d:\d\d UTC\b", "TIME UTC"),
        (r"\.crc[0-9a-f]{8}\.", ".crcHASH."),
        (r"\b\d{15,}\b", "ID"),
        (r"\b(?=\d*[a-f])[0-9a-f]{10,64}\b", "HASH"),
        (r"[\d,.]+ ?(B|KiB|MiB|GiB)\b", "SIZE"),
        (r"^(bytes +)[\d,]+$", r"\1SIZE"),
        (r"\b(just now|[\d.]+ ?(y|mo|d|h|min|s|ms) ago)\b", "AGO"),
        (r"(?<!every )\b\d+ (s|min)\b", "AGE"),
    )
)


_FIXED = (
    *(
        (pattern, to)
        for pattern, to in _MASKS
        if to not in ("TIME", "ID", "SIZE", "DURATION", "AGE")
    ),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{6})?"), "2026-11-30 12:00:00"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d(?!:)"), "2026-11-30 12:00"),
    (re.compile(r"\b\d{15,}\b"), "1234567890123456789"),
    (re.compile(r"[\d,.]+ ?(KiB|MiB)\b"), "10.0 KiB"),
    (re.compile(r"\b\d[\d.]* ms\b"), "1.0 ms"),
    (re.compile(r"\b\d+ (s|min)\b"), "12 s"),
    (re.compile(r"^(bytes +)[\d,]+$", re.MULTILINE), r"\g<1>10,000"),
)


def fixed(text: str, *places: tuple[str, str]) -> str:
    """Return a text in which what differs between runs has one width, for tables laid out later."""
    for place, name in places:
        text = text.replace(place, name)
    for pattern, to in _FIXED:
        text = pattern.sub(to, text)
    return text


def masked(text: str, *places: tuple[str, str]) -> str:
    """Return a text that is the same in every run; `places` are paths and what to call them."""
    for place, name in places:
        text = text.replace(place, name)
    for pattern, to in _MASKS:
        text = pattern.sub(to, text)
    return "\n".join(re.sub(r"(?<=\S) {2,}", "  ", line).rstrip() for line in text.splitlines())
