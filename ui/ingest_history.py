"""What a stream committed minute by minute, from what the registry keeps of each commit."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.clock import time_at
from headrace.definitions.properties import LATE_ROWS_TOTAL, WATERMARK
from headrace.definitions.stream import Stream
from headrace.ingest import dead_letters
from headrace.registry import CommitRecord
from headrace.tables.lake import OpenLake
from ui.facts import MinuteFacts

__all__ = ["history"]

_MINUTE_MS, _HISTORY_MS, _COMMITS_MAX = 60_000, 3_600_000, 20_000
_MOVES_MAX, _MOVES_CHARS_MAX = 2_000, 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How a commit moved the watermark and the count of late rows; None where it did not."""

    at_ms: int
    watermark_us: int | None
    late_rows: int

    @classmethod
    def of(cls, at_ms: int, moves: str) -> "Moved":
        """Read the moves of a commit."""
        told = json.loads(moves or "{}")
        mark = told.get(WATERMARK, (None, None))[1]
        before, after = told.get(LATE_ROWS_TOTAL, (None, None))
        return cls(
            at_ms=at_ms,
            watermark_us=None if mark is None else int(mark),
            late_rows=max(0, int(after or 0) - int(before or 0)),
        )


def history(lake: OpenLake, stream: Stream) -> tuple[MinuteFacts, ...]:
    """Read the minutes with commits in the hour up to the newest commit of a stream's table."""
    name, registry = str(stream.table), lake.registry
    newest = registry.commits(name, limit=1)
    if not newest:
        return ()
    since_ms = newest[0].committed_at_ms - _HISTORY_MS
    moved = registry.moves_since(name, since_ms, limit=_MOVES_MAX, chars_max=_MOVES_CHARS_MAX)
    refused = registry.commits_since(str(dead_letters.TABLE), since_ms, limit=_COMMITS_MAX)
    own = json.dumps([stream.name])
    return minutes(
        registry.commits_since(name, since_ms, limit=_COMMITS_MAX),
        refused=[each for each in refused if each.partitions == (own,)],
        moved=[Moved.of(at_ms, moves) for at_ms, moves in reversed(moved)],
        lateness_s=stream.allowed_lateness.total_seconds(),
    )


def minutes(
    taken: Iterable[CommitRecord],
    *,
    refused: Iterable[CommitRecord],
    moved: Sequence[Moved],
    lateness_s: float,
) -> tuple[MinuteFacts, ...]:
    """Add up commits by the minute. Pure.

    Args:
        taken: The commits of the stream's table.
        refused: The commits of its dead letters.
        moved: What the former moved, oldest first.
        lateness_s: How far the watermark stays behind the newest event.

    """
    rows, commits, dead = Counter[int](), Counter[int](), Counter[int]()
    for each in taken:
        if each.operation == "append":
            rows[each.committed_at_ms // _MINUTE_MS] += each.rows_added
            commits[each.committed_at_ms // _MINUTE_MS] += 1
    for each in refused:
        if each.operation == "append":
            dead[each.committed_at_ms // _MINUTE_MS] += each.rows_added
    late, lags = Counter[int](), dict[int, float]()
    newest_s: float | None = None
    for each in moved:
        minute = each.at_ms // _MINUTE_MS
        late[minute] += each.late_rows
        if each.watermark_us is not None:
            newest_s = each.watermark_us / 1e6 + lateness_s
        if newest_s is not None:
            lags[minute] = max(0.0, lags.get(minute, 0.0), each.at_ms / 1e3 - newest_s)
    return tuple(
        MinuteFacts(
            minute=time_at(at * _MINUTE_MS),
            rows=rows[at],
            commits=commits[at],
            dead_letters=dead[at],
            late_rows=late[at],
            lag_s=lags.get(at),
        )
        for at in sorted({*commits, *dead})
    )
