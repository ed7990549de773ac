"""The trash of a table: clean-up moves files there, so that they can be restored for some days.

A run is a folder `<table location>/.trash/<run id>` with the files under their old relative paths
and `manifest.json`, which lists them and is durable before the first file moves. A file is always
whole, at its old place or in the trash.
"""

import contextlib
import datetime as dt
import json
import re
import uuid
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from headrace.crash_points import crash_point
from headrace.errors import (
    CleanupTooYoungError,
    CorruptFileError,
    GarbageKeptError,
    InvalidNameError,
    StorageError,
    TrashNotFoundError,
)
from headrace.iceberg.standard_properties import collects_garbage
from headrace.identifiers import TableName
from headrace.maintenance.cleanup.known_tables import known_tables
from headrace.maintenance.cleanup.listing import TRASH
from headrace.storage.folders import Folders, Kind
from headrace.storage.open import folders_of
from headrace.tables.lake import LakeTable

_MANIFEST = "manifest.json"
_FORMAT = 1
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True, kw_only=True)
class TrashedFile:
    """One file; `path` is relative to the table's location."""

    path: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class TrashRun:
    """What one clean-up moved and is still in the trash."""

    run_id: str
    table: str
    moved_at: dt.datetime
    files: tuple[TrashedFile, ...]

    @property
    def bytes(self) -> int:
        """Bytes that emptying the trash would free."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, kw_only=True)
class RestoreResult:
    """What came back. `in_the_way` are files that stay in the trash as another has their place."""

    run_id: str
    files: int
    bytes: int
    in_the_way: tuple[str, ...]


def root_of(table: LakeTable) -> tuple[Folders, str]:
    """Return the store that holds a table, and the table's place in it.

    Raises:
        UnsupportedTableError: If it is neither on a local disk nor on S3.

    """
    found = table.iceberg()
    location = found.location()
    store = folders_of(location, found.io, table=str(table.name))
    return store, store.place(location) or location


@contextlib.contextmanager
def folder_lock(table: LakeTable) -> Generator[None]:
    """Hold the locks of all tables that lie in the table's folder, in the order of their names."""
    store, root = root_of(table)
    names = {table.name}
    for each in known_tables(table.lake.catalog, asked_for=str(table.name)):
        with contextlib.suppress(InvalidNameError):  # no commit of ours can go to such a table
            if each.folder(store) == root:
                names.add(TableName.parse(each.name))
    with contextlib.ExitStack() as locks:
        for name in sorted(names):
            locks.enter_context(table.lake.locks.hold(name))
        yield


def move_to_trash(
    store: Folders,
    *,
    root: str,
    files: Sequence[TrashedFile],
    table: str,
    moved_at: dt.datetime,
) -> str:
    """Move files into a new run, whose id is returned. The caller holds the table's lock.

    Raises:
        StorageError: If a file cannot be moved; those moved before can be restored.

    """
    run_id = f"{moved_at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
    folder = f"{root}/{TRASH}/{run_id}"
    run = TrashRun(run_id=run_id, table=table, moved_at=moved_at, files=tuple(files))
    content = {**asdict(run), "format": _FORMAT, "moved_at": moved_at.isoformat()}
    store.write(f"{folder}/{_MANIFEST}", json.dumps(content, indent=1).encode())
    crash_point("cleanup.after_manifest")
    for file in files:
        # not synced: after a power cut the file is at one of the two places, whole
        with contextlib.suppress(FileNotFoundError):  # pruned by a commit of another host
            store.move(f"{root}/{file.path}", f"{folder}/{file.path}")
        crash_point("cleanup.after_move")
    return run_id


def trash_list(table: LakeTable) -> tuple[TrashRun, ...]:
    """List the runs that can be restored, oldest first, with the files that are still there.

    Raises:
        CorruptFileError: If a run's manifest is damaged.
        UnsupportedTableError: See `root_of`.

    """
    store, root = root_of(table)
    runs: list[TrashRun] = []
    for run in _runs(store, root):
        try:
            if store.exists(f"{run}/{_MANIFEST}"):
                runs.append(_read(store, run))
        except CorruptFileError:
            if store.exists(f"{run}/{_MANIFEST}"):  # else it was emptied or restored meanwhile
                raise
    return tuple(runs)


def find_run(table: LakeTable, run_id: str) -> TrashRun:
    """Return one run.

    Raises:
        TrashNotFoundError: If there is none of this id; lists the runs there are.

    """
    runs = trash_list(table)
    for run in runs:
        if run.run_id == run_id:
            return run
    raise TrashNotFoundError(str(table.name), run_id, known=tuple(each.run_id for each in runs))


def restore(table: LakeTable, run_id: str, *, now: dt.datetime | None = None) -> RestoreResult:
    """Move a run's files back to where they were; their bytes are the same, their age counts from now.

    A file whose place is taken stays in the trash. May be run again after a crash.

    Raises:
        TrashNotFoundError: If there is no such run.
        StorageError: If a file cannot be moved; the others are where they were.

    """
    now = now or table.lake.now()
    store, root = root_of(table)
    with folder_lock(table):
        run = find_run(table, run_id)
        folder = f"{root}/{TRASH}/{run_id}"
        back: list[TrashedFile] = []
        in_the_way: list[str] = []
        for file in run.files:
            source, target = f"{folder}/{file.path}", f"{root}/{file.path}"
            try:
                # with a new age, or the next clean-up would move the file again at once
                store.move(source, target, renewed_at_s=now.timestamp())
            except FileExistsError:
                in_the_way.append(file.path)
                continue
            except FileNotFoundError as error:
                raise StorageError.of(source, error) from error
            back.append(file)
            crash_point("cleanup.after_restore")
        for file in back:
            store.sync(f"{root}/{file.path}")
        if not in_the_way:
            _remove_run(store, folder)
    return RestoreResult(
        run_id=run_id,
        files=len(back),
        bytes=sum(file.bytes for file in back),
        in_the_way=tuple(in_the_way),
    )


def emptiable(
    table: LakeTable, *, older_than_s: float | None = None, now: dt.datetime | None = None
) -> tuple[TrashRun, ...]:
    """List the runs whose files `empty_trash` would delete.

    Raises:
        CleanupTooYoungError: If `older_than_s` is less than the lake's `trash_days`.

    """
    settings = table.lake.settings
    age_s = settings.trash_age_s if older_than_s is None else older_than_s
    if age_s < settings.trash_age_s:
        raise CleanupTooYoungError(
            str(table.name),
            asked_s=age_s,
            floor_s=settings.trash_age_s,
            setting=f"profiles.{settings.profile}.trash_days",
        )
    before = (now or table.lake.now()) - dt.timedelta(seconds=age_s)
    return tuple(run for run in trash_list(table) if run.moved_at <= before)


def empty_trash(
    table: LakeTable, *, older_than_s: float | None = None, now: dt.datetime | None = None
) -> tuple[TrashRun, ...]:
    """Delete the files of runs that are beyond the restore window, for good; return those runs.

    Raises:
        CleanupTooYoungError: If `older_than_s` is less than the lake's `trash_days`.
        GarbageKeptError: If the table says `gc.enabled=false`.
        StorageError: If a file cannot be deleted.

    """
    store, root = root_of(table)
    with folder_lock(table):
        if not collects_garbage(table.iceberg().properties):
            raise GarbageKeptError(str(table.name), refused="emptying the trash")
        runs = emptiable(table, older_than_s=older_than_s, now=now)
        for run in runs:
            folder = f"{root}/{TRASH}/{run.run_id}"
            for file in run.files:
                store.delete(f"{folder}/{file.path}")
                crash_point("cleanup.after_delete")
            _remove_run(store, folder)
        for folder in _runs(store, root):
            if not store.exists(f"{folder}/{_MANIFEST}"):  # the run died before it moved anything
                _remove_run(store, folder)
    return runs


def _read(store: Folders, folder: str) -> TrashRun:
    path = f"{folder}/{_MANIFEST}"
    try:
        content = json.loads(store.read(path))
        files = [TrashedFile(**each) for each in content["files"]]
        moved_at = dt.datetime.fromisoformat(content["moved_at"])
        run = TrashRun(
            run_id=_name(folder), table=content["table"], moved_at=moved_at, files=tuple(files)
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptFileError(path, f"it is not a list of files: {error}") from error
    for file in files:
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
            raise CorruptFileError(path, f"`{file.path[:200]}` leads out of the table")
    there = [file for file in files if store.exists(f"{folder}/{file.path}")]
    return TrashRun(run_id=run.run_id, table=run.table, moved_at=run.moved_at, files=tuple(there))


def _runs(store: Folders, root: str) -> list[str]:
    found = (each.location for each in store.list(f"{root}/{TRASH}"))
    return sorted(each for each in found if _RUN_ID.fullmatch(_name(each)))


def _remove_run(store: Folders, folder: str) -> None:
    """Remove the rest of a run that holds none of its files any more; the manifest goes last."""
    with contextlib.suppress(OSError, StorageError):
        below = [each.location for each in store.list(folder) if each.kind is Kind.FOLDER]
        for each in below:
            store.prune(each)
        if any(each.kind is Kind.FOLDER for each in store.list(folder)):
            return  # someone put a file of their own there: it stays
        store.delete(f"{folder}/{_MANIFEST}")
        for each in store.list(folder):
            if each.name.startswith(f".{_MANIFEST}"):  # drafts of a writer that was killed
                store.delete(each.location)
        store.prune(folder)
        trash = folder.rpartition("/")[0]
        if not store.list(trash):
            store.prune(trash)


def _name(location: str) -> str:
    return location.rpartition("/")[2]
