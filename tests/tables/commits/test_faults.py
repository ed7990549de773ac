"""Faults below the tables: a locked, damaged or full disk or database, and what is left then."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy.exc import OperationalError

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    CatalogBusyError,
    CommitConflictError,
    ConflictReason,
    CorruptFileError,
    DatabaseDamagedError,
    DatabaseFullError,
    DatabaseUnavailableError,
    StorageError,
    StorageFullError,
)
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.identifiers import TableName
from headrace.registry import Registry, error_of
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.adopt import fresh
from headrace.tables.commits.operations import Provenance
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.disks import held_open, room_for
from tests.raising import refused
from tests.tables.factories import EVENTS, add, events, events_table, ids_of


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a database's write lock, as a process that hangs inside a transaction does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        yield
        connection.execute("rollback")


def impatient(lake: Lake) -> Lake:
    """Return the same lake with databases that wait 50 ms for a lock instead of 30 s."""
    settings = lake.settings
    catalog = MemoCatalog(
        "lake", uri=f"{settings.catalog_uri}?timeout=0.05", warehouse=f"file://{settings.warehouse}"
    )
    return Lake(settings, catalog, Registry(settings.registry_uri, wait_s=0.05))


def test_every_file_that_a_commit_names_is_forced_to_disk_before_it_counts(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    sync = os.fsync

    def note_and_sync(handle: int) -> None:
        synced.add(str(Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", note_and_sync)  # only a power cut shows it otherwise
    add(events_table(lake), [1])
    written = {str(path) for path in lake.settings.warehouse.rglob("*") if path.is_file()}
    assert len(written) == 5  # two metadata files, a manifest list, a manifest, a data file
    assert written <= synced


def test_a_commit_that_landed_does_not_fail_because_the_registry_is_locked(lake: Lake) -> None:
    with impatient(lake) as other:
        table = events_table(other)
        add(table, [1])
        with locked(lake.settings.state_dir / "registry.db"):
            add(table, [2])
        assert ids_of(table) == [1, 2]
        add(table, [3])
        assert [each.rows_added for each in other.registry.commits("raw.events")] == [1, 1, 1]


def test_snapshots_stay_until_the_registry_has_them_on_record(settings: Settings) -> None:
    few = Settings(**{**settings.__dict__, "snapshots_kept": 2})
    with Lake.open(few) as lake, impatient(lake) as other:
        table = events_table(other)
        with locked(few.state_dir / "registry.db"):
            for i in range(6):
                add(table, [i])
            assert len(table.iceberg().metadata.snapshots) == 6
        add(table, [6])
        assert len(table.iceberg().metadata.snapshots) <= 4
        assert len(other.registry.commits("raw.events")) == 7


def _create(lake: Lake) -> None:
    lake.create(TableName("raw", "other"), EVENTS)


def _evolve(lake: Lake) -> None:
    wider = EVENTS.append(pa.field("extra", pa.int64()))
    lake.create(TableName("raw", "events"), wider, partition_by=["day(event_time)"])


def _append(lake: Lake) -> None:
    operations.append(lake.table("raw.events"), [], provenance=Provenance())


def _tag(lake: Lake) -> None:
    table = lake.table("raw.events")
    snapshot_id = table.head().snapshot_id
    assert snapshot_id is not None
    refs.tag(table, "v1", snapshot_id=snapshot_id)


@pytest.mark.parametrize("act", [_create, _evolve, _append, _tag])
def test_a_locked_catalog_is_named_and_nothing_changes(
    lake: Lake, act: Callable[[Lake], None]
) -> None:
    table = events_table(lake)
    add(table, [1])
    before = table.iceberg().metadata_location
    named = pytest.raises((DatabaseUnavailableError, CatalogBusyError))
    with impatient(lake) as other, locked(lake.settings.state_dir / "catalog.db"), named:
        act(other)
    assert table.iceberg().metadata_location == before
    assert [str(name) for name in lake.names()] == ["raw.events"]
    act(lake)


@pytest.mark.parametrize("name", ["catalog.db", "registry.db"])
def test_a_damaged_database_is_named_when_the_lake_opens(settings: Settings, name: str) -> None:
    Lake.open(settings).close()
    for path in settings.state_dir.glob(f"{name}*"):
        path.write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseDamagedError) as caught:
        Lake.open(settings)
    assert caught.value.path == str(settings.state_dir / name)
    assert not caught.value.retryable  # the same would be found again
    assert "is intact" not in str(caught.value)  # nobody knows
    databases = {
        str((settings.state_dir / each).resolve()) for each in ("catalog.db", "registry.db")
    }
    assert not databases & held_open()  # though `caught` keeps alive what was half made


@pytest.mark.parametrize(
    "make",
    [
        lambda uri, folder: MemoCatalog("lake", uri=f"{uri}?timeout=0.05", warehouse=folder),
        lambda uri, _: Registry(uri, wait_s=0.05),
    ],
    ids=["catalog", "registry"],
)
def test_a_database_that_cannot_be_made_now_is_closed(
    tmp_path: Path, make: Callable[[str, str], object]
) -> None:
    path = tmp_path / "made.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
    named = pytest.raises((OperationalError, DatabaseUnavailableError))
    with locked(path), named as caught:
        make(f"sqlite:///{path}", f"file://{tmp_path}")
    assert str(path.resolve()) not in held_open()
    assert caught.tb  # which keeps alive what was half made


def test_a_database_without_room_is_a_full_disk_and_a_commit_that_landed_is_one(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, [1])
    with lake.registry.engine.connect() as connection:
        (pages,) = connection.exec_driver_sql("pragma page_count").one()
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")
    note = "x" * 100_000
    with pytest.raises(DatabaseFullError) as caught:
        lake.registry.claim_dataset("clicks", 1, lockfile=note)
    assert isinstance(caught.value, StorageFullError)
    assert caught.value.path == str(lake.settings.state_dir / "registry.db")
    assert Path(caught.value.disk).is_dir()
    assert caught.value.free_bytes is not None
    provenance = Provenance(notes={"note": note}, code=note)
    operations.append(table, write_batches(table, [events([2])]), provenance=provenance)
    assert ids_of(table) == [1, 2]


def test_a_catalog_without_room_refuses_at_once_and_leaves_no_file(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    before = {path for path in lake.settings.warehouse.rglob("*") if path.is_file()}
    calls: list[object] = []

    def without_room(*arguments: object) -> object:
        calls.append(arguments)
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error_of("catalog", error, path=str(lake.settings.state_dir / "catalog.db"))

    files = write_batches(table, [events([2])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake.catalog, "commit_table", without_room)
        with pytest.raises(DatabaseFullError), fresh(table, files):
            operations.append(table, files, provenance=Provenance())
    assert len(calls) == 1
    assert {path for path in lake.settings.warehouse.rglob("*") if path.is_file()} == before


def test_a_state_folder_that_cannot_be_made_is_named(settings: Settings) -> None:
    settings.state_dir.write_text("a file in the way")
    with refused(StorageError, path=str(settings.state_dir)):
        Lake.open(settings)


@pytest.mark.parametrize("damage", [b"", b'{"format-version": 2', b'{"format-version": 2}'])
def test_a_damaged_metadata_file_is_named(settings: Settings, damage: bytes) -> None:
    with Lake.open(settings) as lake:
        location = events_table(lake).head().metadata_location
    Path(location).write_bytes(damage)
    with Lake.open(settings) as lake, refused(CorruptFileError, path=f"file://{location}"):
        lake.table("raw.events").head()


@pytest.mark.parametrize("pattern", ["snap-*.avro", "*-m0.*avro"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_missing_or_cut_manifest_is_named(settings: Settings, pattern: str, share: float) -> None:
    with Lake.open(settings) as lake:
        add(events_table(lake), [1])
    (path,) = settings.warehouse.rglob(pattern)
    content = path.read_bytes()
    for damage in (lambda: path.write_bytes(content[: int(len(content) * share)]), path.unlink):
        damage()
        with Lake.open(settings) as lake, pytest.raises(CorruptFileError) as named:
            lake.table("raw.events").head().files()
        assert Path(local_path(named.value.path)) == path


@pytest.mark.parametrize("bytes_max", [0, 100, 4_200])
def test_a_commit_without_room_on_the_disk_is_named_and_the_last_one_is_intact(
    settings: Settings, bytes_max: int
) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        add(table, [1])
        before = {path for path in settings.warehouse.rglob("*") if path.is_file()}
        files = write_batches(table, [events([2])])
        with room_for(bytes_max), pytest.raises(StorageFullError), fresh(table, files):
            operations.append(table, files, provenance=Provenance())
        # neither metadata nor the rows that could not be committed take room from the next try
        assert {path for path in settings.warehouse.rglob("*") if path.is_file()} == before
        assert ids_of(table) == [1]
        add(table, [2])
        assert ids_of(table) == [1, 2]


def test_a_table_that_was_made_anew_meanwhile_does_not_get_files_of_the_old_one(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    files = write_batches(table, [events([1])])
    swap = lake.catalog.commit_table

    def make_anew_then_swap(*arguments: object) -> object:
        monkeypatch.setattr(lake.catalog, "commit_table", swap)
        lake.catalog.drop_table("raw.events")
        events_table(lake)
        return swap(*arguments)  # pyright: ignore[reportArgumentType]

    # the moment between the load and the swap cannot be hit from outside
    monkeypatch.setattr(lake.catalog, "commit_table", make_anew_then_swap)
    with refused(CommitConflictError, reason=ConflictReason.TABLE_RECREATED):
        operations.append(table, files, provenance=Provenance())
    assert ids_of(table) == []


def test_a_tag_made_behind_the_committers_back_keeps_its_snapshot(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Settings(**{**settings.__dict__, "snapshots_kept": 2})
    with Lake.open(few) as lake:
        table = events_table(lake)
        first = add(table, [0])
        add(table, [1])
        add(table, [2])
        add(table, [3])
        swap = lake.catalog.commit_table

        def tag_then_swap(*arguments: object) -> object:
            monkeypatch.setattr(lake.catalog, "commit_table", swap)
            # another host, or another program, does not take this host's lock
            tagging = table.iceberg().manage_snapshots()
            tagging.create_tag(first.snapshot_id, "v1").commit()
            return swap(*arguments)  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(lake.catalog, "commit_table", tag_then_swap)
        for i in range(4, 8):
            add(table, [i])
        assert refs.tags(table) == {"v1": first.snapshot_id}
        assert table.at(tag="v1").row_count == 1
        assert local_path(table.iceberg().location())
