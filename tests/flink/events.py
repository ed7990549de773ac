"""Events of a window view in a lake on the servers of Flink's tests: late, tied and repeated ones."""

import datetime as dt
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pyarrow as pa

from headrace.api import Lake
from headrace.clock import EPOCH, ONE_US
from headrace.definitions.properties import WATERMARK
from headrace.definitions.stream import COORDINATES, Stream
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import resolve_windows
from headrace.engines.open import open_engine
from headrace.flink.view_job import ViewJob
from headrace.flink_access import FlinkAccess
from headrace.identifiers import quote
from headrace.ingest.stream_tables import declared
from headrace.samples.window_rows import rows_sql
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import OpenLake
from headrace.tables.writer import write_batches
from infra.launcher import flink
from infra.launcher.cluster import Cluster
from tests.waiting import WAIT_S

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
_FAR_US = 1 << 60
_TYPES = {
    "id": {"type": "string", "required": True},
    "event_time": {"type": "timestamptz", "required": True},
    "known_at": {"type": "timestamptz", "required": True},
    "u": {"type": "long"},
    "c": {"type": "string"},
    "item": {"type": "long"},
    "price": {"type": "decimal(9,2)"},
    "score": {"type": "double"},
    "name": {"type": "string"},
    "flag": {"type": "boolean"},
    "day": {"type": "date"},
}
_AGGREGATES = [
    {"name": "plays", "take": "count", "windows": ["10s", "30s", "1m"]},
    {"name": "rated", "take": "count", "of": "score", "windows": ["30s"]},
    {"name": "total", "take": "sum", "of": "item", "windows": ["30s"]},
    {"name": "paid", "take": "sum", "of": "price", "windows": ["10s", "1m"]},
    {"name": "least", "take": "min", "of": "score", "windows": ["30s", "1m"]},
    {"name": "most", "take": "max", "of": "price", "windows": ["30s"]},
    {"name": "newest", "take": "max", "of": "known_at", "windows": ["1m"]},
    {"name": "first", "take": "min", "of": "day", "windows": ["30s"]},
    {"name": "largest", "take": "max", "of": "item", "windows": ["1m"]},
    {"name": "items", "take": "distinct", "of": "item", "windows": ["10s"], "keep": 2},
    {"name": "ids", "take": "distinct", "of": "id", "windows": ["1m"], "keep": 8},
    {"name": "recent", "take": "last", "of": "item", "windows": ["10s", "1m"], "keep": 4},
    {"name": "names", "take": "last", "of": "name", "windows": ["1m"], "keep": 3},
    {"name": "scores", "take": "last", "of": "score", "windows": ["30s"], "keep": 5},
    {"name": "prices", "take": "last", "of": "price", "windows": ["1m"], "keep": 5},
    {"name": "times", "take": "last", "of": "known_at", "windows": ["1m"], "keep": 2},
    {"name": "flags", "take": "last", "of": "flag", "windows": ["1m"], "keep": 3},
    {"name": "days", "take": "last", "of": "day", "windows": ["1m"], "keep": 3},
]
_NAMES = (
    "",
    "a|b",
    'say "so"',
    "\\",
    "a,b]\n\x01[",
    "\u00e9\u4e2d\U0001f600",
    "null",
    "\u2028",
    None,
)

Row = dict[str, Any]


def stream_named(name: str, /, **types: str) -> Stream:
    """Return the contract of a stream whose records say when they were known, 30 s late at most.

    `types` are those of fields that are others than usual.
    """
    return Stream.model_validate(
        {
            "stream": name,
            "table": f"raw.{name}",
            "source": {"files": "*.jsonl"},
            "format": "json",
            "key": "id",
            "event_time": "event_time",
            "known_at": {"column": "known_at"},
            "allowed_lateness": "30s",
            "fields": _TYPES | {field: {"type": kind} for field, kind in types.items()},
        }
    )


def view_of(stream: Stream, **more: Any) -> WindowRows:  # noqa: ANN401  (of a view)
    """Return the rows of a view with each aggregate that SQL can say."""
    said = {
        "view": f"features.{stream.name}",
        "events": str(stream.table),
        "entity": ["u", "c"],
        "hop": "10s",
        "lateness": "45s",
        "delay": "3s",
        "aggregates": _AGGREGATES,
    }
    view = WindowView.model_validate(said | more)
    return WindowRows.of(resolve_windows(view, [stream]), stream)


def events(count: int, *, seconds: int, seed: int) -> list[Row]:
    """Return rows in the order in which they come into the table.

    5 % are known late, up to beyond the lateness; 8 % come twice, some of them tied; times collide.
    """
    rng = random.Random(seed)
    found: list[Row] = []
    for number in range(count):
        happened = NOON + dt.timedelta(seconds=seconds * number // count)
        happened += rng.choice([0, 0, 1, 999_999, 123_456]) * ONE_US
        late_s = rng.uniform(0, 60) if rng.random() < 0.05 else rng.choice([0, 0, 0.000001, 2, 4])
        row: Row = {
            "id": f"e{number}",
            "event_time": happened,
            "known_at": happened + dt.timedelta(seconds=late_s),
            "u": rng.choice([1, 2, 3, None]),
            "c": rng.choice(["a", "b"]),
            "item": rng.choice([0, 1, -4, None, 2**62]),
            "price": rng.choice([None, Decimal("0.10"), Decimal("-1.25")]),
            "score": rng.choice([None, 0.5, -0.0, 0.0, -1.0, 1e300]),
            "name": rng.choice(_NAMES),
            "flag": rng.choice([True, False, None]),
            "day": rng.choice([None, happened.date(), dt.date(1969, 12, 31)]),
            "_source": rng.choice(["one", "two"]),
            "_source_partition": rng.randint(0, 1),
            "_source_offset": number,
            "_source_time": None,
        }
        found.append(row)
        if rng.random() < 0.05:  # again, changed, known sooner or later
            known_at = row["known_at"] + dt.timedelta(seconds=rng.uniform(-1, 5))
            again = {"known_at": max(happened, known_at), "_source_offset": number + 10**6}
            found.append({**row, **again, "item": 7})
        if rng.random() < 0.03:  # again, known at the same time
            found.append({**row, "item": 9, "_source": "one", "_source_offset": number + 2 * 10**6})
    return sorted(found, key=lambda each: each["known_at"] + rng.uniform(0, 20) * ONE_US * 10**6)


def append_events(
    lake: OpenLake, stream: Stream, rows: Sequence[Row], *, watermark: dt.datetime | None = None
) -> None:
    """Append rows to the table of a stream in one commit, which may move its watermark."""
    table = lake.table(stream.table)
    notes = {} if watermark is None else {WATERMARK: str(microseconds(watermark))}
    batches = pa.Table.from_pylist(list(rows), stream.table_schema()).to_batches()
    provenance = Provenance(notes=notes)
    append(table, write_batches(table, batches), provenance=provenance, properties=notes)


@dataclass(frozen=True)
class Followed:
    """A table of events, and the view whose rows a job writes."""

    lake: Lake
    cluster: Cluster
    stream: Stream
    rows: WindowRows
    python: str = ""

    @classmethod
    def make(
        cls,
        lake: Lake,
        cluster: Cluster,
        name: str,
        *,
        python: str = "",
        **view: Any,  # noqa: ANN401  (of a view)
    ) -> "Followed":
        stream = stream_named(name)
        declared(lake, stream)
        return cls(lake, cluster, stream, view_of(stream, **view), python)

    @property
    def job(self) -> ViewJob:
        # a JobManager that starts again may have another port
        access = FlinkAccess(
            uri=flink.JobManager().address(self.cluster),
            gateway_uri=flink.Gateway().address(self.cluster),
            python=self.python,
        )
        return ViewJob(self.lake, self.rows, access=access)

    def with_tiles(self, hop: str, **more: Any) -> "Followed":  # noqa: ANN401  (of a view)
        """Return another view of the same events, with tiles of another length."""
        view = f"{self.rows.windows.view}_{hop}"
        return replace(self, rows=view_of(self.stream, view=view, hop=hop, **more))

    def add(self, rows: Sequence[Row]) -> None:
        """Append rows in one commit."""
        append_events(self.lake, self.stream, rows)

    def heartbeat(self, after: Row, *, later: dt.timedelta = dt.timedelta(minutes=10)) -> None:
        """Append a row of no entity, which counts nowhere, known some time after another."""
        beat = {"id": "beat", "u": None, "event_time": after["event_time"] + later}
        self.add([{**after, **beat, "known_at": after["known_at"] + later}])

    def wanted(self) -> list[Row]:
        """Compute all rows from the events as they are now, with the lake's engine."""
        name = str(self.stream.table)
        with open_engine(self.lake.settings) as engine:
            engine.bind(name, self.lake.table(self.stream.table).head())
            sql = rows_sql(
                self.rows,
                ".".join(map(quote, name.split("."))),
                COORDINATES.names[:3],
                dialect=engine.dialect,
                after_us=0,
                until_us=_FAR_US,
            )
            return in_order(engine.query(sql).read_all())

    def written(self) -> list[Row]:
        """Read what is in the feature table."""
        return in_order(self.lake.table(self.rows.table).head().to_arrow())

    def wait_for(self, wanted: Sequence[Row], *, seconds: float = WAIT_S) -> list[Row]:
        """Wait until so many rows are in the feature table."""
        end_s = time.monotonic() + seconds
        while len(found := self.written()) < len(wanted):
            assert time.monotonic() < end_s, (len(found), len(wanted), self.job.status())
            time.sleep(0.5)
        return found


def in_order(table: pa.Table) -> list[Row]:
    """Return rows by entity and time."""
    rows = table.to_pylist()
    return sorted(rows, key=lambda each: (each["u"], each["c"], each["event_time"]))


def microseconds(moment: dt.datetime) -> int:
    """Count since 1970."""
    return (moment - EPOCH) // ONE_US
