"""A lost catalog, made again from what lies in the warehouse."""

import shutil
from pathlib import Path

from headrace.api import Lake
from headrace.config import Settings
from headrace.iceberg.standard_properties import METADATA_PATH
from headrace.storage.locations import local_path
from headrace.tables.catalogs.open import turn_to_open
from headrace.tables.commits import operations
from headrace.tables.recover import find_tables, recover_catalog
from tests.tables.factories import add, events_table, ids_of


def recovered(settings: Settings) -> list[int]:
    """Make the catalog again and read the table."""
    with turn_to_open(settings):
        recover_catalog(settings, find_tables(settings).tables)
    with Lake.existing(settings) as lake:
        return ids_of(lake.table("raw.events"))


def test_metadata_of_a_commit_that_was_refused_is_passed_over(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        add(table, [2])
        newest = Path(local_path(table.iceberg().metadata_location))
    refused = newest.with_name("00099-refused.metadata.json")
    (lists,) = {str(newest.parent / "snap-")}
    refused.write_text(newest.read_text().replace(lists, f"{lists}gone-"))
    settings.catalog_file.unlink()
    (found,) = find_tables(settings).tables
    assert found.passed_over == (refused.name,)
    assert (found.snapshots, found.files) == (2, 2)
    assert recovered(settings) == [1, 2]


def test_metadata_is_found_in_whatever_folder_of_the_table_it_lies(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        folder = f"{table.iceberg().location()}/newer/metadata"
        operations.move_properties(table, lambda _: {METADATA_PATH: folder})
        add(table, [2])
        newest = Path(local_path(table.iceberg().metadata_location))
        trash = newest.parents[2] / ".trash" / "run"
    trash.mkdir(parents=True)
    shutil.copy(newest, trash / "00099-trashed.metadata.json")
    settings.catalog_file.unlink()
    assert [each.passed_over for each in find_tables(settings).tables] == [()]
    assert recovered(settings) == [1, 2]


def test_files_without_any_metadata_are_named(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        add(events_table(lake), [1])
    shutil.rmtree(settings.warehouse / "raw" / "events" / "metadata")
    (settings.warehouse / "raw" / "empty").mkdir()
    assert find_tables(settings).unreadable == ("raw.events",)


def test_a_table_without_good_metadata_is_named(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        add(events_table(lake), [1])
        add(events_table(lake, "raw.broken"), [1])
    for path in (settings.warehouse / "raw" / "broken" / "metadata").glob("*.metadata.json"):
        path.write_bytes(b"{")
    found = find_tables(settings)
    assert [str(each.name) for each in found.tables] == ["raw.events"]
    assert found.unreadable == ("raw.broken",)


def test_the_log_of_the_lost_catalog_is_not_played_into_the_new_one(
    settings: Settings, tmp_path: Path
) -> None:
    log = Path(f"{settings.catalog_file}-wal")
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        shutil.copy(log, tmp_path / "log")
        add(table, [2])
    assert (tmp_path / "log").stat().st_size > 0
    settings.catalog_file.unlink()
    shutil.copy(tmp_path / "log", log)
    assert recovered(settings) == [1, 2]


def test_a_draft_that_a_kill_left_is_no_catalog(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        add(events_table(lake), [1])
    settings.catalog_file.rename(settings.catalog_file.with_name("catalog.db.recovering"))
    assert recovered(settings) == [1]
