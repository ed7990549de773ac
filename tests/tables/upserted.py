"""Tables with equality deletes in the forms that upserts of Flink leave, and the rows that are left."""

import datetime as dt
from collections.abc import Callable

import pyarrow as pa

from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.tables.delete_files import delete_values

_AT = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    [
        pa.field("at", _AT, nullable=False),
        pa.field("id", pa.int64()),
        pa.field("v", pa.string()),
    ]
)
_FIRST = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
Row = tuple[int | None, str]
Form = Callable[[Lake], tuple[LakeTable, list[Row]]]


def _table(lake: Lake, name: str, *, partition_by: tuple[str, ...] = ()) -> LakeTable:
    return lake.create(TableName("raw", name), _SCHEMA, partition_by=partition_by)


def _put(table: LakeTable, *rows: Row, day: int = 0) -> None:
    at = _FIRST + dt.timedelta(days=day)
    ids, values = zip(*rows, strict=True)
    batch = pa.record_batch(
        [pa.array([at] * len(rows), _AT), pa.array(ids, pa.int64()), pa.array(values)],
        schema=_SCHEMA,
    )
    append(table, write_batches(table, [batch]), provenance=Provenance())


def _ids(*ids: int | None) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64())})


def of_one_key(lake: Lake) -> tuple[LakeTable, list[Row]]:
    """Two commits of upserts; the second replaces a key and deletes one."""
    table = _table(lake, "of_one_key")
    _put(table, (1, "old"), (2, "gone"), (3, "kept"))
    delete_values(table, _ids(1, 2))
    _put(table, (1, "new"))
    return table, [(1, "new"), (3, "kept")]


def beside_nulls(lake: Lake) -> tuple[LakeTable, list[Row]]:
    """A key is null in another row of a file with deleted rows."""
    table = _table(lake, "beside_nulls")
    _put(table, (1, "gone"), (None, "kept"))
    delete_values(table, _ids(1))
    return table, [(None, "kept")]


def in_one_partition(lake: Lake) -> tuple[LakeTable, list[Row]]:
    """A key is deleted in one day of two that have it."""
    table = _table(lake, "in_one_partition", partition_by=("day(at)",))
    _put(table, (1, "gone"))
    (first,) = table.head().files()
    _put(table, (1, "kept"), day=1)
    delete_values(table, _ids(1), partition=first.data_file.partition)
    return table, [(1, "kept")]


FORMS: tuple[Form, ...] = (of_one_key, beside_nulls, in_one_partition)


def rows_of(found: pa.Table) -> list[Row]:
    """Return the rows in an order of their own."""
    pairs = zip(found.column("id").to_pylist(), found.column("v").to_pylist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[0] is None, pair[0]))
