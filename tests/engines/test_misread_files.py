"""What DuckDB reads wrong of names and files: refused by name, or read right all the same."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.extensions import load_iceberg_extension
from headrace.engines.misread_files import refuse_folded_names
from headrace.errors import UnsupportedTableError
from headrace.identifiers import quote_text
from headrace.maintenance.compaction.compact import compact
from headrace.storage.locations import local_path
from tests.tables.catalogs.test_foreign import sql_catalog
from tests.tables.flawed import NAME, unmarked_text, unproved_bounds

pytestmark = pytest.mark.slow


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with sql_catalog(tmp_path) as made:
        yield made


def test_rows_beyond_the_bounds_are_found(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    table = unproved_bounds(catalog, tmp_path)
    with Lake.of(catalog, settings=settings) as lake, DuckDBEngine.open(settings) as engine:
        engine.bind("events", lake.table(NAME).head())
        for condition in ("s > 'y'", "s = repeat('z', 5000)", "s in (repeat('z', 5000), 'q')"):
            found = engine.query(f"select id from events where {condition}").read_all()
            assert found.column("id").to_pylist() == [299]
        joined = "select id from events join (select repeat('z', 5000) as s) using (s)"
        assert engine.query(joined).read_all().column("id").to_pylist() == [299]
    # DuckDB alone leaves the file out: once it does not, the fence may go
    with duckdb.connect() as plain:
        load_iceberg_extension(plain)
        path = quote_text(local_path(table.metadata_location))
        assert plain.sql(f"from iceberg_scan({path}) where s > 'y'").fetchall() == []


def test_rows_beyond_the_bounds_of_a_column_dropped_since_are_found(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    table = unproved_bounds(catalog, tmp_path)
    with table.update_schema() as change:
        change.delete_column("s")
    with Lake.of(catalog, settings=settings) as lake, DuckDBEngine.open(settings) as engine:
        engine.bind("events", lake.table(NAME).head().in_schema_at_commit())
        found = engine.query("select id from events where s > 'y'").read_all()
    assert found.column("id").to_pylist() == [299]


def test_text_that_is_not_marked_is_refused_until_compaction_marks_it(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    unmarked_text(catalog, tmp_path)
    with Lake.of(catalog, settings=settings) as lake, DuckDBEngine.open(settings) as engine:
        table = lake.table(NAME)
        with pytest.raises(UnsupportedTableError) as refused:
            engine.bind("events", table.head())
        assert refused.value.table == NAME
        compact(table)
        engine.bind("events", table.head())
        assert engine.query("from events").read_all().column("s").to_pylist()[-1] == "ü"


TWINS = {
    "columns": pa.schema([("item", pa.int64()), ("Item", pa.string())]),
    "fields": pa.schema([("st", pa.struct([("a", pa.int64()), ("A", pa.string())]))]),
    "fields of elements": pa.schema(
        [("l", pa.list_(pa.map_(pa.string(), pa.struct([("a", pa.int64()), ("A", pa.int64())]))))]
    ),
}


@pytest.mark.parametrize("names", TWINS)
def test_names_that_differ_only_in_case_are_refused(
    catalog: Catalog, settings: Settings, names: str
) -> None:
    catalog.create_namespace("ns")
    table = catalog.create_table(NAME, schema=TWINS[names])
    with Lake.of(catalog, settings=settings) as lake, DuckDBEngine.open(settings) as engine:
        for _ in ("without files", "with a file"):
            with pytest.raises(UnsupportedTableError) as refused:
                engine.bind("events", lake.table(NAME).head())
            assert refused.value.table == NAME
            table.append(pa.table([[None]] * len(TWINS[names]), schema=TWINS[names]))


@pytest.mark.parametrize("one", ["item", "ÉITEM"])
def test_names_are_compared_as_duckdb_does(one: str) -> None:
    other = one.swapcase()
    columns = pa.schema([(one, pa.int64()), (other, pa.int64())])
    with duckdb.connect() as plain:
        plain.register("given", pa.table([[1], [2]], schema=columns))
        takes_for_one = plain.sql("from given").columns != columns.names
    if takes_for_one:
        with pytest.raises(UnsupportedTableError):
            refuse_folded_names(columns, table="t")
    else:
        refuse_folded_names(columns, table="t")


def test_equal_names_are_refused_as_well() -> None:
    with pytest.raises(UnsupportedTableError):
        refuse_folded_names(pa.schema([("a", pa.int64()), ("a", pa.int64())]), table="t")
