"""Exposures and clicks that come into topics of Kafka, and when what is made of them is first seen."""

import datetime as dt
import json
import threading
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.kafka_topics import create
from headrace.api import Lake
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import resolve_windows
from headrace.identifiers import TableName
from headrace.ingest.stream_tables import declared
from headrace.storage.inputs import open_input
from infra.launcher import kafka
from infra.launcher.cluster import Cluster

if TYPE_CHECKING:
    from confluent_kafka import Producer

PER_S = 20
_USERS = 50
_CLICK_AFTER_S = 2.0
_TIMES = {"at": {"type": "timestamptz", "required": True}}
_FIELDS: dict[str, dict[str, Any]] = {
    "shown": {"id": {"type": "string", "required": True}, **_TIMES, "u": {"type": "long"}},
    "taps": {
        "tap_id": {"type": "string", "required": True},
        **_TIMES,
        "shown_id": {"type": "string"},
        "u": {"type": "long"},
    },
}


@dataclass(frozen=True, kw_only=True)
class Named:
    """The declarations of one measurement, in the lake that a folder has."""

    shown: Stream
    taps: Stream
    samples: SampleSet
    view: WindowRows

    @property
    def live(self) -> TableName:
        """The table of live samples."""
        return TableName.parse(f"{self.samples.table}_live")


@dataclass(kw_only=True)
class Seen:
    """When each snapshot of a table was first seen, in seconds since 1970."""

    at_s: dict[int, float] = field(default_factory=dict[int, float])


def declare(lake: Lake, cluster: Cluster) -> Named:
    """Declare two streams, a sample set and a window view, with topics and tables of their own."""
    mark = uuid.uuid4().hex[:8]
    folder = lake.settings.declarations / "streams"
    folder.mkdir(parents=True)
    streams: dict[str, Stream] = {}
    for name, fields in _FIELDS.items():
        said = {
            "stream": f"{name}_{mark}",
            "table": f"raw.{name}_{mark}",
            "source": {"kafka": {"topic": f"{name}_{mark}"}},
            "format": "json",
            "key": next(iter(fields)),
            "event_time": "at",
            "known_at": {"after_event": "0s"},
            "allowed_lateness": "1s",
            "fields": fields,
        }
        (folder / f"{name}_{mark}.yaml").write_text(json.dumps(said))  # is YAML too
        streams[name] = Stream.model_validate(said)
        create(kafka.servers(cluster), f"{name}_{mark}", partitions=1)
        declared(lake, streams[name])
    taps = streams["taps"]
    view = WindowView.model_validate(
        {
            "view": f"features.taps_{mark}",
            "events": str(taps.table),
            "entity": ["u"],
            "hop": "1s",
            "lateness": "10s",
            "aggregates": [{"name": "taps", "take": "count", "windows": ["10s", "1m"]}],
        }
    )
    samples = SampleSet.model_validate(
        {
            "samples": f"delay_{mark}",
            "table": f"samples.delay_{mark}",
            "exposures": {"table": str(streams["shown"].table), "id": "id", "entities": ["u"]},
            "labels": [
                {"name": "tap", "stream": str(taps.table), "key": "shown_id", "window": "30s"}
            ],
        }
    )
    rows = WindowRows.of(resolve_windows(view, [taps]), taps)
    return Named(shown=streams["shown"], taps=taps, samples=samples, view=rows)


@contextmanager
def producing(cluster: Cluster, names: Named, clicks: dict[str, float]) -> Generator[None]:
    """Send exposures, and a click on each two seconds later, until the block ends."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": kafka.servers(cluster), "linger.ms": 5})
    stop = threading.Event()

    def produce() -> None:
        begun_s, number = time.time(), 0
        while not stop.is_set():
            _send(producer, names.shown, {"id": f"s{number}", "u": number % _USERS})
            clicked = number - int(_CLICK_AFTER_S * PER_S)
            if clicked >= 0:
                tap = {"tap_id": f"t{clicked}", "shown_id": f"s{clicked}", "u": clicked % _USERS}
                clicks[f"s{clicked}"] = _send(producer, names.taps, tap)
            producer.poll(0)
            number += 1
            time.sleep(max(0.0, begun_s + number / PER_S - time.time()))
        producer.flush(30)

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _send(producer: "Producer", stream: Stream, record: Mapping[str, object]) -> float:
    """Send a record of now; return when that was."""
    now_s = time.time()
    at = dt.datetime.fromtimestamp(now_s, dt.UTC).isoformat(timespec="microseconds")
    producer.produce(stream.name, json.dumps({**record, "at": at}).encode(), partition=0)
    return now_s


@contextmanager
def watching(lake: Lake, tables: Sequence[TableName]) -> Generator[dict[TableName, Seen]]:
    """Look at the heads of tables ten times a second until the block ends."""
    seen = {table: Seen() for table in tables}
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            for table, each in seen.items():
                head = lake.table(table).head().snapshot_id
                if head is not None:
                    each.at_s.setdefault(head, time.time())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def added_rows(
    lake: Lake, table: TableName, seen: Seen, *, columns: Sequence[str]
) -> Generator[tuple[float, dict[str, Any]]]:
    """Yield the rows that each snapshot added, with the time at which it, or a later one, was seen.

    In no order: the newest manifests may come first. Raises `KeyError` for a snapshot that is not there.
    """
    import pyarrow.parquet as pq

    loaded = lake.table(table).iceberg()
    order = [each.snapshot_id for each in loaded.metadata.snapshots]
    at_s: dict[int, float] = {}
    later_s = float("inf")
    for snapshot_id in reversed(order):
        later_s = min(later_s, seen.at_s.get(snapshot_id, later_s))
        at_s[snapshot_id] = later_s
    current = loaded.current_snapshot()
    assert current is not None
    for manifest in current.manifests(loaded.io):
        for entry in manifest.fetch_manifest_entry(loaded.io):
            with open_input(loaded.io, entry.data_file.file_path) as file:
                rows = pq.read_table(file, columns=list(columns)).to_pylist()
            for row in rows:
                yield at_s[entry.snapshot_id or 0], row
