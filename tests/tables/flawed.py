"""Tables of stock PyIceberg with files that some readers misread or refuse."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from headrace.iceberg.standard_properties import COMPRESSION_CODEC, ROW_GROUP_ROWS
from headrace.tables.flaws import Flaw

NAME = "ns.t"
COLUMNS = pa.schema([pa.field("id", pa.int64()), pa.field("s", pa.string())])
LONG = "z" * 5_000  # pyarrow keeps no minimum and maximum of a row group with such a text
ROWS, GROUP_ROWS = 300, 100


def stock_table(catalog: Catalog, properties: Mapping[str, str] | None = None) -> Table:
    catalog.create_namespace_if_not_exists("ns")
    return catalog.create_table(NAME, schema=COLUMNS, properties=dict(properties or {}))


def rows(last: str) -> pa.Table:
    return pa.table([range(ROWS), [*(f"a{n:03}" for n in range(ROWS - 1)), last]], schema=COLUMNS)


def unproved_bounds(catalog: Catalog, _folder: Path) -> Table:
    """One file whose bounds come from two of its three row groups."""
    table = stock_table(catalog, {ROW_GROUP_ROWS: str(GROUP_ROWS)})
    table.append(rows(LONG))
    return table


def unmarked_text(catalog: Catalog, folder: Path) -> Table:
    """A file that was migrated from Hive or Impala, which did not mark text as text."""
    table = stock_table(catalog)
    path = folder / "migrated.parquet"
    pq.write_table(rows("ü").cast(pa.schema([("id", pa.int64()), ("s", pa.binary())])), path)
    take_over(table, path, rows=ROWS)
    return table


def other_codec(catalog: Catalog, _folder: Path) -> Table:
    """A file with the LZ4 of pyarrow."""
    table = stock_table(catalog, {COMPRESSION_CODEC: "lz4"})
    table.append(rows("ü"))
    return table


def take_over(table: Table, path: Path, *, rows: int) -> None:
    """Add a file without field ids to a table, as migrations do."""
    mapping = table.schema().name_mapping.model_dump_json()
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=f"file://{path}",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=rows,
        file_size_in_bytes=path.stat().st_size,
    )
    file.spec_id = 0
    with table.transaction() as change:
        change.set_properties({"schema.name-mapping.default": mapping})
        with change.update_snapshot().fast_append() as update:
            update.append_data_file(file)


FLAWED: Mapping[Flaw, Callable[[Catalog, Path], Table]] = {
    Flaw.UNPROVED_BOUNDS: unproved_bounds,
    Flaw.UNMARKED_TEXT: unmarked_text,
    Flaw.CODEC: other_codec,
}
