"""Tables with equality deletes in the forms that the format allows, and the rows that are left."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import pyarrow as pa

from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.tables import alter
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
_OTHER = dt.datetime(1969, 12, 31, 23, 59, 59, 2)  # noqa: DTZ001
Row = tuple[int | None, str]
Form = Callable[[Lake], tuple[LakeTable, list[Row]]]


def _table(
    lake: Lake,
    name: str,
    *,
    partition_by: tuple[str, ...] = (),
    id_type: pa.DataType | None = None,
    more: Sequence[pa.Field] = (),
) -> LakeTable:
    columns = {each.name: each for each in _SCHEMA} | {each.name: each for each in more}
    if id_type is not None:
        columns["id"] = columns["id"].with_type(id_type)
    named = TableName("raw", name)
    return lake.create(named, pa.schema(columns.values()), partition_by=partition_by)


def _put(
    table: LakeTable, *rows: Row, day: int = 0, more: Mapping[str, Sequence[object]] | None = None
) -> None:
    schema = table.head().schema
    ids, values = zip(*rows, strict=True)
    at = [_FIRST + dt.timedelta(days=day)] * len(rows)
    columns = {"at": at, "id": ids, "v": values, **(more or {})}
    batch = pa.RecordBatch.from_pydict({k: list(v) for k, v in columns.items()}, schema)
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


def of_two_columns(lake: Lake) -> tuple[LakeTable, list[Row]]:
    """Rows are deleted by two columns at once, and null is a value like others."""
    table = _table(lake, "of_two_columns")
    _put(table, (1, "gone"), (1, "kept"), (2, "new"), (None, "gone"), (None, "kept"))
    delete_values(table, pa.table({"id": pa.array([1, None], pa.int64()), "v": ["gone"] * 2}))
    return table, [(1, "kept"), (2, "new"), (None, "kept")]


def of_many_types(lake: Lake) -> tuple[LakeTable, list[Row]]:
    """The columns of a key have all kinds of types; the other row differs in the last of them."""
    values: dict[str, tuple[pa.DataType, object, object]] = {
        "yes": (pa.bool_(), True, True),
        "small": (pa.int32(), -(2**31), -(2**31)),
        "date": (pa.date32(), dt.date(1969, 12, 31), dt.date(1969, 12, 31)),
        "exact": (pa.decimal128(20, 4), Decimal("-1.0001"), Decimal("-1.0001")),
        "wide": (pa.decimal128(38, 2), Decimal(f"{10**35}.25"), Decimal(f"{10**35}.25")),
        "raw": (pa.binary(), b"\x00\xff", b"\x00\xff"),
        "naive": (pa.timestamp("us"), dt.datetime(1969, 12, 31, 23, 59, 59, 1), _OTHER),  # noqa: DTZ001
    }
    more = [pa.field(name, kind) for name, (kind, *_) in values.items()]
    table = _table(lake, "of_many_types", more=more)
    given = {name: pair for name, (_, *pair) in values.items()}
    _put(table, (1, "gone"), (2, "kept"), more=given)
    key = {name: pa.array([pair[0]], kind) for name, (kind, *pair) in values.items()}
    delete_values(table, pa.table(key))
    return table, [(2, "kept")]


def by_a_column_of_another_name_and_type(lake: Lake) -> tuple[LakeTable, list[Row]]:
    """The key was of a smaller type in the rows, and had another name where it was deleted."""
    table = _table(lake, "by_a_column_of_another_name", id_type=pa.int32())
    _put(table, (1, "gone"), (2, "kept"))
    alter.widen_column(table, "id", pa.int64())
    alter.rename_column(table, "id", to="key")
    delete_values(table, pa.table({"key": [1, 2**40]}))
    alter.rename_column(table, "key", to="id")
    _put(table, (2**40, "new"))
    return table, [(2, "kept"), (2**40, "new")]


def by_an_added_column(lake: Lake) -> tuple[LakeTable, list[Row]]:
    """The rows are older than a column of the key, which is null in them."""
    table = _table(lake, "by_an_added_column")
    _put(table, (1, "gone"), (2, "kept"))
    alter.add_column(table, "extra", pa.string())
    delete_values(table, pa.table({"id": [1, 2], "extra": pa.array([None, "x"], pa.string())}))
    return table, [(2, "kept")]


def in_a_partition_of_the_key(lake: Lake) -> tuple[LakeTable, list[Row]]:
    """A table is partitioned by what its rows are deleted by."""
    table = _table(lake, "in_a_partition_of_the_key", partition_by=("bucket(4, id)",))
    _put(table, (1, "gone"))
    (first,) = table.head().files()
    _put(table, (1, "gone"), (2, "kept"), (3, "kept"))
    delete_values(table, _ids(1), partition=first.data_file.partition)
    _put(table, (1, "new"))
    return table, [(1, "new"), (2, "kept"), (3, "kept")]


def in_all_partitions(lake: Lake) -> tuple[LakeTable, list[Row]]:
    """A key is deleted under a spec without partitions, which is for files of every spec."""
    table = _table(lake, "in_all_partitions", partition_by=("day(at)",))
    _put(table, (1, "gone"), (2, "kept"))
    _put(table, (1, "gone"), day=1)
    alter.repartition(table, partition_by=[])
    delete_values(table, _ids(1))
    alter.repartition(table, partition_by=["bucket(4, id)"])
    _put(table, (1, "new"), day=2)
    return table, [(1, "new"), (2, "kept")]


FORMS: tuple[Form, ...] = (
    of_one_key,
    beside_nulls,
    in_one_partition,
    of_two_columns,
    of_many_types,
    by_a_column_of_another_name_and_type,
    by_an_added_column,
    in_a_partition_of_the_key,
    in_all_partitions,
)


def rows_of(found: pa.Table) -> list[Row]:
    """Return the rows in an order of their own."""
    pairs = zip(found.column("id").to_pylist(), found.column("v").to_pylist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[0] is None, pair[0]))
