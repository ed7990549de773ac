"""Clean-up of tables that stock PyIceberg writes: odd names, other places, other catalogs."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from headrace.config import Settings
from headrace.maintenance.collect import plan_cleanup
from headrace.tables.lake import Lake
from tests.maintenance.cleaning import clean, later, planned
from tests.tables.test_foreign import sql_catalog

SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "s", StringType()))
BY_TEXT = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "s"))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = sql_catalog(tmp_path)
    made.create_namespace("ns")
    yield made
    made.close()


def rows(ids: list[int], text: list[str | None] | None = None) -> pa.Table:
    return pa.table({"id": ids, "s": pa.array(text or ["x"] * len(ids), pa.string())})


def stock_ids(catalog: Catalog) -> list[int]:
    return sorted(catalog.load_table("ns.t").scan().to_arrow()["id"].to_pylist())


def test_partition_values_that_no_path_can_have_are_no_reason_to_fail(
    catalog: Catalog, settings: Settings
) -> None:
    table = catalog.create_table("ns.t", SCHEMA, partition_spec=BY_TEXT)
    odd = ["a\0b", "%00", "a/b", "..", "#?", "ü", "%2F", " ", None]
    table.append(rows(list(range(len(odd))), odd))
    stray = Path(table.location().removeprefix("file://")) / "data" / "s=a%00b" / "stray.parquet"
    stray.write_bytes(b"")
    with Lake.of(catalog, settings=settings) as lake:
        found = lake.table("ns.t")
        assert planned(plan_cleanup(found, now=later())) == {str(stray)}
        clean(found)
    assert stock_ids(catalog) == list(range(len(odd)))
