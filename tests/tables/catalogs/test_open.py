"""Which lake is opened: a complete one, this one, and none made by the way."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    LakeIncompleteError,
    LakeNotFoundError,
    SettingsError,
    StorageError,
    TablesElsewhereError,
)
from tests.raising import refused
from tests.tables.factories import add, events_table, ids_of


def of_folder(settings: Settings, folder: Path) -> Settings:
    """The same settings with another state folder."""
    return replace(settings, state_dir=folder)


def filled(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        add(events_table(lake), [1])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_looking_for_a_lake_that_is_not_there_creates_nothing(settings: Settings) -> None:
    with pytest.raises(LakeNotFoundError) as caught:
        Lake.existing(settings)
    assert caught.value.state_dir == str(settings.state_dir)
    assert not settings.state_dir.exists()
    Lake.open(settings).close()
    Lake.existing(settings).close()


@pytest.mark.parametrize("name", ["catalog.db", "registry.db"])
@pytest.mark.parametrize("open_lake", [Lake.open, Lake.existing])
@pytest.mark.parametrize("emptied", [False, True])
def test_a_lost_database_is_not_an_empty_lake(
    settings: Settings, name: str, open_lake: type[Lake.open], emptied: bool
) -> None:
    filled(settings)
    for path in settings.state_dir.glob(f"{name}*"):
        path.unlink()
    if emptied:
        (settings.state_dir / name).touch()
    before = files_of(settings.state_dir)
    with pytest.raises(LakeIncompleteError) as caught:
        open_lake(settings)
    assert caught.value.missing == str(settings.state_dir / name)
    assert files_of(settings.state_dir) == before


def test_a_lake_whose_making_was_cut_short_is_made_again(settings: Settings) -> None:
    Lake.open(settings).close()
    settings.registry_file.unlink()
    with pytest.raises(LakeNotFoundError):
        Lake.existing(settings)
    Lake.open(settings).close()
    settings.catalog_file.write_bytes(b"")
    Lake.open(settings).close()


@pytest.mark.parametrize("original_stays", [True, False])
def test_a_copied_lake_is_not_the_original(settings: Settings, original_stays: bool) -> None:
    filled(settings)
    copy = of_folder(settings, settings.state_dir.with_name("copy"))
    shutil.copytree(settings.state_dir, copy.state_dir)
    if not original_stays:
        shutil.rmtree(settings.state_dir)
    before = files_of(settings.state_dir)
    for open_lake in (Lake.open, Lake.existing):
        with pytest.raises(TablesElsewhereError) as caught:
            open_lake(copy)
        assert (caught.value.example, caught.value.tables) == ("raw.events", 1)
        assert caught.value.location.startswith(str(settings.warehouse))
    assert files_of(settings.state_dir) == before


def test_tables_may_lie_elsewhere_where_settings_say_so(settings: Settings) -> None:
    filled(settings)
    copy = of_folder(settings, settings.state_dir.with_name("copy"))
    shutil.copytree(settings.state_dir, copy.state_dir)
    wrong = replace(copy, tables_also_in=(f"file://{settings.warehouse}x",))
    with pytest.raises(TablesElsewhereError):
        Lake.open(wrong)
    meant = replace(copy, tables_also_in=(f"file://{settings.warehouse}",))
    with Lake.open(meant) as lake:
        assert ids_of(lake.table("raw.events")) == [1]


def test_a_lake_is_itself_by_any_name_of_its_folder(settings: Settings, tmp_path: Path) -> None:
    filled(settings)
    (tmp_path / "link").symlink_to(settings.state_dir)
    for name in (tmp_path / "link", settings.state_dir / ".." / settings.state_dir.name):
        with Lake.existing(of_folder(settings, name)) as lake:
            add(lake.table("raw.events"), [2])
    moved = settings.state_dir.rename(tmp_path / "moved")
    settings.state_dir.symlink_to(moved)
    with Lake.existing(settings) as lake:
        assert ids_of(lake.table("raw.events")) == [1, 2, 2]


def test_where_else_tables_may_lie_is_a_list_of_places(tmp_path: Path) -> None:
    path = tmp_path / "lake" / "lake.toml"
    path.parent.mkdir()
    text = 'profile = "local"\n[profiles.local]\ntables_also_in = '
    path.write_text(f'{text}["/mnt/tables/", "s3://bucket/tables"]\n')
    found = Settings.load(env={}, path=path)
    assert found.tables_also_in == ("file:///mnt/tables", "s3://bucket/tables")
    for wrong in ('"/mnt"', "[1]", '["relative"]'):
        path.write_text(f"{text}{wrong}\n")
        with refused(SettingsError, setting="profiles.local.tables_also_in"):
            Settings.load(env={}, path=path)


def test_a_state_folder_that_may_not_be_written_is_named(settings: Settings) -> None:
    filled(settings)
    lock = settings.state_dir / "open.lock"
    lock.unlink()
    lock.mkdir()
    with refused(StorageError, path=str(settings.state_dir)):
        Lake.open(settings)
