"""A small lake for sample builds: what was shown, how well it did before, who tapped it."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.sample_set import SampleSet
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches

TIME = pa.timestamp("us", tz="UTC")
MIDNIGHT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
LATENESS = dt.timedelta(hours=1)
SHOWN = pa.schema(
    [
        pa.field("shown_id", pa.string(), nullable=False),
        pa.field("event_time", TIME, nullable=False),
        pa.field("item", pa.int64()),
        pa.field("slot", pa.int32()),
    ]
)
RATES = pa.schema(
    [
        pa.field("item", pa.int64()),
        pa.field("event_time", TIME, nullable=False),
        pa.field("known_at", TIME),
        pa.field("rate", pa.float64()),
    ]
)
TAPS = pa.schema(
    [
        pa.field("shown_id", pa.string(), nullable=False),
        pa.field("event_time", TIME, nullable=False),
        pa.field("known_at", TIME, nullable=False),
        pa.field("force", pa.int32()),
    ]
)
_LAKE = """
profile = "local"
[profiles.local]
state_dir = "state"
threads = 1
"""
_STREAM = """
stream: taps
table: shop.taps
source: {files: "taps/*.jsonl"}
format: json
event_time: event_time
known_at: {column: known_at}
allowed_lateness: 1h
fields:
  shown_id: {type: string, required: true}
  event_time: {type: timestamptz, required: true}
  known_at: {type: timestamptz, required: true}
  force: {type: int}
"""


def at(hours: float, *, day: int = 0) -> dt.datetime:
    return MIDNIGHT + dt.timedelta(days=day, hours=hours)


def day(number: int) -> dt.date:
    return (MIDNIGHT + dt.timedelta(days=number)).date()


def settings_in(folder: Path) -> Settings:
    """Settings of a lake that declares the `taps` stream and nothing else."""
    declarations = folder / "lake"
    (declarations / "streams").mkdir(parents=True, exist_ok=True)
    (declarations / "lake.toml").write_text(_LAKE)
    (declarations / "streams" / "taps.yaml").write_text(_STREAM)
    return Settings.load(env={}, path=declarations / "lake.toml")


def sample_set(**changes: object) -> SampleSet:
    """The sample set of these tests, with some keys replaced."""
    declared: dict[str, object] = {
        "samples": "taps",
        "table": "samples.taps",
        "exposures": {
            "table": "shop.shown",
            "id": "shown_id",
            "entities": ["item"],
            "columns": ["slot"],
        },
        "features": [{"view": "shop.rates", "columns": ["rate"]}],
        "labels": [{"name": "tap", "stream": "shop.taps", "window": "2h"}],
    }
    return SampleSet.model_validate(declared | changes)


@dataclass(frozen=True)
class Shop:
    """The three tables and ways to add to them."""

    lake: Lake

    @classmethod
    def open(cls, lake: Lake, *, ttl: dt.timedelta | None = dt.timedelta(days=2)) -> "Shop":
        """Create the tables, if need be."""
        view = FeatureView(view=TableName.parse("shop.rates"), entity=("item",), ttl=ttl)
        properties = {"headrace.feature_view": view.to_property()}
        for name, schema in (("shown", SHOWN), ("rates", RATES), ("taps", TAPS)):
            lake.create(
                TableName("shop", name),
                schema,
                partition_by=["day(event_time)"],
                properties=properties if name == "rates" else None,
            )
        return cls(lake)

    def show(self, *rows: tuple[str, dt.datetime, int | None]) -> None:
        """Add exposures: id, time, item."""
        self._append(
            "shown",
            SHOWN,
            [dict(zip(("shown_id", "event_time", "item"), row, strict=True)) for row in rows],
        )

    def rate(self, *rows: tuple[int, dt.datetime, dt.datetime | None, float]) -> None:
        """Add feature rows: item, event time, known at, rate."""
        self._append("rates", RATES, [dict(zip(RATES.names, row, strict=True)) for row in rows])

    def tap(
        self,
        *rows: tuple[str, dt.datetime, dt.datetime, int],
        watermark: dt.datetime | None = None,
    ) -> None:
        """Add label events: shown id, event time, known at, force; and move the watermark."""
        notes: dict[str, str] = {}
        if watermark is not None:
            notes["headrace.watermark"] = str(int(watermark.timestamp() * 1_000_000))
        found = [dict(zip(TAPS.names, row, strict=True)) for row in rows]
        self._append("taps", TAPS, found, notes=notes)

    def _append(
        self,
        name: str,
        schema: pa.Schema,
        rows: Sequence[Mapping[str, object]],
        *,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        table = LakeTable(self.lake, TableName("shop", name))
        batches = pa.Table.from_pylist(list(rows), schema).to_batches()
        files = write_batches(table, batches)
        operations.append(table, files, provenance=Provenance(notes=notes or {}), properties=notes)

    def samples(self) -> dict[str, dict[str, object]]:
        """Every built sample by id."""
        rows = self.lake.table("samples.taps").head().to_arrow().to_pylist()
        assert len({row["sample_id"] for row in rows}) == len(rows)
        return {row["sample_id"]: row for row in rows}


def fill(shop: Shop) -> Shop:
    """Add three days of two exposures each and one feature row a day."""
    for n in range(3):
        shop.show((f"d{n}-morning", at(8, day=n), 1), (f"d{n}-evening", at(20, day=n), 2))
        shop.rate((1, at(7, day=n), at(7, day=n), 0.1 * n))
    return shop
