"""A window view of an hour in tiles of a minute for benchmarks: its stream, events, and the statements of its job."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from headrace.api import Lake
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import resolve_windows
from headrace.flink.backfill import feature_table
from headrace.flink.begin import Begin
from headrace.flink.places import catalog_of
from headrace.flink.window_sql import view_sql
from headrace.ingest.stream_tables import declared
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches

BEGIN = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
TILE_S = 60
LONGEST = dt.timedelta(hours=1)
NOBODY = -1  # the entity of events that move time alone
_FIELDS = {
    "id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "user_id": {"type": "long", "required": True},
    "item_id": {"type": "long"},
}


@dataclass(frozen=True, kw_only=True)
class Viewed:
    """A stream's table, and a view of it."""

    lake: Lake
    stream: Stream
    rows: WindowRows

    @property
    def table(self) -> LakeTable:
        """The table of the events."""
        return self.lake.table(self.stream.table)

    def add(
        self,
        times: Sequence[dt.datetime],
        *,
        users: Sequence[int],
        first: int,
        chunk: int = 250_000,
    ) -> None:
        """Append events of some users in commits of a size; their numbers go on from `first`."""
        for start in range(0, len(times), chunk):
            some = slice(start, start + chunk)
            batch = self._batch(times[some], users=users[some], first=first + start)
            append(self.table, write_batches(self.table, iter([batch])), provenance=Provenance())

    def statements(self, *, since: int | None = None) -> tuple[str, ...]:
        """Write the job that follows the table from a snapshot, by default the newest one."""
        snapshot_id = self.table.head().snapshot_id if since is None else since
        assert snapshot_id is not None
        after_us = int((BEGIN - LONGEST).timestamp() * 1_000_000)
        begin = Begin(after_us=after_us, snapshot_id=snapshot_id, history_id=None)
        options = catalog_of(self.lake.settings, stream=self.rows.windows.view)
        sql = view_sql(self.rows, options, begin=begin)
        return (*sql.setup, sql.insert)

    def _batch(
        self, times: Sequence[dt.datetime], *, users: Sequence[int], first: int
    ) -> pa.RecordBatch:
        schema = self.stream.table_schema()
        numbers = range(first, first + len(times))
        at = pa.array(times, schema.field(EVENT_TIME).type)
        columns: dict[str, pa.Array] = {
            "id": pa.array([f"e{n}" for n in numbers]),
            EVENT_TIME: at,
            KNOWN_AT: at,
            "user_id": pa.array(users, pa.int64()),
            "item_id": pa.array([n % 1000 for n in numbers], pa.int64()),
            "_source": pa.array(["made"] * len(times)),
            "_source_partition": pa.array([0] * len(times), pa.int32()),
            "_source_offset": pa.array(numbers, pa.int64()),
            "_source_time": at,
        }
        return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def declare_view(lake: Lake) -> Viewed:
    """Declare a stream and a view of it, with an event long ago in the table."""
    name = f"viewed_{uuid.uuid4().hex[:8]}"
    stream = Stream.model_validate(
        {
            "stream": name,
            "table": f"raw.{name}",
            "source": {"files": "*.jsonl"},
            "format": "json",
            "key": "id",
            "event_time": "at",
            "known_at": {"after_event": "0s"},
            "allowed_lateness": "10s",
            "fields": _FIELDS,
        }
    )
    windows = ["5m", "1h"]
    view = WindowView.model_validate(
        {
            "view": f"features.{name}",
            "events": str(stream.table),
            "entity": ["user_id"],
            "hop": f"{TILE_S}s",
            "lateness": "5m",
            "aggregates": [
                {"name": "seen", "take": "count", "windows": windows},
                {"name": "total", "take": "sum", "of": "item_id", "windows": windows},
            ],
        }
    )
    declared(lake, stream)
    rows = WindowRows.of(resolve_windows(view, [stream]), stream)
    feature_table(lake, rows)
    viewed = Viewed(lake=lake, stream=stream, rows=rows)
    viewed.add([BEGIN - dt.timedelta(days=1)], users=[NOBODY], first=0)
    return viewed
