"""The trash of a table: where clean-up moves files, so that a mistake can be undone for a while.

A run is a folder `<table location>/.trash/<run id>` with the files under their old relative paths
and `manifest.json`, which lists them and is on disk before the first file moves. Moving is a rename:
a file is always whole, here or there.
"""

import contextlib
import datetime as dt
import json
import os
import re
import uuid
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from headrace.crash_points import crash_point
from headrace.errors import (
    CleanupTooYoungError,
    CorruptFileError,
    GarbageKeptError,
    InvalidNameError,
    StorageError,
    TrashNotFoundError,
    UnsupportedTableError,
)
from headrace.iceberg.standard_properties import collects_garbage
from headrace.identifiers import TableName
from headrace.maintenance.cleanup.listing import TRASH
from headrace.maintenance.cleanup.reachable import known_tables
from headrace.storage.locations import local_path, sync_file
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


def local_root(table: LakeTable) -> Path:
    """Return the table's folder.

    Raises:
        UnsupportedTableError: If it is not on local disk: a store without renames has no trash.

    """
    location = table.iceberg().location()
    path = local_path(location)
    if not path.startswith("/"):
        detail = f"it lies at `{location}`, and clean-up works on local files only"
        raise UnsupportedTableError(str(table.name), detail)
    return Path(path).resolve()


@contextlib.contextmanager
def folder_lock(table: LakeTable) -> Generator[None]:
    """Hold the locks of all tables that lie in the table's folder, in the order of their names."""
    root = local_root(table)
    names = {table.name}
    for each in known_tables(table.lake.catalog, asked_for=str(table.name)):
        with contextlib.suppress(InvalidNameError):  # no commit of ours can go to such a table
            if each.folder == root:
                names.add(TableName.parse(each.name))
    with contextlib.ExitStack() as locks:
        for name in sorted(names):
            locks.enter_context(table.lake.locks.hold(name))
        yield


def move_to_trash(
    root: Path, files: Sequence[TrashedFile], *, table: str, moved_at: dt.datetime
) -> str:
    """Move files into a new run, whose id is returned. The caller holds the table's lock.

    Raises:
        StorageError: If a file cannot be moved; those moved before can be restored.

    """
    run_id = f"{moved_at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"
    run = root / TRASH / run_id
    run_as_written = TrashRun(run_id=run_id, table=table, moved_at=moved_at, files=tuple(files))
    with _storage(run):
        _write_manifest(run, run_as_written)
        crash_point("cleanup.after_manifest")
        for file in files:
            target = run / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            # not forced to disk: after a power cut the file is at one of the two places, whole
            with contextlib.suppress(FileNotFoundError):  # pruned by a commit of another host
                (root / file.path).rename(target)
            crash_point("cleanup.after_move")
    return run_id


def trash_list(table: LakeTable) -> tuple[TrashRun, ...]:
    """List the runs that can be restored, oldest first, with the files that are still there.

    Raises:
        CorruptFileError: If a run's manifest is damaged.
        UnsupportedTableError: See `local_root`.

    """
    folders = _runs(local_root(table))
    return tuple(_read(folder) for folder in folders if (folder / _MANIFEST).exists())


def find_run(table: LakeTable, run_id: str) -> TrashRun:
    """Return one run.

    Raises:
        TrashNotFoundError: Listing the runs there are.

    """
    runs = trash_list(table)
    for run in runs:
        if run.run_id == run_id:
            return run
    raise TrashNotFoundError(str(table.name), run_id, known=tuple(each.run_id for each in runs))


def restore(table: LakeTable, run_id: str, *, now: dt.datetime | None = None) -> RestoreResult:
    """Move a run's files back to where they were; their bytes are the same, their age starts anew.

    A file whose place is taken stays in the trash. May be run again after a crash.

    Raises:
        TrashNotFoundError: If there is no such run.
        StorageError: If a file cannot be moved; the others are where they were.

    """
    now = now or dt.datetime.now(dt.UTC)
    root = local_root(table)
    with folder_lock(table):
        run = find_run(table, run_id)
        folder = root / TRASH / run_id
        back: list[TrashedFile] = []
        in_the_way: list[str] = []
        with _storage(folder):
            for file in run.files:
                source, target = folder / file.path, root / file.path
                if target.exists():
                    in_the_way.append(file.path)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                # else the next clean-up would take at once what somebody wanted back
                os.utime(source, (now.timestamp(), now.timestamp()))
                source.rename(target)
                back.append(file)
                crash_point("cleanup.after_restore")
            for file in back:
                sync_file(str(root / file.path))
            if not in_the_way:
                _remove_run(folder)
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
    before = (now or dt.datetime.now(dt.UTC)) - dt.timedelta(seconds=age_s)
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
    root = local_root(table)
    with folder_lock(table):
        if not collects_garbage(table.iceberg().properties):
            raise GarbageKeptError(str(table.name), refused="emptying the trash")
        runs = emptiable(table, older_than_s=older_than_s, now=now)
        for run in runs:
            folder = root / TRASH / run.run_id
            with _storage(folder):
                for file in run.files:
                    (folder / file.path).unlink(missing_ok=True)
                    crash_point("cleanup.after_delete")
                _remove_run(folder)
        for folder in _runs(root):
            if not (folder / _MANIFEST).exists():  # of a run that died before it moved anything
                _remove_run(folder)
    return runs


@contextlib.contextmanager
def _storage(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError.of(str(error.filename or folder), error) from error


def _write_manifest(folder: Path, run: TrashRun) -> None:
    folder.mkdir(parents=True)
    content = {**asdict(run), "format": _FORMAT, "moved_at": run.moved_at.isoformat()}
    draft = folder / f".{_MANIFEST}"
    draft.write_text(json.dumps(content, indent=1))
    sync_file(str(draft))
    draft.rename(folder / _MANIFEST)
    sync_file(str(folder / _MANIFEST))
    for made in (folder, folder.parent):
        sync_file(str(made))


def _read(folder: Path) -> TrashRun:
    path = folder / _MANIFEST
    try:
        content = json.loads(path.read_text())
        files = [TrashedFile(**each) for each in content["files"]]
        moved_at = dt.datetime.fromisoformat(content["moved_at"])
        run = TrashRun(
            run_id=folder.name, table=content["table"], moved_at=moved_at, files=tuple(files)
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptFileError(str(path), f"it is no list of files: {error}") from error
    for file in files:
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
            raise CorruptFileError(str(path), f"`{file.path[:200]}` leads out of the table")
    there = [file for file in files if (folder / file.path).is_file()]
    return TrashRun(run_id=run.run_id, table=run.table, moved_at=run.moved_at, files=tuple(there))


def _runs(root: Path) -> list[Path]:
    trash = root / TRASH
    found = trash.iterdir() if trash.is_dir() else ()
    return sorted(path for path in found if _RUN_ID.fullmatch(path.name))


def _remove_run(folder: Path) -> None:
    """Remove what is left of a run once none of its files is in it; the manifest goes last."""
    below = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
    with contextlib.suppress(OSError):  # somebody put a file of his own there: it stays
        for path in below:
            path.rmdir()
        (folder / _MANIFEST).unlink(missing_ok=True)
        (folder / f".{_MANIFEST}").unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()
