"""A small sample table in each test's own lake, with its builds on record."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.definitions.sample_set import SampleSet
from headrace.iceberg.partitions import key_to_text
from headrace.identifiers import TableName
from headrace.registry import Build
from headrace.samples.resolve import resolve
from headrace.tables.commits.operations import (
    Provenance,
    append,
    overwrite_partitions,
    replace_files,
)
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches

UTC_US = pa.timestamp("us", tz="UTC")
FIRST = dt.date(2019, 11, 24)
SAMPLES = TableName("samples", "ctr")
INPUT = TableName("staging", "impressions")
SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("event_time", UTC_US, nullable=False),
        pa.field("item_id", pa.int64()),
        pa.field("ctr_1d", pa.float64()),
        pa.field("click", pa.int32()),
        pa.field("click_state", pa.string()),
        pa.field("label_state", pa.string()),
    ]
)
SHOWN = pa.schema(
    [
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("event_time", UTC_US, nullable=False),
        pa.field("item_id", pa.int64()),
    ]
)
CLICKS = pa.schema(
    [
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("event_time", UTC_US, nullable=False),
        pa.field("known_at", UTC_US, nullable=False),
    ]
)
SAMPLE_SET = SampleSet.model_validate(
    {
        "samples": "ctr",
        "table": str(SAMPLES),
        "exposures": {"table": str(INPUT), "id": "impression_id", "entities": ["item_id"]},
        "labels": [{"name": "click", "stream": "staging.clicks", "window": "30m"}],
    }
)


def day_of(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def sample(day: int, number: int, *, state: str = "mature", **values: object) -> dict[str, Any]:
    start = dt.datetime.combine(day_of(day), dt.time(), dt.UTC)
    return {
        "sample_id": f"d{day}/{number}",
        "event_time": start + dt.timedelta(minutes=number),
        "item_id": number,
        "ctr_1d": number / 8,
        "click": int(number % 3 == 0),
        "click_state": state,
        "label_state": state,
        **values,
    }


@dataclass(frozen=True)
class River:
    """A lake with an input table and a sample table, filled the way a sample build fills them."""

    lake: Lake

    @property
    def samples(self) -> LakeTable:
        return self.lake.table(SAMPLES)

    def arrive(self, *, day: int = 99) -> int:
        """Commit an exposure of some day to the input table and return the snapshot."""
        table = self.lake.table(INPUT)
        shown_at = dt.datetime.combine(day_of(day), dt.time(12), dt.UTC)
        row = {"impression_id": "late", "event_time": shown_at}
        files = write_batches(table, [pa.RecordBatch.from_pylist([row], schema=SHOWN)])
        return append(table, files, provenance=Provenance()).snapshot_id

    def code(self) -> str:
        return resolve(self.lake, SAMPLE_SET).code

    def build(
        self,
        day: int,
        rows: Sequence[dict[str, Any]],
        *,
        code: str | None = None,
        inputs: Mapping[str, int] | None = None,
        watermark: int = 1_000,
        on_record: bool = True,
    ) -> None:
        """Replace one day of samples and, like a build, record what it came from."""
        inputs = {str(INPUT): self.arrive()} if inputs is None else inputs
        code = self.code() if code is None else code
        files = write_batches(self.samples, [pa.RecordBatch.from_pylist(list(rows), schema=SCHEMA)])
        key = (day_of(day),)
        done = overwrite_partitions(
            self.samples,
            files,
            partitions=[key],
            provenance=Provenance(inputs=inputs, code=code),
        )
        if on_record:
            record = Build(
                table=str(SAMPLES),
                partition=key_to_text(key),
                snapshot_id=done.snapshot_id,
                inputs=inputs,
                code=code,
                watermarks={"staging.clicks": watermark},
            )
            self.lake.registry.record_builds([record])

    def compact(self, table: LakeTable) -> None:
        """Rewrite all files, rows in another order."""
        head = table.head()
        rows = head.to_arrow()
        backwards = rows.take(list(range(rows.num_rows - 1, -1, -1)))
        replace_files(
            table,
            removed=[entry.data_file for entry in head.files()],
            added=write_batches(table, backwards.to_batches(max_chunksize=2)),
            provenance=Provenance(),
        )


def river_in(lake: Lake) -> River:
    for name, schema in ((str(INPUT), SHOWN), ("staging.clicks", CLICKS)):
        lake.create(TableName.parse(name), schema, partition_by=["day(event_time)"])
    lake.create(SAMPLES, SCHEMA, partition_by=["day(event_time)"])
    return River(lake)


@pytest.fixture
def river(lake: Lake) -> River:
    return river_in(lake)


@pytest.fixture
def three_days(river: River) -> River:
    return with_three_days(river)


def with_three_days(river: River) -> River:
    """Two mature days of 5 and 4 samples, and one whose labels are pending."""
    river.build(0, [sample(0, n) for n in range(5)], watermark=3_000)
    river.build(1, [sample(1, n) for n in range(4)], watermark=2_000)
    river.build(2, [sample(2, 0), sample(2, 1, state="pending")])
    return river
