"""The share of a stream's recent records that was refused.

Over all of history the share would never fall again for a small stream after one bad delivery, and never
rise for a large one. So only the newest window counts, without dead letters that were acknowledged.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from headrace.clock import EPOCH, now_ms, time_at
from headrace.definitions.stream import Stream
from headrace.ingest import dead_letters
from headrace.tables.lake import OpenLake

WINDOW = dt.timedelta(days=1)
ACKNOWLEDGED_MS = "dead_letters_acknowledged_ms"  # a measure of the stream's table
_COMMITS_MAX = 100_000  # in one window; one a second
_SOURCES_MAX = 3
_COLUMNS = ("recorded_at", "error_code", "_source")


@dataclass(frozen=True, kw_only=True)
class RecentRecords:
    """The records of a stream from `since` to its newest commit or dead letter.

    `reasons` counts the refused records by error code, most frequent first; `sources` are a few of
    the sources they came from, newest first.
    """

    since: dt.datetime
    rows: int
    dead_letters: int
    reasons: Mapping[str, int]
    sources: tuple[str, ...]
    acknowledged_at: dt.datetime | None

    @property
    def dead_share(self) -> float:
        """The share of the records that was refused; 0 if there were none."""
        return self.dead_letters / max(1, self.rows + self.dead_letters)


def recent(lake: OpenLake, stream: Stream, *, window: dt.timedelta = WINDOW) -> RecentRecords:
    """Count a stream's records within `window` of its newest one, or since the last acknowledgement.

    Rows count by the time of their commit, dead letters by the time they were recorded.
    """
    acknowledged = lake.registry.measures(str(stream.table)).get(ACKNOWLEDGED_MS)
    acknowledged_at = None if acknowledged is None else time_at(acknowledged.value)
    letters = _letters(lake, stream)
    newest_commit = lake.registry.commits(str(stream.table), limit=1)
    ends = [time_at(commit.committed_at_ms) for commit in newest_commit]
    if letters.num_rows:
        ends.append(pc.max(letters.column("recorded_at")).as_py())
    since = max(ends, default=EPOCH + window) - window
    if acknowledged_at is not None:
        since = max(since, acknowledged_at)
    found = letters.filter(pc.field("recorded_at") > pa.scalar(since, letters.schema.types[0]))
    newest_first = found.sort_by([("recorded_at", "descending")]).column("_source").to_pylist()
    return RecentRecords(
        since=since,
        rows=_rows(lake, stream, since=since),
        dead_letters=found.num_rows,
        reasons=dict(Counter(found.column("error_code").to_pylist()).most_common()),
        sources=tuple(dict.fromkeys(newest_first))[:_SOURCES_MAX],
        acknowledged_at=acknowledged_at,
    )


def acknowledge(lake: OpenLake, stream: Stream) -> RecentRecords:
    """Mark a stream's dead letters up to now as reviewed, and return their counts.

    They stay in the table; `recent` counts from this moment on.
    """
    # first: dead letters that arrive while the others are read were not reviewed
    epoch_ms = now_ms()
    before = recent(lake, stream)
    lake.registry.record_measure(
        str(stream.table), ACKNOWLEDGED_MS, epoch_ms, measured_at_ms=epoch_ms
    )
    return before


def _letters(lake: OpenLake, stream: Stream) -> pa.Table:
    schema = pa.schema([dead_letters.SCHEMA.field(name) for name in _COLUMNS])
    head = lake.head_of(dead_letters.TABLE)
    if head is None:
        return schema.empty_table()
    batches = head.batches(columns=_COLUMNS, partitions=[(stream.name,)])
    tables = [pa.Table.from_batches([batch]).cast(schema) for batch in batches]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _rows(lake: OpenLake, stream: Stream, *, since: dt.datetime) -> int:
    since_ms = int((since - EPOCH) / dt.timedelta(milliseconds=1))
    commits = lake.registry.commits_since(str(stream.table), since_ms, limit=_COMMITS_MAX)
    return sum(each.rows_added for each in commits if each.operation == "append")
