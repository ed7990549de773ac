"""Exposures and actions in a lake on the servers of Flink's tests: late, tied, repeated, out of order."""

import datetime as dt
import json
import random
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from headrace.api import Lake
from headrace.clock import ONE_US
from headrace.datasets.content_hash import ContentHash
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.engines.open import open_engine
from headrace.flink.live_samples import live_samples, newest_sql
from headrace.flink.sample_job import SampleJob
from headrace.flink_access import FlinkAccess
from headrace.identifiers import quote
from headrace.ingest.stream_tables import declared
from headrace.samples.build import build
from infra.launcher import flink
from infra.launcher.cluster import Cluster
from tests.flink.events import NOON, Row, append_events
from tests.waiting import WAIT_S

_LATE = "30s"
_WINDOWS = (dt.timedelta(seconds=20), dt.timedelta(seconds=30))
# how long after its exposure an action is: at the ends of windows, and one unit of Flink's time before
EDGES = (
    dt.timedelta(0),
    *(each - less for each in _WINDOWS for less in (ONE_US * 1000, ONE_US * 0)),
)
_SHOWN = {
    "id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "known": {"type": "timestamptz", "required": True},
    "u": {"type": "long"},
    "slot": {"type": "int"},
    "flag": {"type": "boolean"},
    "score": {"type": "double"},
}
_TAPS = {
    "tap_id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "known": {"type": "timestamptz", "required": True},
    "shown_id": {"type": "string"},
    "force": {"type": "double"},
}


def _stream(name: str, *, key: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "stream": name,
        "table": f"raw.{name}",
        "source": {"files": f"{name}/*.jsonl"},
        "format": "json",
        "key": key,
        "event_time": "at",
        "known_at": {"column": "known"},
        "allowed_lateness": _LATE,
        "fields": fields,
    }


def _placed(row: Row, rng: random.Random, number: int) -> Row:
    return {
        **row,
        "_source": rng.choice(["one", "two"]),
        "_source_partition": rng.randint(0, 11),
        "_source_offset": number,
        "_source_time": None,
    }


def _copies(rows: list[Row], rng: random.Random, **changes: object) -> list[Row]:
    """Send 8 % of rows twice, changed; a third of them known at the very same time."""
    found: list[Row] = []
    for number, row in enumerate(rows):
        found.append(row)
        if rng.random() < 0.08:
            later = rng.choice([0, 0.000001, 5])
            known_at = row["known_at"] + dt.timedelta(seconds=later)
            moved = row["event_time"] + dt.timedelta(seconds=rng.choice([0, -1]))
            again = {**row, **changes, "known_at": known_at, "event_time": moved}
            found.append(_placed(again, rng, number + 10**6))
    return found


def _in_order(rows: list[Row], rng: random.Random) -> list[Row]:
    """Return rows as they come into the table: known up to 20 s before others that came earlier."""
    return sorted(rows, key=lambda each: each["known_at"] + rng.uniform(0, 20) * ONE_US * 10**6)


def happened(count: int, *, seconds: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Return exposures and actions.

    5 % are late, exposures by up to 29 s and actions by up to five minutes, and so after their sample is
    mature; some actions come before their exposure, at the very ends of its windows, or belong to none. For
    each of the `EDGES` there is an exposure with one action, so far behind it.
    """
    rng = random.Random(seed)
    shown: list[Row] = []
    taps: list[Row] = []
    for number in range(count):
        at = NOON + dt.timedelta(seconds=seconds * number // count)
        at += rng.choice([0, 1, 999_999, 123_456]) * ONE_US
        late_s = rng.uniform(5, 29) if rng.random() < 0.05 else rng.choice([0, 0.000001, 2])
        row: Row = {
            "id": f"s{number}",
            "event_time": at,
            "known_at": at + dt.timedelta(seconds=late_s),
            "u": rng.choice([1, 2, None]),
            "slot": rng.randint(0, 3),
            "flag": rng.choice([True, False, None]),
            "score": rng.choice([None, 0.1, -0.0, 1e300]),
        }
        shown.append(_placed(row, rng, number))
        for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 3])):
            after_s = rng.choice([-1, 0, 0.000001, 3, 3, 9.999999, 10, 19, 20, 29.999999, 30, 45])
            tapped = at + dt.timedelta(seconds=after_s)
            late_s = rng.uniform(20, 300) if rng.random() < 0.05 else rng.choice([0, 0, 1])
            tap: Row = {
                "tap_id": f"t{len(taps)}",
                "event_time": tapped,
                "known_at": tapped + dt.timedelta(seconds=late_s),
                "shown_id": rng.choice([row["id"]] * 20 + [None, "nothing"]),
                "force": rng.choice([None, 0.0, -1.5, 0.1, float("nan"), 1e-300]),
            }
            taps.append(_placed(tap, rng, len(taps)))
    found = (
        _in_order(_copies(shown, rng, slot=9), rng),
        _in_order(_copies(taps, rng, force=9.0), rng),
    )
    for rows, edges in zip(found, _at_edges(shown[count // 2], rng), strict=True):
        for edge in edges:
            rows.insert(
                bisect_right(rows, edge["known_at"], key=lambda each: each["known_at"]), edge
            )
    return found


def _at_edges(like: Row, rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Return exposures with one action each, at an edge of a window."""
    shown: list[Row] = []
    taps: list[Row] = []
    for number, after in enumerate(EDGES, 10**7):
        shown.append(_placed(like | {"id": f"edge{number}"}, rng, number))
        at = like["event_time"] + after
        times = {"event_time": at, "known_at": max(at, like["known_at"])}
        of = {"tap_id": f"edge{number}", "shown_id": f"edge{number}", "force": 0.5}
        taps.append(_placed(times | of, rng, number))
    return shown, taps


@dataclass(frozen=True)
class Sampled:
    """Two streams, and the sample sets whose live tables jobs write."""

    lake: Lake
    cluster: Cluster
    shown: Stream
    taps: Stream

    @classmethod
    def make(cls, lake: Lake, cluster: Cluster, name: str) -> "Sampled":
        said = (
            _stream(f"{name}_shown", key="id", fields=_SHOWN),
            _stream(f"{name}_taps", key="tap_id", fields=_TAPS),
        )
        folder = lake.settings.declarations / "streams"
        folder.mkdir(parents=True, exist_ok=True)
        for each in said:
            (folder / f"{each['stream']}.yaml").write_text(json.dumps(each))
        shown, taps = (Stream.model_validate(each) for each in said)
        for each in (shown, taps):
            declared(lake, each)
        return cls(lake, cluster, shown, taps)

    def sample_set(self, name: str, **changes: object) -> SampleSet:
        return SampleSet.model_validate(self.said(name) | changes)

    def said(self, name: str) -> dict[str, Any]:
        """Return the declaration of a sample set."""
        tapped = {"stream": str(self.taps.table), "key": "shown_id"}
        return {
            "samples": name,
            "table": f"samples.{self.shown.name}_{name}",
            "exposures": {
                "table": str(self.shown.table),
                "id": "id",
                "entities": ["u"],
                "columns": ["slot", "flag", "score"],
            },
            "labels": [
                {"name": "tap", "window": "30s", **tapped},
                {"name": "taps", "window": "20s", "value": "count", **tapped},
            ],
        }

    def job(self, sample_set: SampleSet) -> SampleJob:
        # a JobManager that starts again may have another port
        access = FlinkAccess(
            uri=flink.JobManager().address(self.cluster),
            gateway_uri=flink.Gateway().address(self.cluster),
        )
        return SampleJob(self.lake, live_samples(self.lake, sample_set), access=access)

    def add(self, shown: Sequence[Row], taps: Sequence[Row]) -> None:
        """Append rows, a commit for each table."""
        for stream, rows in ((self.shown, shown), (self.taps, taps)):
            if rows:
                append_events(self.lake, stream, rows)

    def heartbeats(self, shown: Row, tap: Row) -> None:
        """Append an exposure and an action of the next day, which say that all before is known."""
        day = dt.timedelta(days=1)
        at = {"event_time": NOON + day, "known_at": NOON + day}
        append_events(self.lake, self.shown, [{**shown, **at, "id": "beat"}])
        beat = {**tap, **at, "tap_id": "beat", "shown_id": None}
        append_events(self.lake, self.taps, [beat], watermark=NOON + day)

    def built(self, sample_set: SampleSet) -> pa.Table:
        """Build the day, and return its samples."""
        build(self.lake, sample_set, days=[NOON.date()])
        head = self.lake.table(sample_set.table).head()
        return _ordered(head.to_arrow(partitions=[(NOON.date(),)]))

    def live(self, sample_set: SampleSet) -> pa.Table:
        """Return the newest revision of each sample of the day."""
        table = f"{sample_set.table}_live"
        schema = self.lake.table(table).head().schema
        with open_engine(self.lake.settings) as engine:
            engine.bind(table, self.lake.table(table).head())
            newest = newest_sql(".".join(map(quote, table.split("."))))
            columns = ", ".join(quote(name) for name in schema.names if name != "known_at")
            rows = engine.query(f"select {columns} from ({newest})").read_all()
        day = [each.as_py().date() == NOON.date() for each in rows["event_time"]]
        return _ordered(rows.filter(pa.array(day, pa.bool_())))

    def revisions(self, sample_set: SampleSet) -> list[Row]:
        """Return all rows of the live table."""
        return self.lake.table(f"{sample_set.table}_live").head().to_arrow().to_pylist()

    def wait_for(self, sample_set: SampleSet, wanted: pa.Table, *, seconds: float = WAIT_S) -> None:
        """Wait until the newest revisions are these."""
        end_s = time.monotonic() + seconds
        while content_of(found := self.live(sample_set)) != content_of(wanted):
            assert time.monotonic() < end_s, _difference(found, wanted)
            time.sleep(0.5)


def _ordered(table: pa.Table) -> pa.Table:
    return table.sort_by([("event_time", "ascending"), ("sample_id", "ascending")])


def _difference(found: pa.Table, wanted: pa.Table) -> tuple[int, int, list[tuple[Row, Row | None]]]:
    by_id = {each["sample_id"]: each for each in found.to_pylist()}
    pairs = [(each, by_id.get(each["sample_id"])) for each in wanted.to_pylist()]
    return found.num_rows, wanted.num_rows, [pair for pair in pairs if pair[0] != pair[1]][:3]


def content_of(table: pa.Table) -> str:
    """Return the content hash of rows, as a dataset version has it."""
    content = ContentHash(table.schema)
    for batch in table.to_batches():
        content.update(batch)
    return content.hexdigest()
