"""A table that a job follows, as SQL: what is there when the job begins, and each later snapshot; pure.

Time is when rows became known. What was there before is read in any order, so it moves no watermark; each
later snapshot moves it.
"""

import datetime as dt
from collections.abc import Sequence

from headrace.definitions.stream import KNOWN_AT, Stream
from headrace.definitions.window_rows import ahead_of, disorder_of
from headrace.flink.begin import Begin
from headrace.flink.statements import named
from headrace.identifiers import quote_text

_DAYS_DIGITS = 3  # as many as Flink takes
_NO_TIME = "to_timestamp_ltz(0, 3)"
_ONE_MS = dt.timedelta(milliseconds=1)


def news(
    name: str,
    table: str,
    begin: Begin,
    *,
    computed: Sequence[str] = (),
    time: str | None = None,
    mark: str = "",
) -> str:
    """Write the source of the snapshots from that with which a job begins.

    Args:
        name: Of the source.
        table: Of the lake.
        begin: Where the job begins.
        computed: Columns beside those of the table, `<name> as <expression>`.
        time: Which of them is the time of rows; None if nothing depends on it.
        mark: The watermark after a row.

    """
    options = {
        "streaming": "true",
        # one after the other: later ones are known later. Two a second catch up with a commit each second
        "monitor-interval": "500ms",
        "max-planning-snapshot-count": "1",
        "starting-strategy": "INCREMENTAL_FROM_SNAPSHOT_ID",
        "start-snapshot-id": str(begin.snapshot_id),
    }
    return _source(name, table, options, (*computed, *_watermark(time, mark)))


def history(
    name: str,
    table: str,
    begin: Begin,
    *,
    computed: Sequence[str] = (),
    time: str | None = None,
) -> str | None:
    """Write the source of what was there before; None if there was nothing."""
    if begin.history_id is None:
        return None
    options = {"streaming": "false", "snapshot-id": str(begin.history_id)}
    return _source(name, table, options, (*computed, *_watermark(time, _NO_TIME)))


def _watermark(time: str | None, mark: str) -> tuple[str, ...]:
    return () if time is None else (f"watermark for {time} as {mark}",)


def mark_after(*, disorder: dt.timedelta, ahead: dt.timedelta, skew: dt.timedelta) -> str:
    """Write the watermark after a row: no later row that keeps its contract is known before it.

    A row of a wrong clock, which says that it is known in a year, would make all rows until then late. So
    one that is known later than a contract lets clocks be wrong moves nothing, also where a job reads what
    came long ago; and none moves the watermark beyond the time at which it is read.
    """
    known, latest = f"cast(`{KNOWN_AT}` as timestamp_ltz(3))", "current_row_timestamp()"
    latest, wrong = later(latest, ahead // _ONE_MS), later(latest, (ahead + skew) // _ONE_MS)
    mark = f"case when {known} <= {latest} then {known} when {known} <= {wrong} then {latest} end"
    return later(mark, -(disorder // _ONE_MS))


def mark_of(stream: Stream) -> str:
    """Write the watermark after a row of a stream's table."""
    return mark_after(
        disorder=disorder_of(stream), ahead=ahead_of(stream), skew=stream.allowed_clock_skew
    )


def _source(name: str, table: str, options: dict[str, str], columns: Sequence[str]) -> str:
    said = ", ".join(f"{quote_text(key)} = {quote_text(value)}" for key, value in options.items())
    more = " (\n    " + ",\n    ".join(columns) + "\n)" if columns else ""
    return f"create temporary table {name}{more} with ({said})\nlike {named(table)}"


def interval(ms: int) -> str:
    """Write a duration."""
    days, rest = divmod(ms, 86_400_000)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    clock = f"{hours:02}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"
    return f"interval '{days} {clock}' day({_DAYS_DIGITS}) to second(3)"


def later(instant: str, ms: int) -> str:
    """Write an instant so much later, or earlier if it is negative."""
    if not ms:
        return instant
    sign, ms = ("-" if ms < 0 else "+"), abs(ms)
    return f"({instant} {sign} {interval(ms)})"


def text_of(instant: str) -> str:
    """Write an instant as text of one width, whose order is that of time."""
    return f"cast(cast({instant} as timestamp(6)) as string)"


def place_of(instant: str) -> str:
    """Write the order of rows by a time and their place as text.

    A source ends before all characters, numbers are of one width.
    """
    return (
        f"concat({text_of(instant)}, `_source`, u&'\\0000', lpad(cast(`_source_partition` as string), "
        "11, '0'), lpad(cast(`_source_offset` as string), 20, '0'))"
    )
