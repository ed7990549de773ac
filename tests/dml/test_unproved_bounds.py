"""Bounds that some row groups do not prove: rows beyond them are found all the same."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.dml.merge import merge
from headrace.iceberg.bounds import BoundsProof
from headrace.iceberg.standard_properties import ROW_GROUP_ROWS
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.tables.catalogs.test_foreign import sql_catalog

COLUMNS = pa.schema([pa.field("id", pa.int64()), pa.field("s", pa.string())])
LONG = "z" * 5_000  # pyarrow keeps no minimum and maximum of a row group with such a text
ROWS, GROUP_ROWS = 300, 100


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with sql_catalog(tmp_path) as made:
        yield made


@pytest.fixture
def stock(catalog: Catalog, settings: Settings) -> Iterator[LakeTable]:
    """A table by stock PyIceberg: a file whose bounds come from two of its three row groups."""
    catalog.create_namespace("ns")
    table = catalog.create_table(
        "ns.t", schema=COLUMNS, properties={ROW_GROUP_ROWS: str(GROUP_ROWS)}
    )
    texts = [f"a{n:03}" for n in range(ROWS - 1)] + [LONG]
    table.append(pa.table([range(ROWS), texts], schema=COLUMNS))
    with Lake.of(catalog, settings=settings) as lake:
        found = lake.table("ns.t")
        (file,) = found.head().files()
        assert file.data_file.upper_bounds[2] < LONG.encode()  # else there is nothing to prove
        yield found


def ids_of(table: LakeTable) -> list[int]:
    return sorted(table.head().to_arrow(columns=["id"]).column("id").to_pylist())


def test_rows_beyond_the_bounds_are_deleted(stock: LakeTable) -> None:
    deleted = delete_where(stock, "s > 'y'", provenance=Provenance(run_id="x"))
    assert deleted.rows == 1
    assert ids_of(stock) == list(range(ROWS - 1))


def test_rows_beyond_the_bounds_are_not_deleted_with_the_file(stock: LakeTable) -> None:
    delete_where(stock, "s < 'y'", provenance=Provenance(run_id="x"))
    assert ids_of(stock) == [ROWS - 1]


def test_rows_beyond_the_bounds_are_merged(stock: LakeTable) -> None:
    merge(stock, pa.table([[777], [LONG]], schema=COLUMNS), key=["s"], provenance=Provenance())
    assert ids_of(stock) == [*range(ROWS - 1), 777]


def test_files_written_here_have_only_bounds_that_hold(lake: Lake) -> None:
    columns = COLUMNS.append(pa.field("n", pa.string()))
    table = lake.create(TableName("raw", "t"), columns, properties={ROW_GROUP_ROWS: "100"})
    texts = ["a"] * 150 + [LONG] + ["b"] * 149
    nulls = [None] * 100 + ["c"] * 200  # a row group of nothing but nulls has nothing to bound
    (file,) = write_batches(table, [pa.record_batch([range(300), texts, nulls], schema=columns)])
    assert file.lower_bounds.keys() == file.upper_bounds.keys() == {1, 3}
    assert file.null_value_counts == {1: 0, 2: 0, 3: 100}


def test_a_file_of_several_row_groups_that_proves_its_bounds_keeps_them(lake: Lake) -> None:
    table = lake.create(TableName("raw", "t"), COLUMNS, properties={ROW_GROUP_ROWS: "100"})
    (file,) = write_batches(table, [pa.record_batch([range(300), ["a"] * 300], schema=COLUMNS)])
    proof = BoundsProof(table.head().metadata, ["s"])
    assert proof.is_doubtful(file)
    assert proof.proved(file).lower_bounds == file.lower_bounds
    assert proof.proved(file).upper_bounds == file.upper_bounds


def test_a_file_whose_footer_cannot_be_read_proves_nothing(stock: LakeTable) -> None:
    (entry,) = stock.head().files()
    Path(entry.path).unlink()
    proof = BoundsProof(stock.head().metadata, ["id", "s"])
    proved = proof.proved(entry.data_file)
    assert (proved.lower_bounds.keys(), proved.upper_bounds.keys()) == ({1}, {1})
    assert proved.file_path == entry.data_file.file_path
