"""A lake whose events come late, tied and repeated, a window view of it, and what training would see."""

import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa

from headrace.api import Lake
from headrace.clock import ONE_US
from headrace.definitions.windows import Windows
from headrace.engines.open import open_engine
from headrace.identifiers import TableName
from headrace.samples.point_in_time import Exposures
from headrace.samples.windows import WindowJoin, window_sql
from headrace.serving.publish import Published
from headrace.serving.publish_windows import publish_windows
from headrace.serving.store import OnlineStore
from headrace.serving.vectors import lookup_vectors
from headrace.tables.commits.operations import Provenance, append, replace_files
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.samples.window_oracle import NOON, PLACE, STREAM, Row, windows_of

TABLE = TableName.parse("raw.plays")
TIME = pa.timestamp("us", tz="UTC")
ASKED = pa.schema([("id", pa.int64()), ("t", TIME), ("u", pa.int64()), ("c", pa.string())])
USERS, PLACES = range(5), ("a", "b")
ENTITIES = [{"u": u, "c": c} for u in USERS for c in PLACES]
VIEW = "features.recent"


def plays(lake: Lake) -> LakeTable:
    """Create the table of the events."""
    return lake.create(TABLE, STREAM.table_schema(), partition_by=["day(event_time)"])


def add(table: LakeTable, rows: Sequence[Row]) -> None:
    """Commit events."""
    batch = pa.RecordBatch.from_pylist([dict(row) for row in rows], schema=table.head().schema)
    append(table, write_batches(table, [batch]), provenance=Provenance())


def compact(table: LakeTable) -> None:
    """Put all rows into new files."""
    head = table.head()
    removed = [entry.data_file for entry in head.files()]
    added = write_batches(table, head.batches())
    replace_files(table, removed=removed, added=added, provenance=Provenance())


def offline(
    lake: Lake, table: LakeTable, windows: Windows, asked: Sequence[Row]
) -> list[dict[str, Any]]:
    """Compute the values as training does, from all events that there are by now."""
    names = tuple((column.name, column.name) for column in windows.columns)
    join = WindowJoin(windows=windows, relation="events", coordinate=PLACE, columns=names)
    with open_engine(lake.settings) as engine:
        engine.bind("events", table.head())
        numbered = [{"id": number, **row} for number, row in enumerate(asked)]
        engine.bind_arrow("asked", pa.Table.from_pylist(numbered, ASKED))
        exposures = Exposures(relation="asked", id="id", at="t")
        sql = window_sql(exposures, join, dialect=engine.dialect)
        found = engine.query(f"select * from ({sql}) order by id").read_all().to_pylist()
    for row in found:
        del row["id"]
    return found


def online(
    store: OnlineStore, at: dt.datetime, entities: Sequence[Row] = ENTITIES
) -> list[dict[str, Any]]:
    """Look the values up as serving does; every one must be there."""
    vectors = lookup_vectors(store, [VIEW], entities, at=at)
    assert set(vectors.views[0].statuses) == {"fresh"}
    columns = vectors.columns()
    return [
        {
            name: list(values[n]) if isinstance(values[n], tuple) else values[n]  # pyright: ignore[reportArgumentType]
            for name, values in columns.items()
        }
        for n in range(len(entities))
    ]


@dataclass
class World:
    """A stream whose clock goes forward, and everything that was asked of its view on the way."""

    lake: Lake
    store: OnlineStore
    random: random.Random
    windows: Windows = field(default_factory=windows_of)
    clock: dt.datetime = NOON
    asked: list[Row] = field(default_factory=list[Row])
    answers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sent: list[Row] = field(default_factory=list[Row])

    def __post_init__(self) -> None:
        self.table = plays(self.lake)

    def tick(self, seconds: float) -> None:
        self.clock += dt.timedelta(seconds=seconds)

    def arrive(self, count: int) -> None:
        """Commit a few events that became known by now: new ones, late ones, repeated ones."""
        rows: list[Row] = []
        for _ in range(count):
            self.tick(self.random.choice((0, 0.000001, 0.3)))
            rows.append(self._event(len(self.sent) + len(rows)))
        self.sent += rows
        add(self.table, rows)
        self.tick(0.000001)

    def _event(self, number: int) -> Row:
        draw = self.random
        if self.sent and draw.random() < 0.2:
            again = draw.choice(self.sent)
            return {**again, "known_at": self.clock, "_source_offset": number, "item": 9}
        late_s = draw.choice((0, 0, 0, 1, 8, 15, 40, 62, 75))
        return {
            "id": f"e{number}",
            "event_time": self.clock - dt.timedelta(seconds=late_s),
            "known_at": self.clock,
            "u": draw.choice((*USERS[:-1], None)),
            "c": draw.choice(PLACES),
            "item": draw.choice((0, 1, 2, 3, None)),
            "price": draw.choice((None, Decimal("0.10"), Decimal("-3.25"))),
            "score": draw.choice((None, float("nan"), 0.5, -1.0)),
            "tag": draw.choice((None, "x", "é")),
            "_source": draw.choice(("one", "two")),
            "_source_partition": 0,
            "_source_offset": number,
            "_source_time": None,
        }

    def publish(self) -> Published:
        head = self.table.head()
        return publish_windows(self.lake, self.store, self.windows, head, as_of=self.clock)

    def ask(self) -> None:
        """Ask for every entity now, and keep the answers; of an old publication there are none."""
        state = self.store.state(VIEW)
        if state is None:  # there was no event to publish yet
            return
        if self.clock - state.as_of > self.windows.stale_us * ONE_US:
            views = lookup_vectors(self.store, [VIEW], ENTITIES, at=self.clock).views
            assert set(views[0].statuses) == {"expired"}
            return
        self.asked += [{**entity, "t": self.clock} for entity in ENTITIES]
        self.answers += online(self.store, self.clock)

    def check(self) -> None:
        """Compare every answer with what training computes now."""
        wanted = offline(self.lake, self.table, self.windows, self.asked)
        assert len(wanted) == len(self.answers)
        for asked, answer, value in zip(self.asked, self.answers, wanted, strict=True):
            assert answer == value, asked
