"""Whatever stock PyIceberg wrote reads the same, by stock PyIceberg, after maintenance."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table
from pyiceberg.types import BinaryType, StringType

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.misread_files import refuse_folded_names
from headrace.errors import UnsupportedTableError
from headrace.maintenance.compaction.bins import CompactionPolicy
from headrace.maintenance.compaction.compact import compact
from headrace.tables.lake import LakeTable
from tests.proofs.foreign_tables import ForeignTable, comparable, foreign_tables, fresh_name
from tests.tables.catalogs.test_foreign import sql_catalog

EXAMPLES_SHORT, EXAMPLES_LONG = 6, 400
_SUPPRESSED = [
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """A catalog of stock PyIceberg with an empty namespace."""
    with sql_catalog(tmp_path) as made:
        made.create_namespace("ns")
        yield made


def keeps_its_rows(drawn: ForeignTable, catalog: Catalog, settings: Settings) -> None:
    """Maintain a table and compare what every reader sees before and after."""
    stock = drawn.create(catalog, fresh_name())
    before = comparable(stock.scan().to_arrow())
    with Lake.of(catalog, settings=settings) as lake:
        table = lake.table(".".join(stock.name()))
        compact(table, policy=CompactionPolicy(sort_by=drawn.sort_by))
        assert comparable(stock.refresh().scan().to_arrow()) == before
        assert comparable(table.head().to_arrow()) == before
        finds_every_text(stock, drawn)
        reads_alike(table, before)


def finds_every_text(stock: Table, drawn: ForeignTable) -> None:
    """Look by stock PyIceberg, which trusts bounds, for values whose bounds are easily wrong."""
    rows = [row for each in drawn.appends for row in each]
    for field in drawn.schema.fields:
        if isinstance(field.field_type, StringType | BinaryType):
            for value in {row[field.name] for row in rows} - {None}:
                found = stock.scan(row_filter=EqualTo(field.name, value)).to_arrow().num_rows
                assert found == sum(row[field.name] == value for row in rows)


def reads_alike(table: LakeTable, before: list[str]) -> None:
    """Compare what the engine shows, or see that names are why it shows nothing."""
    head = table.head()
    with DuckDBEngine.open(table.lake.settings) as engine:
        try:
            engine.bind("rows", head)
        except UnsupportedTableError:
            with pytest.raises(UnsupportedTableError):
                refuse_folded_names(head.schema, table=str(table.name))
            return
        engine.connection.execute("set arrow_lossless_conversion = true")  # a UUID is no text
        shown = engine.query("from rows").read_all().cast(head.schema)
    assert comparable(shown) == before


@hypothesis_settings(deadline=None, max_examples=EXAMPLES_SHORT, suppress_health_check=_SUPPRESSED)
@given(drawn=foreign_tables())
def test_a_foreign_table_keeps_its_rows(
    catalog: Catalog, settings: Settings, drawn: ForeignTable
) -> None:
    keeps_its_rows(drawn, catalog, settings)


@pytest.mark.proof
@pytest.mark.timeout(3_600)
@hypothesis_settings(deadline=None, max_examples=EXAMPLES_LONG, suppress_health_check=_SUPPRESSED)
@given(drawn=foreign_tables())
def test_hundreds_of_foreign_tables_keep_their_rows(
    catalog: Catalog, settings: Settings, drawn: ForeignTable
) -> None:
    keeps_its_rows(drawn, catalog, settings)
