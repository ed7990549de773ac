"""Partition specs: every kind of key is found, replaced and read by all readers; others are refused."""

import datetime as dt

import pyarrow as pa
import pytest
from pyiceberg.transforms import IdentityTransform

from headrace.api import Lake
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import ColumnReason, ContractError, UnsupportedReason, UnsupportedTableError
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.raising import refused
from tests.tables.factories import EVENTS, UTC_US, add, day_key, events, events_table, ids_of

pytestmark = pytest.mark.slow

NAME = TableName("raw", "parts")
LAST_INSTANT_OF_1969 = dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def put(table: LakeTable, kind: pa.DataType, values: list[object]) -> None:
    batch = pa.record_batch({"part": pa.array(values, kind), "n": list(range(len(values)))})
    operations.append(table, write_batches(table, [batch]), provenance=Provenance())


@pytest.mark.parametrize(
    ("kind", "term", "values", "keys"),
    [
        (pa.string(), "part", ["a", None, "", "ü/é", "x" * 100], None),
        (pa.int64(), "part", [1, -5, None, 10**12], None),
        (pa.int32(), "part", [7, -7], None),
        (pa.bool_(), "part", [True, False, None], None),
        (
            UTC_US,
            "day(part)",
            [LAST_INSTANT_OF_1969, EPOCH, None],
            [dt.date(1969, 12, 31), dt.date(1970, 1, 1), None],
        ),
        (pa.date32(), "part", [dt.date(1969, 12, 31), dt.date(2024, 5, 1), None], None),
        (UTC_US, "month(part)", [LAST_INSTANT_OF_1969, EPOCH, None], [-1, 0, None]),
        (UTC_US, "year(part)", [LAST_INSTANT_OF_1969, EPOCH, None], [-1, 0, None]),
        (UTC_US, "hour(part)", [LAST_INSTANT_OF_1969, EPOCH, None], [-1, 0, None]),
        (pa.int64(), "bucket(16, part)", [1, 34, None], [4, 3, None]),
        (pa.string(), "bucket(4, part)", ["iceberg", None], [1, None]),
        (pa.string(), "truncate(2, part)", ["iceberg", "x", None], ["ic", "x", None]),
        (pa.int64(), "truncate(10, part)", [-1, 19, None], [-10, 10, None]),
        (pa.date32(), "day(part)", [dt.date(1969, 12, 31), dt.date(2024, 5, 1), None], None),
    ],
)
def test_each_key_finds_exactly_its_rows_in_every_reader(
    lake: Lake,
    kind: pa.DataType,
    term: str,
    values: list[object],
    keys: list[object] | None,
) -> None:
    table = lake.create(NAME, pa.schema([("part", kind), ("n", pa.int64())]), partition_by=[term])
    for _ in range(5):  # two rounds of manifest merging
        put(table, kind, values)
        for value in values:
            put(table, kind, [value])
    wanted = {(key,) for key in keys or values}
    assert set(table.head().partitions) == wanted
    assert changes(table, since=None).partitions == wanted
    for key in wanted:
        assert table.head().to_arrow(partitions=[key]).num_rows == 10
    with DuckDBEngine.open(lake.settings) as engine:
        for left, key in reversed(list(enumerate(wanted))):
            operations.overwrite_partitions(table, [], partitions=[key], provenance=Provenance())
            head = table.head()
            assert head.row_count == head.to_arrow().num_rows == 10 * left
            assert table.iceberg().scan().to_arrow().num_rows == 10 * left
            engine.bind("parts", head)
            (counted,) = engine.query("select count(*) as n from parts").read_all()["n"].to_pylist()
            assert counted == 10 * left


@pytest.mark.parametrize(
    ("kind", "term"),
    [
        (pa.float64(), "part"),
        (UTC_US, "part"),
        (pa.decimal128(9, 2), "part"),
        (pa.list_(pa.int64()), "part"),
        (pa.string(), "day(part)"),
    ],
)
def test_columns_whose_values_make_no_sound_key_are_refused(
    lake: Lake, kind: pa.DataType, term: str
) -> None:
    with refused(ContractError, reason=ColumnReason.PARTITION_TRANSFORM, column="part"):
        lake.create(NAME, pa.schema([("part", kind)]), partition_by=[term])
    assert lake.names() == []


def test_a_spec_of_another_program_is_refused_and_never_taken_for_another(lake: Lake) -> None:
    table = events_table(lake)
    with table.iceberg().update_spec() as update:
        update.add_field("event_time", IdentityTransform(), "at")
    with refused(
        UnsupportedTableError, reason=UnsupportedReason.PARTITION_TRANSFORM, column="event_time"
    ):
        add(table, [1])


def test_files_of_older_specs_are_read_whole_and_refused_by_partition(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    with table.iceberg().update_spec() as update:
        update.add_identity("name")
    for i in range(3, 14):
        add(table, [i])
    assert ids_of(table) == list(range(1, 14))
    with refused(UnsupportedTableError, reason=UnsupportedReason.OLDER_SPEC):
        table.head().files(partitions=[(*day_key(0), "event 3")])
    with refused(UnsupportedTableError, reason=UnsupportedReason.OLDER_SPEC):
        operations.overwrite_partitions(
            table, [], partitions=[(*day_key(0), "event 3")], provenance=Provenance()
        )
    with refused(UnsupportedTableError, reason=UnsupportedReason.SPEC_CHANGED):
        changes(table, since=None)
    assert table.iceberg().scan().to_arrow().num_rows == 13
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("raw.events", table.head())
        assert engine.query("select id from raw.events").read_all().num_rows == 13


def test_an_unpartitioned_table_is_overwritten_as_one_partition(lake: Lake) -> None:
    table = lake.create(NAME, EVENTS)
    for i in range(10):
        add(table, [i])
    files = write_batches(table, [events([50])])
    operations.overwrite_partitions(table, files, partitions=[()], provenance=Provenance())
    assert ids_of(table) == [50]
    assert table.head().partitions == ((),)
    assert changes(table, since=None).partitions == {()}
