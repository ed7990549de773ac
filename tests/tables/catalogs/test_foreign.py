"""Lakes over catalogs that other programs run: their tables, their snapshots, their errors."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.utils.config import Config

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    CatalogUnavailableError,
    DatabaseUnavailableError,
    InvalidNameError,
    SettingReason,
    SettingsError,
    UnsupportedReason,
    UnsupportedTableError,
)
from headrace.storage.locations import local_path
from headrace.tables.catalogs.declared import open_catalog
from tests.disks import held_open
from tests.raising import refused
from tests.tables.factories import EVENTS, add, events


def rows(ids: list[int]) -> pa.Table:
    return pa.Table.from_batches([events(ids)]).cast(EVENTS)


def sql_catalog(folder: Path, name: str = "theirs") -> SqlCatalog:
    return SqlCatalog(name, uri=f"sqlite:///{folder}/theirs.db", warehouse=f"file://{folder}/wh")


@pytest.fixture(params=["sql", "memory"])
def catalog(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Catalog]:
    """A catalog of stock pyiceberg with one table of one row."""
    made = (
        sql_catalog(tmp_path)
        if request.param == "sql"
        else InMemoryCatalog("theirs", warehouse=f"file://{tmp_path}/wh")
    )
    made.create_namespace("mydb")
    made.create_table("mydb.events", EVENTS).append(rows([0]))
    yield made
    made.close()


def test_a_table_of_another_catalog_is_read_and_written(
    catalog: Catalog, settings: Settings
) -> None:
    with Lake.of(catalog, settings=settings) as lake:
        assert [str(name) for name in lake.names()] == ["mydb.events"]
        table = lake.table("mydb.events")
        add(table, [1, 2])
        assert table.head().row_count == 3
    theirs = catalog.load_table("mydb.events").scan().to_arrow()
    assert sorted(theirs.column("id").to_pylist()) == [0, 1, 2]


def test_snapshots_of_another_catalog_never_expire_by_our_commits(
    catalog: Catalog, settings: Settings
) -> None:
    few = Settings(**{**settings.__dict__, "snapshots_kept": 1})
    for number in range(1, 5):
        catalog.load_table("mydb.events").append(rows([number]))
    with Lake.of(catalog, settings=few) as lake:
        table = lake.table("mydb.events")
        add(table, [5])
        add(table, [6])
        # nor is what others did recorded, which would read every snapshot's manifests
        assert len(lake.registry.commits("mydb.events")) == 2
    assert len(catalog.load_table("mydb.events").metadata.snapshots) == 7


def test_the_callers_catalog_stays_open_and_keeps_its_own_errors(
    tmp_path: Path, settings: Settings
) -> None:
    with closing(sql_catalog(tmp_path)) as catalog:
        catalog.create_namespace("mydb")
        with Lake.of(catalog, settings=settings):
            pass
        assert catalog.list_namespaces() == [("mydb",)]
        (tmp_path / "theirs.db").write_bytes(b"no database any more" * 100)
        with Lake.of(catalog, settings=settings) as lake, pytest.raises(DatabaseUnavailableError):
            lake.names()
        with pytest.raises(Exception, match="file is not a database") as found:
            catalog.list_namespaces()
        assert not isinstance(found.value, DatabaseUnavailableError)


def test_equal_names_in_two_catalogs_share_neither_locks_nor_records(
    tmp_path: Path, settings: Settings
) -> None:
    for name in ("one", "two"):
        with (
            closing(sql_catalog(tmp_path, name)) as catalog,
            Lake.of(catalog, settings=settings),
        ):
            pass
    folders = sorted(path.name for path in (settings.state_dir / "catalogs").iterdir())
    assert [name.split("-")[0] for name in folders] == ["one", "two"]


def test_without_a_lake_state_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.without_lake(env={}).state_dir == tmp_path / ".headrace"
    moved = Settings.without_lake(env={"HEADRACE_STATE_DIR": str(tmp_path / "elsewhere")})
    assert moved.state_dir == tmp_path / "elsewhere"


@pytest.mark.parametrize("name", ["MyDb.events", "mydb.events-2", "a.b.c", "mydb"])
def test_names_that_are_not_plain_are_refused_by_name(
    catalog: Catalog, settings: Settings, name: str
) -> None:
    with Lake.of(catalog, settings=settings) as lake, pytest.raises(InvalidNameError):
        lake.table(name)


def test_a_table_of_format_version_1_is_refused(catalog: Catalog, settings: Settings) -> None:
    catalog.create_table("mydb.old", EVENTS, properties={"format-version": "1"})
    with (
        Lake.of(catalog, settings=settings) as lake,
        refused(UnsupportedTableError, reason=UnsupportedReason.FORMAT_VERSION),
    ):
        lake.table("mydb.old").head()


def test_a_table_of_format_version_3_is_refused_and_stays_as_it_was(
    catalog: Catalog, settings: Settings
) -> None:
    location = Path(local_path(catalog.load_table("mydb.events").metadata_location))
    said = json.loads(location.read_text()) | {"format-version": 3, "next-row-id": 1}
    location.write_text(json.dumps(said))  # pyiceberg reads these and cannot write them
    with Lake.of(catalog, settings=settings) as lake:
        table = lake.table("mydb.events")
        for act in (table.head, lambda: add(table, [1])):
            with refused(UnsupportedTableError, reason=UnsupportedReason.FORMAT_VERSION):
                act()
    assert json.loads(location.read_text()) == said
    assert catalog.load_table("mydb.events").metadata_location.endswith(location.name)


def test_a_catalog_nobody_declared_is_named_with_where_to_declare_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    with (
        refused(SettingsError, setting="nowhere", reason=SettingReason.MISSING),
        open_catalog("nowhere"),
    ):
        pass


def test_a_declared_catalog_that_cannot_be_opened_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "theirs.db"
    database.write_bytes(b"no database" * 1000)
    monkeypatch.setenv("PYICEBERG_CATALOG__THEIRS__URI", f"sqlite:///{database}")
    # which PyIceberg reads once, when it is imported
    monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())
    with pytest.raises(CatalogUnavailableError), open_catalog("theirs"):
        pass
    assert str(database.resolve()) not in held_open()
