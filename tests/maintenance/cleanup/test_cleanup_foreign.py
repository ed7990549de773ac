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

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import GarbageKeptError
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from tests.maintenance.cleanup.cleaning import clean, later, planned
from tests.tables.catalogs.test_foreign import sql_catalog

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


def test_rows_that_a_killed_sorted_insert_of_trino_buffered_are_orphans(
    catalog: Catalog, settings: Settings
) -> None:
    table = catalog.create_table("ns.t", SCHEMA)
    table.append(rows([1]))
    folder = Path(table.location().removeprefix("file://")) / "data" / "trino-tmp-files"
    folder.mkdir()
    left = folder / "sorting-file-writer-20261129_120000_00007_abcde-5f0c.3"
    strange = folder / "notes.txt"
    for path in (left, strange):
        path.write_bytes(b"rows")
    with Lake.of(catalog, settings=settings) as lake:
        found = lake.table("ns.t")
        assert not plan_cleanup(found).files
        plan = plan_cleanup(found, now=later())
        assert planned(plan) == {str(left)}
        assert set(plan.by_kind) == {"temporary"}
        clean(found)
    assert strange.exists()
    assert not left.exists()
    assert stock_ids(catalog) == [1]


def elsewhere(catalog: Catalog, folder: Path) -> Catalog:
    """Register the table, as it is now, in a second catalog."""
    other = sql_catalog(folder, "second")
    other.create_namespace_if_not_exists("ns")
    other.register_table("ns.t", catalog.load_table("ns.t").metadata_location)
    return other


@pytest.fixture
def second(tmp_path: Path, catalog: Catalog) -> Iterator[Catalog]:
    """A second catalog that names the same table, at the version it had then."""
    table = catalog.create_table("ns.t", SCHEMA)
    table.append(rows([0]))
    (tmp_path / "second").mkdir()
    other = elsewhere(catalog, tmp_path / "second")
    yield other
    other.close()


def stray_of(catalog: Catalog) -> Path:
    folder = Path(catalog.load_table("ns.t").location().removeprefix("file://"))
    stray = folder / "data" / "stray.parquet"
    stray.write_bytes(b"")
    return stray


@pytest.mark.parametrize("own_commits", [0, 1, 5])
def test_what_another_catalog_committed_to_the_same_table_stays(
    catalog: Catalog, second: Catalog, settings: Settings, own_commits: int
) -> None:
    """Clean-up runs where an older version is known, or one that went another way since."""
    for number in range(1, 4):
        second.load_table("ns.t").append(rows([number]))
    second.load_table("ns.t").delete("id = 1")
    expected = stock_ids(second)
    for number in range(own_commits):
        catalog.load_table("ns.t").append(rows([100 + number]))
    own = stock_ids(catalog)
    stray = stray_of(catalog)
    with Lake.of(catalog, settings=settings) as lake:
        assert planned(plan_cleanup(lake.table("ns.t"), now=later())) == {str(stray)}
        clean(lake.table("ns.t"))
    assert stock_ids(second) == expected == [0, 2, 3]
    assert stock_ids(catalog) == own
    assert not stray.exists()


def test_what_a_commit_left_that_lost_a_race_is_no_other_catalogs(
    catalog: Catalog, second: Catalog, settings: Settings
) -> None:
    second.load_table("ns.t").append(rows([1]))
    lost = Path(second.load_table("ns.t").metadata_location.removeprefix("file://"))
    for number in (2, 3):
        catalog.load_table("ns.t").append(rows([number]))
    with Lake.of(catalog, settings=settings) as lake:
        plan = plan_cleanup(lake.table("ns.t"), now=later())
    assert str(lost) in planned(plan)
    assert {file.kind for file in plan.files} == {"metadata", "manifest", "manifest list", "data"}


def test_metadata_of_another_catalog_outside_of_the_location_is_seen(
    tmp_path: Path, catalog: Catalog, second: Catalog, settings: Settings
) -> None:
    place = tmp_path / "metadata elsewhere"
    for each in (catalog, second):
        with each.load_table("ns.t").transaction() as change:
            change.set_properties({"write.metadata.path": f"file://{place}"})
    second.load_table("ns.t").append(rows([1]))
    stray = stray_of(catalog)
    with Lake.of(catalog, settings=settings) as lake:
        assert planned(plan_cleanup(lake.table("ns.t"), now=later())) == {str(stray)}
        clean(lake.table("ns.t"))
    assert stock_ids(second) == [0, 1]


@pytest.mark.parametrize("shared_by", ["itself", "another"])
def test_a_table_that_says_its_files_are_shared_is_not_cleaned_up(
    catalog: Catalog, settings: Settings, shared_by: str
) -> None:
    table = catalog.create_table("ns.t", SCHEMA)
    table.append(rows([0]))
    stray = stray_of(catalog)
    with Lake.of(catalog, settings=settings) as lake:
        found = lake.table("ns.t")
        plan = plan_cleanup(found, now=later())
        name = "ns.t"
        if shared_by == "another":
            name = "ns.clone"
            catalog.register_table(name, table.metadata_location)
        with catalog.load_table(name).transaction() as change:
            change.set_properties({"gc.enabled": "false"})
        with pytest.raises(GarbageKeptError) as refused:
            plan_cleanup(found, now=later())
        with pytest.raises(GarbageKeptError):
            apply_cleanup(found, plan, now=later())
    assert refused.value.table == name
    assert stray.exists()
