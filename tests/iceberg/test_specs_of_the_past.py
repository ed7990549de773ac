"""Partition specs whose columns, and the schemas that had them, are gone: tables stay usable."""

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.update import AssertTableUUID, RemoveSchemasUpdate
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    IdentityTransform,
    Transform,
    TruncateTransform,
)
from pyiceberg.types import (
    BinaryType,
    DateType,
    DecimalType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestampType,
)

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import UnsupportedTableError
from headrace.maintenance.compaction.compact import compact
from headrace.maintenance.health.health import health
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from tests.maintenance.cleanup.cleaning import clean
from tests.tables.catalogs.test_foreign import sql_catalog
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

DAY_1, DAY_2 = dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2)  # noqa: DTZ001  (of a column without a zone)
COLUMNS: list[tuple[PrimitiveType, Transform[Any, Any], list[object]]] = [
    (StringType(), IdentityTransform(), ["a", "b", None]),
    (StringType(), TruncateTransform(1), ["ab", "ac", "b"]),
    (DateType(), IdentityTransform(), [DAY_1.date(), DAY_2.date(), None]),
    (TimestampType(), DayTransform(), [DAY_1, DAY_2, None]),
    (LongType(), BucketTransform(4), [1, 2, 3]),
    (BinaryType(), IdentityTransform(), [b"\x00", b"x", None]),
    (DecimalType(9, 2), IdentityTransform(), [Decimal("1.50"), Decimal("-2.00"), None]),
]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = sql_catalog(tmp_path)
    made.create_namespace("ns")
    yield made
    made.close()


def of_a_spec_that_is_gone(catalog: Catalog) -> None:
    """Partition a table by columns, drop them, and forget the schema, as other engines do."""
    names = [f"p{at}" for at in range(len(COLUMNS))]
    columns = [NestedField(2 + at, names[at], kind) for at, (kind, _, _) in enumerate(COLUMNS)]
    fields = [
        PartitionField(2 + at, 1000 + at, transform, f"part{at}")
        for at, (_, transform, _) in enumerate(COLUMNS)
    ]
    schema = Schema(NestedField(1, "id", LongType()), *columns)
    table = catalog.create_table("ns.t", schema=schema, partition_spec=PartitionSpec(*fields))
    arrow = table.scan().to_arrow().schema
    for number in range(3):
        rows = {"id": [number, 10 + number]} | {
            name: [values[number]] * 2 for name, (_, _, values) in zip(names, COLUMNS, strict=True)
        }
        table.append(pa.table(rows, schema=arrow))
    with table.update_spec() as update:
        for field in fields:
            update.remove_field(field.name)
    with table.update_schema() as change:
        for name in names:
            change.delete_column(name)
    for number in (100, 101):
        catalog.load_table("ns.t").append(pa.table({"id": [number]}))
    table = catalog.load_table("ns.t")
    gone = RemoveSchemasUpdate.model_validate({"schema-ids": [0]})
    catalog.commit_table(table, (AssertTableUUID(uuid=table.metadata.table_uuid),), (gone,))


def stock_ids(catalog: Catalog) -> list[int]:
    return sorted(catalog.load_table("ns.t").scan().to_arrow()["id"].to_pylist())


def places(table: LakeTable) -> dict[str, tuple[object, ...]]:
    """Read where stock PyIceberg finds each data file."""
    head = table.iceberg().current_snapshot()
    assert head is not None
    entries = [
        e
        for m in head.manifests(table.iceberg().io)
        for e in m.fetch_manifest_entry(table.iceberg().io)
    ]
    return {
        e.data_file.file_path: (
            e.data_file.spec_id,
            *(e.data_file.partition[at] for at in range(len(e.data_file.partition))),
        )
        for e in entries
    }


def test_a_table_with_such_a_spec_is_read_rewritten_and_cleaned_up(
    catalog: Catalog, settings: Settings
) -> None:
    of_a_spec_that_is_gone(catalog)
    expected = stock_ids(catalog)
    with Lake.of(catalog, settings=settings) as lake, DuckDBEngine.open(settings) as engine:
        table = lake.table("ns.t")
        assert sorted(table.head().to_arrow()["id"].to_pylist()) == expected
        with pytest.raises(UnsupportedTableError):  # DuckDB would end the process
            engine.bind("t", table.head())
        before = places(table)
        operations.rewrite_manifests(table, provenance=Provenance())
        assert places(table) == before  # the values are kept, in manifests written anew
        assert health(table)
        compact(table)
        assert stock_ids(catalog) == expected
        assert {file.spec_id for file in table.head().files()} == {
            table.iceberg().metadata.default_spec_id
        }
        engine.bind("t", table.head())
        found = engine.query("select id from t").read_all()["id"].to_pylist()
        assert sorted(found) == expected
        operations.expire(table, keep=1, before_ms=1 << 62)
        clean(table)
        assert stock_ids(catalog) == expected
        assert lake.registry.commits("ns.t")


_SCAN = """
import resource
import sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import duckdb
from headrace.engines.extensions import load_iceberg_extension
connection = duckdb.connect()
load_iceberg_extension(connection)
connection.execute(f"select count(*) from iceberg_scan('{sys.argv[1]}')").fetchall()
"""


@pytest.mark.proof  # how it dies takes it 6 seconds
def test_duckdb_dies_of_a_lost_column(catalog: Catalog) -> None:
    """The fault that `refuse_lost_columns` guards against; when this fails, the guard may go."""
    of_a_spec_that_is_gone(catalog)
    location = catalog.load_table("ns.t").metadata_location
    done = subprocess.run(
        [sys.executable, "-c", _SCAN, location], capture_output=True, timeout=WAIT_S, check=False
    )
    assert done.returncode < 0  # killed by a signal
