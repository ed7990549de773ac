"""A small table whose rows have a composite key, and what tests of row-level changes share."""

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.dml.copy_on_write import wanted_columns
from headrace.dml.live_rows import live_rows
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches

START = dt.datetime(2024, 5, 1, tzinfo=ZoneInfo("UTC"))  # as Arrow gives it back, to the letter
SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.int64()),
        pa.field("item", pa.string()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
        pa.field("value", pa.int32()),
        pa.field("score", pa.float64()),
    ]
)
SCHEMES = ((), ("day(at)",), ("item",), ("bucket(3, user_id)",), ("day(at)", "truncate(1, item)"))
Row = tuple[int | None, str | None, dt.datetime | None, int | None, float | None]
_numbers = itertools.count()

user_ids = st.one_of(st.none(), st.integers(0, 5))
items = st.one_of(st.none(), st.sampled_from(["", "a", "ab", "b", "ä"]))
days = st.one_of(st.none(), st.integers(0, 2).map(lambda day: START + dt.timedelta(days=day)))
values = st.one_of(st.none(), st.integers(0, 3))
scores = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 0.5, float("nan"), float("inf")]))
rows = st.tuples(user_ids, items, days, values, scores)


def keyed_table(lake: Lake, partition_by: Sequence[str] = (), name: str = "") -> LakeTable:
    name = name or f"keyed_{next(_numbers)}"
    return lake.create(TableName("raw", name), SCHEMA, partition_by=list(partition_by))


def arrow(rows: Iterable[Row]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.table(arrays, schema=SCHEMA)


def add_rows(table: LakeTable, rows: Iterable[Row]) -> None:
    files = write_batches(table, arrow(rows).to_batches())
    operations.append(table, files, provenance=Provenance())


def rows_of(table: LakeTable, *, branch: str = "main") -> list[Row]:
    """Every row, in the order of `in_order`; also those of files whose rows are deleted by value."""
    version = table.head(branch)
    wanted = wanted_columns(version)
    found = [
        tuple(row.values())
        for entry in version.files()
        for batch in live_rows(version, entry, wanted)
        for row in batch.to_pylist()
    ]
    return in_order(found)  # pyright: ignore[reportArgumentType]


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Sort rows by their text, by which they are to be compared too: NaN is not equal to NaN."""
    return sorted(rows, key=repr)


def paths(table: LakeTable) -> set[str]:
    return {file.path for file in table.head().files()}
