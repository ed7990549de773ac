"""Files that some readers misread or refuse: found by health, mended by compaction."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog

from headrace.api import Lake
from headrace.config import Settings
from headrace.maintenance.compaction.compact import compact
from headrace.maintenance.compaction.plan import plan_compaction
from headrace.maintenance.health.health import HealthPart, health
from headrace.tables.flaws import Flaw, find_flaws
from headrace.tables.lake import LakeTable
from tests.tables.catalogs.test_foreign import sql_catalog
from tests.tables.flawed import FLAWED, GROUP_ROWS, NAME, ROW_GROUP_ROWS, rows, stock_table


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with sql_catalog(tmp_path) as made:
        yield made


def flawed(table: LakeTable) -> HealthPart:
    return next(each for each in health(table).parts if each.name == "flawed files")


@pytest.mark.parametrize("flaw", Flaw)
def test_a_flawed_file_is_found_and_mended(
    catalog: Catalog, settings: Settings, tmp_path: Path, flaw: Flaw
) -> None:
    FLAWED[flaw](catalog, tmp_path)
    with Lake.of(catalog, settings=settings) as lake:
        table = lake.table(NAME)
        before = table.head().to_arrow().to_pylist()
        assert (flawed(table).penalty, flaw.value in flawed(table).finding) == (60, True)

        assert compact(table).files_before == 1

        assert table.head().to_arrow().to_pylist() == before
        assert flawed(table).penalty == 0
        assert not plan_compaction(table.head(), target_bytes=1024)


def test_a_sound_table_costs_no_look_at_its_files(catalog: Catalog, settings: Settings) -> None:
    table = stock_table(catalog)
    table.append(rows("b"))
    with Lake.of(catalog, settings=settings) as lake:
        head = lake.table(NAME).head()
        for file in head.files():
            Path(file.path).unlink()
        assert find_flaws(head, head.files()) == {}


def test_row_groups_that_all_have_bounds_are_no_flaw(catalog: Catalog, settings: Settings) -> None:
    table = stock_table(catalog, {ROW_GROUP_ROWS: str(GROUP_ROWS)})
    table.append(rows("b"))
    with Lake.of(catalog, settings=settings) as lake:
        (file,) = lake.table(NAME).head().files()
        assert pq.read_metadata(file.path).num_row_groups > 1
        assert find_flaws(lake.table(NAME).head(), [file]) == {}
