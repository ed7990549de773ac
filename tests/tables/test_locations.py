"""Where a table says that its files go, and how large it wants them: obeyed by every writer."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.locations import load_location_provider
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import UnsupportedTableError
from headrace.iceberg import standard_properties as standard
from headrace.identifiers import TableName
from headrace.maintenance.cleanup.cleanup import plan_cleanup
from headrace.maintenance.compaction.compact import compact, target_of
from headrace.maintenance.health.limits import apply_limits
from headrace.maintenance.health.state import table_state
from headrace.storage.locations import local_path
from headrace.tables import intents
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.maintenance.cleanup.cleaning import clean, later, planned
from tests.tables.catalogs.test_foreign import sql_catalog
from tests.tables.factories import EVENTS, events

SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "s", StringType()))
BY_TEXT = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "s"))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = sql_catalog(tmp_path)
    made.create_namespace("ns")
    yield made
    made.close()


def rows(ids: list[int]) -> pa.Table:
    return pa.table({"id": ids, "s": [f"text {i % 2}" for i in ids]})


def add(table: LakeTable, ids: list[int]) -> None:
    files = write_batches(table, rows(ids).to_batches())
    operations.append(table, files, provenance=Provenance())


def folders_of(table: LakeTable) -> dict[str, set[str]]:
    """Name the folders of live data files, and of manifests and lists, relative to the location."""
    found = table.iceberg()
    head = found.current_snapshot()
    assert head is not None
    data = {local_path(file.data_file.file_path) for file in table.head().files()}
    meta = {local_path(m.manifest_path) for m in head.manifests(found.io)}
    return {
        "data": data,
        "metadata": meta | {local_path(head.manifest_list), local_path(found.metadata_location)},
    }


def placed(root: Path, kind: str) -> Mapping[str, str]:
    return {
        "plain": {},
        "data": {standard.DATA_PATH: f"file://{root}/elsewhere/d/"},
        "both": {
            standard.DATA_PATH: f"file://{root}/elsewhere/d",
            standard.METADATA_PATH: f"file://{root}/elsewhere/m/",
        },
        "hashed": {standard.OBJECT_STORAGE: "true"},
        "hashed, no partitions": {
            standard.OBJECT_STORAGE: "TRUE",
            standard.PARTITIONED_PATHS: "false",
            standard.DATA_PATH: f"file://{root}/elsewhere/h",
        },
    }[kind]


@pytest.mark.parametrize(
    ("kind", "data", "metadata"),
    [
        ("plain", r"wh/ns/t/data/s=text_\d/[^/]+", "wh/ns/t/metadata/[^/]+"),
        ("data", r"elsewhere/d/s=text_\d/[^/]+", "wh/ns/t/metadata/[^/]+"),
        ("both", r"elsewhere/d/s=text_\d/[^/]+", "elsewhere/m/[^/]+"),
        (
            "hashed",
            r"wh/ns/t/data/[01]{4}/[01]{4}/[01]{4}/[01]{8}/s=text_\d/[^/]+",
            "wh/ns/t/metadata/[^/]+",
        ),
        (
            "hashed, no partitions",
            r"elsewhere/h/[01]{4}/[01]{4}/[01]{4}/[01]{8}-[^/]+",
            "wh/ns/t/metadata/[^/]+",
        ),
    ],
)
def test_files_go_where_the_table_says_and_clean_up_knows_them(
    catalog: Catalog, tmp_path: Path, settings: Settings, kind: str, data: str, metadata: str
) -> None:
    said = placed(tmp_path, kind)
    catalog.create_table("ns.t", SCHEMA, partition_spec=BY_TEXT, properties=dict(said))
    catalog.load_table("ns.t").append(rows([0, 1]))
    with Lake.of(catalog, settings=settings) as lake:
        table = lake.table("ns.t")
        for ids in ([2, 3], [4, 5]):
            add(table, ids)
        compact(table)
        found = folders_of(table)
        for wanted, paths in ((data, found["data"]), (metadata, found["metadata"])):
            pattern = rf"{tmp_path}/{wanted}"
            assert [path for path in paths if not re.fullmatch(pattern, path)] == []
        abandoned = {local_path(f.file_path) for f in write_batches(table, rows([9]).to_batches())}
        assert planned(plan_cleanup(table, now=later())) & abandoned == set()  # in flight
        lake.registry.end_writes([w.write_id for w in lake.registry.writes()])
        is_judged = str(tmp_path / "elsewhere") not in next(iter(abandoned))
        assert planned(plan_cleanup(table, now=later())) >= (abandoned if is_judged else set())
        clean(table)
        assert all(Path(path).exists() for path in found["data"] | found["metadata"])
    assert sorted(catalog.load_table("ns.t").scan().to_arrow()["id"].to_pylist()) == list(range(6))


names = st.text("abcXYZ019-_.é %", min_size=1, max_size=12)


@given(
    location=st.sampled_from(["file:///wh/t", "s3://b/wh/t/"]),
    name=names,
    data=st.none() | st.sampled_from(["file:///other", "s3://c/d/"]),
    hashed=st.none() | st.sampled_from(["true", "false"]),
    partitioned=st.none() | st.sampled_from(["true", "false"]),
)
def test_a_data_file_lies_where_stock_pyiceberg_would_put_it(
    location: str, name: str, data: str | None, hashed: str | None, partitioned: str | None
) -> None:
    said = {
        standard.DATA_PATH: data,
        standard.OBJECT_STORAGE: hashed,
        standard.PARTITIONED_PATHS: partitioned,
    }
    properties = {key: value for key, value in said.items() if value is not None}
    stock = load_location_provider(location, properties)
    assert standard.data_location(
        location, properties, partition="", name=name
    ) == stock.new_data_location(name)
    assert f"{standard.metadata_folder(location, properties)}/{name}" == (
        stock.new_metadata_location(name)
    )


def test_older_properties_say_where_data_goes_too() -> None:
    said = {standard.OBJECT_STORAGE_PATH: "s3://a/o/", standard.FOLDER_STORAGE_PATH: "s3://a/f"}
    assert standard.data_folder("s3://t", said) == "s3://a/f"
    assert standard.data_folder("s3://t", {**said, standard.OBJECT_STORAGE: "true"}) == "s3://a/o"
    assert standard.data_folder("s3://t", {**said, standard.DATA_PATH: "s3://a/d"}) == "s3://a/d"


def test_a_file_name_with_a_hash_before_it_belongs_to_its_writer() -> None:
    write_id = "0123456789abcdef0123456789abcdef"
    assert intents.write_id_of(f"01100110-{write_id}-00001.parquet") == write_id


def test_files_are_as_large_as_the_table_says(lake: Lake) -> None:
    table = lake.create(
        TableName("raw", "sized"),
        EVENTS,
        properties={standard.TARGET_FILE_BYTES: "4000", standard.ROW_GROUP_ROWS: "100"},
    )
    batches = [events(range(at, at + 100)) for at in range(0, 1_000, 100)]
    files = write_batches(table, batches)
    assert len(files) > 2
    operations.append(table, files, provenance=Provenance())
    assert target_of(table, None) == table.target_file_bytes() == 4_000
    assert target_of(table, 7) == 7
    assert table_state(table).layout.small_files <= 1
    assert not compact(table).changed


def test_a_size_that_says_nothing_is_refused_by_name(lake: Lake) -> None:
    table = lake.create(
        TableName("raw", "sized"), EVENTS, properties={standard.TARGET_FILE_BYTES: "128MB"}
    )
    with pytest.raises(UnsupportedTableError):
        write_batches(table, [events([1])])


def test_a_table_of_another_catalog_gets_no_properties(
    catalog: Catalog, settings: Settings
) -> None:
    wide = Schema(*(NestedField(1 + at, f"c{at}", LongType()) for at in range(40)))
    before = catalog.create_table("ns.t", wide).metadata_location
    with Lake.of(catalog, settings=settings) as lake:
        assert not apply_limits(lake.table("ns.t"))
    assert catalog.load_table("ns.t").metadata_location == before


@pytest.mark.parametrize("said", ["true", "false"])
def test_old_metadata_files_go_only_where_the_table_says_so(
    catalog: Catalog, settings: Settings, said: str
) -> None:
    properties = {
        "write.metadata.delete-after-commit.enabled": said,
        "write.metadata.previous-versions-max": "2",
    }
    catalog.create_table("ns.t", SCHEMA, properties=properties)
    with Lake.of(catalog, settings=settings) as lake:
        table = lake.table("ns.t")
        for number in range(5):
            add(table, [number])
        folder = Path(local_path(table.iceberg().metadata_location)).parent
        log = table.iceberg().metadata.metadata_log
    assert len(log) == 2
    assert len(list(folder.glob("*.metadata.json"))) == (3 if said == "true" else 6)
