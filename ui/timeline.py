"""One sample as a time line around its exposure; pure.

Times are drawn by the logarithm of their distance, since a feature row may be days older than the
seconds that decide whether it was known.
"""

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from headrace.samples.inspect import InspectedSample, Moment

Kind = Literal["used", "expired", "too late", "window", "event"]
_TICKS_S: tuple[tuple[float, str], ...] = (
    (60, "1 min"),
    (3_600, "1 h"),
    (86_400, "1 d"),
    (30 * 86_400, "30 d"),
    (365 * 86_400, "1 y"),
)


@dataclass(frozen=True, kw_only=True)
class Span:
    """One bar of the time line, in the row `row`; `start` and `end` are positions around 0."""

    row: str
    kind: Kind
    start: float
    end: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark on the axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Rows from top to bottom, their bars, and the marks of the axis; 0 is the exposure."""

    rows: tuple[str, ...]
    spans: tuple[Span, ...]
    ticks: tuple[Tick, ...]


def position(at: dt.datetime, *, around: dt.datetime) -> float:
    """Return where a time lies: 0 is `around`, earlier is negative, and order is kept."""
    seconds = (at - around).total_seconds()
    return math.copysign(math.log10(1 + abs(seconds)), seconds) if seconds else 0.0


def timeline(sample: InspectedSample) -> Timeline:
    """Lay out what serving knew of a sample, and what came later and was rightly not used."""
    spans = (*_features(sample), *_labels(sample))
    rows = (*(each.view for each in sample.features), *(each.name for each in sample.labels))
    reach = max((abs(x) for each in spans for x in (each.start, each.end)), default=0.0)
    ticks = [Tick(at=0.0, text="exposure")]
    for seconds, text in _TICKS_S:
        at = math.log10(1 + seconds)
        if at <= reach + 0.5:
            ticks += [Tick(at=-at, text=f"−{text}"), Tick(at=at, text=f"+{text}")]
    return Timeline(rows=rows, spans=spans, ticks=tuple(sorted(ticks, key=lambda tick: tick.at)))


def why_not_used(moment: Moment, *, at: dt.datetime) -> str:
    """Say why a row was not used for an exposure at `at`."""
    if moment.event_time >= at:
        return f"happened {apart(moment.event_time - at)} after the exposure"
    return f"became known {apart(moment.known_at - at)} after the exposure"


def apart(span: dt.timedelta) -> str:
    """Format a duration of any length: `0.3 s`, `4 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    seconds = abs(span.total_seconds())
    if seconds < 60:
        return f"{seconds:.3g} s"
    for (length, unit), (smaller, smaller_unit) in (
        ((86_400, "d"), (3_600, "h")),
        ((3_600, "h"), (60, "min")),
        ((60, "min"), (1, "s")),
    ):
        if seconds >= length:
            whole, rest = divmod(int(seconds), length)
            more = rest // smaller
            return f"{whole:,} {unit} {more} {smaller_unit}" if more else f"{whole:,} {unit}"
    raise AssertionError(span)


def _features(sample: InspectedSample) -> Iterator[Span]:
    for feature in sample.features:
        moments: tuple[tuple[Kind, Moment | None], ...] = (
            ("used", feature.used),
            ("expired", feature.expired),
            ("too late", feature.not_used),
        )
        for kind, moment in moments:
            if moment is None:
                continue
            known = apart(moment.known_at - sample.event_time)
            side = "before" if moment.known_at < sample.event_time else "after"
            yield Span(
                row=feature.view,
                kind=kind,
                start=position(moment.event_time, around=sample.event_time),
                end=position(moment.known_at, around=sample.event_time),
                text=f"{kind}: row of {moment.event_time:%Y-%m-%d %H:%M:%S} UTC, "
                f"known {known} {side} the exposure",
            )


def _labels(sample: InspectedSample) -> Iterator[Span]:
    for label in sample.labels:
        yield Span(
            row=label.name,
            kind="window",
            start=0.0,
            end=position(label.window_ends, around=sample.event_time),
            text=f"window until {label.window_ends:%Y-%m-%d %H:%M:%S} UTC, {label.state}",
        )
        if label.at is not None:
            at = position(label.at, around=sample.event_time)
            yield Span(
                row=label.name,
                kind="event",
                start=at,
                end=at,
                text=f"{label.name} {apart(label.at - sample.event_time)} after the exposure",
            )
