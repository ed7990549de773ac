"""Equality deletes: every reader applies them, or refuses the table by name until a compaction."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.datasets.files import FilePlan
from headrace.dml.copy_on_write import wanted_columns
from headrace.dml.live_rows import live_rows
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import LakeError, UnsupportedReason, UnsupportedTableError
from headrace.maintenance.compaction.compact import compact
from headrace.tables.lake import LakeTable
from tests.tables.upserted import (
    FORMS,
    Form,
    beside_nulls,
    by_an_added_column,
    in_one_partition,
    of_two_columns,
    rows_of,
)

pytestmark = pytest.mark.slow
REFUSED: dict[Form, UnsupportedReason] = {
    beside_nulls: UnsupportedReason.EQUALITY_DELETES_BESIDE_NULLS,
    in_one_partition: UnsupportedReason.EQUALITY_DELETES_IN_ONE_PARTITION,
    of_two_columns: UnsupportedReason.EQUALITY_DELETES_BESIDE_NULLS,
    by_an_added_column: UnsupportedReason.EQUALITY_DELETES_BESIDE_NULLS,
}


def by_batches(lake: Lake, table: LakeTable) -> pa.Table:
    _ = lake
    return table.head().to_arrow(columns=["id", "v"])


def without_the_key(lake: Lake, table: LakeTable) -> pa.Table:
    """Read a column alone, as publishing does; the key is read beside it."""
    _ = lake
    values = table.head().to_arrow(columns=["v"])
    ids = table.head().to_arrow(columns=["id"])
    return pa.table({"id": ids.column("id"), "v": values.column("v")})


def by_the_api(lake: Lake, table: LakeTable) -> pa.Table:
    return lake.read(str(table.name)).to_arrow()


def by_file(lake: Lake, table: LakeTable) -> pa.Table:
    """Read as row-level operations and compaction do."""
    _ = lake
    version = table.head()
    wanted = wanted_columns(version)
    batches = [b for file in version.files() for b in live_rows(version, file, wanted)]
    return pa.Table.from_batches(batches, version.schema.empty_table().schema)


def by_duckdb(lake: Lake, table: LakeTable) -> pa.Table:
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("t", table.head())
        return engine.query("select id, v from t").read_all()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize(
    "read", [by_batches, without_the_key, by_the_api, by_file, by_duckdb], ids=lambda r: r.__name__
)
def test_every_reader_applies_the_deletes_or_refuses_the_table(
    lake: Lake, form: Form, read: Callable[[Lake, LakeTable], pa.Table]
) -> None:
    table, expected = form(lake)
    if read is by_duckdb and form in REFUSED:
        with pytest.raises(UnsupportedTableError) as caught:
            read(lake, table)
        assert caught.value.reason == REFUSED[form]
    else:
        assert rows_of(read(lake, table)) == expected
    compact(table)
    assert rows_of(read(lake, table)) == expected


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_the_loader_and_pyiceberg_refuse_it_until_a_compaction(lake: Lake, form: Form) -> None:
    table, expected = form(lake)
    with pytest.raises(LakeError) as caught:
        FilePlan.of(table.head())
    assert (caught.value.code, caught.value.reason) == ("unsupported-table", "delete-files")
    with pytest.raises(ValueError, match="equality deletes"):
        table.iceberg().scan().to_arrow()
    compact(table)
    assert FilePlan.of(table.head()).rows == len(expected)
    assert rows_of(table.iceberg().scan().to_arrow()) == expected
