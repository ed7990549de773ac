"""A lake with raw streams, for tests of the dbt project: rows are small dicts, the rest is filled in."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from headrace.api import Lake
from headrace.config import Settings
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches

TS = pa.timestamp("us", tz="UTC")
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
_TYPES = {
    "string": pa.string(),
    "long": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "longs": pa.list_(pa.field("element", pa.int64())),
}
_COORDINATES = {"_source": "string!", "_source_partition": "int!", "_source_offset": "long!"}
_STREAMS = {
    "impressions": {
        "impression_id": "string!",
        "policy": "string!",
        "campaign": "string!",
        "item_id": "long!",
        "position": "int!",
        "propensity": "double",
        "user_segment": "string!",
        "session_id": "string",
        "user_id": "long",
        "affinity_items": "longs",
    },
    "clicks": {
        "click_id": "string!",
        "impression_id": "string!",
        "policy": "string!",
        "campaign": "string!",
        "item_id": "long!",
        "position": "int!",
        "user_segment": "string!",
    },
    "items": {
        "campaign": "string!",
        "item_id": "long!",
        "price_score": "double!",
        "brand": "string",
        "category": "string",
        "style": "string",
    },
}
_FILL: dict[str, Any] = {
    "impression_id": "i0",
    "click_id": "c0",
    "policy": "bts",
    "campaign": "men",
    "item_id": 1,
    "position": 1,
    "user_segment": "s",
    "price_score": 0.5,
    "_source": "f",
    "_source_partition": 0,
}


def stream_schema(stream: str) -> pa.Schema:
    """The Arrow schema ingest gives a raw stream."""
    fields = [_field(name, kind) for name, kind in _STREAMS[stream].items()]
    fields += [pa.field(name, TS, nullable=False) for name in ("event_time", "known_at")]
    fields += [_field(name, kind) for name, kind in _COORDINATES.items()]
    return pa.schema([*fields, pa.field("_source_time", TS)])


def _field(name: str, kind: str) -> pa.Field:
    return pa.field(name, _TYPES[kind.rstrip("!")], nullable=not kind.endswith("!"))


def stream_rows(stream: str, rows: Iterable[Mapping[str, Any]], *, first_offset: int) -> pa.Table:
    """Fill rows up to the stream's schema; an event is known when it happens unless it says so."""
    schema = stream_schema(stream)
    filled = [
        {
            **{name: _FILL.get(name) for name in schema.names},
            "_source_offset": first_offset + place,
            "known_at": row["event_time"],
            **row,
        }
        for place, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(filled, schema=schema)


class RawLake:
    """A lake whose raw tables grow by appends, as ingest makes them grow; close it in the end."""

    def __init__(
        self, state_dir: Path, *, placed: Callable[[Settings], Settings] = lambda found: found
    ) -> None:
        root = state_dir.parent
        (root / "lake").mkdir(parents=True, exist_ok=True)
        (root / "lake" / "lake.toml").write_text('profile = "local"\n[profiles.local]\n')
        local = Settings.load(
            env={"HEADRACE_STATE_DIR": str(state_dir)}, path=root / "lake" / "lake.toml"
        )
        self.settings = placed(local)
        self.lake = Lake.open(self.settings)
        self._offset = 0
        for stream in _STREAMS:
            self.lake.create(
                TableName("raw", stream),
                stream_schema(stream),
                partition_by=["day(event_time)"],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lake.close()

    def append(self, stream: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Commit rows to a raw stream; no rows, no commit."""
        data = stream_rows(stream, rows, first_offset=self._offset)
        self._offset += data.num_rows
        if data.num_rows:
            table = self.lake.table(f"raw.{stream}")
            operations.append(
                table, write_batches(table, data.to_batches()), provenance=Provenance()
            )

    def rows(self, table: str, *, without: str = "") -> list[dict[str, Any]]:
        """Every row of a table, without one column, in an order of its own."""
        found = self.lake.table(table).head().to_arrow().to_pylist()
        kept = [{k: v for k, v in row.items() if k != without} for row in found]
        return sorted(kept, key=repr)

    def snapshots(self, table: str) -> list[int]:
        """The snapshot ids of a table, oldest first."""
        return [record.snapshot_id for record in reversed(self.lake.registry.commits(table))]
