"""A lake whose catalog is a REST catalog that another program runs."""

import threading
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.recover import plan_recovery
from headrace.errors import (
    CatalogUnavailableError,
    DatabaseUnavailableError,
    LakeOnServersError,
    SettingReason,
    SettingsError,
)
from headrace.maintenance.compaction.compact import compact
from headrace.tables.catalogs.file_locks import FileLocks
from headrace.tables.refs.refs import tag, tags
from tests.raising import refused
from tests.rest_catalog import RestCatalog, rest_catalog
from tests.tables.factories import add, events_table, ids_of
from tests.tables.no_locks import NoLocks
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow


@pytest.fixture
def rest(tmp_path: Path) -> Generator[RestCatalog]:
    with rest_catalog(tmp_path) as found:
        yield found


@pytest.fixture
def shared(settings: Settings, rest: RestCatalog) -> Settings:
    return replace(settings, catalog=f"rest+{rest.uri}")


def files_of(lake: Lake) -> list[str]:
    """List the data files of the newest snapshot, one for each time it names them."""
    return [task.file.file_path for task in lake.table("raw.events").iceberg().scan().plan_files()]


def test_tables_of_a_rest_catalog_are_written_tagged_and_compacted(shared: Settings) -> None:
    with Lake.open(shared) as lake:
        assert isinstance(
            lake.locks, FileLocks
        )  # of this host: across hosts commits are optimistic
        table = events_table(lake)
        first = add(table, [1])
        tag(table, "v1", snapshot_id=first.snapshot_id)
        add(table, [2])
        compact(table)
    with Lake.existing(shared) as lake:
        table = lake.table("raw.events")
        assert ids_of(table) == [1, 2]
        assert tags(table) == {"v1": first.snapshot_id}
        assert table.at(tag="v1").to_arrow()["id"].to_pylist() == [1]
        assert len(lake.registry.commits("raw.events")) == 3


def test_a_lost_answer_lists_no_file_twice(shared: Settings, rest: RestCatalog) -> None:
    with Lake.open(shared) as lake:
        table = events_table(lake)
        rest.lost = 1
        commit = add(table, [1])
        rest.lost = 1
        tag(table, "v1", snapshot_id=commit.snapshot_id)
        add(table, [2])
        assert ids_of(table) == [1, 2]
        assert tags(table) == {"v1": commit.snapshot_id}
        assert len(files_of(lake)) == len(set(files_of(lake))) == 2
        assert len(table.iceberg().metadata.snapshots) == 2


def test_hosts_that_race_without_a_common_lock_lose_nothing(
    shared: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lake.open(shared) as one, Lake.open(replace(shared, state_dir=tmp_path / "b")) as two:
        events_table(one)
        for lake in (one, two):
            monkeypatch.setattr(lake, "locks", NoLocks())

        def append(lake: Lake, first: int) -> None:
            for number in range(4):
                add(lake.table("raw.events"), [first + number])

        threads = [threading.Thread(target=append, args=pair) for pair in ((one, 0), (two, 10))]
        for each in threads:
            each.start()
        for each in threads:
            each.join(WAIT_S)
        assert ids_of(one.table("raw.events")) == [*range(4), *range(10, 14)]


def test_what_the_catalog_refuses_or_does_not_answer_is_named(
    shared: Settings, rest: RestCatalog
) -> None:
    with Lake.open(shared) as lake:
        table = events_table(lake)
        rest.refused = 1
        with pytest.raises(CatalogUnavailableError):
            table.head()
        nowhere = replace(shared, catalog="rest+http://127.0.0.1:9")
        with pytest.raises((CatalogUnavailableError, DatabaseUnavailableError)):
            Lake.open(nowhere)
        with pytest.raises(SettingsError):
            Lake.open(replace(shared, catalog="undeclared"))
        with pytest.raises(LakeOnServersError):
            plan_recovery(shared)


def test_a_catalog_is_one_of_two(tmp_path: Path) -> None:
    file = tmp_path / "lake" / "lake.toml"
    file.parent.mkdir()
    file.write_text('[profiles.local]\ncatalog = "rest+http://there:8181"\n')
    assert Settings.load(env={}, path=file).catalog == "rest+http://there:8181"
    with refused(SettingsError, reason=SettingReason.SET_TWICE):
        Settings.load(env={"HEADRACE_CATALOG_URI": "postgresql://a/b"}, path=file)
