"""Published dataset versions: where they are, which there are, and opening one."""

from dataclasses import dataclass, replace

from headrace.config import Settings
from headrace.datasets.files import FilePlan
from headrace.datasets.lockfile import Lockfile, tag_name
from headrace.datasets.shown import html_of, line_of
from headrace.errors import (
    DatasetChangedError,
    DatasetNotFoundError,
    DatasetReason,
    SnapshotNotFoundError,
)
from headrace.storage.folders import Folders
from headrace.storage.locations import local_path
from headrace.storage.open import folders_at
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

# States of a version in the registry.
CLAIMED, PUBLISHED, ABANDONED = "claimed", "published", "abandoned"


@dataclass(frozen=True)
class Dataset:
    """One published version, ready to read: exactly the rows of `files`, at `version`."""

    lock: Lockfile
    files: FilePlan
    version: TableVersion

    def __repr__(self) -> str:
        return f"Dataset({line_of(self.lock)})"

    def _repr_html_(self) -> str:
        return html_of(self.lock)


def documents_of(settings: Settings) -> Folders:
    """Return the store that holds lockfiles and file plans."""
    access = {} if settings.s3 is None else settings.s3.file_io()
    return folders_at(settings.datasets_uri, access)


def lockfile_path(settings: Settings, name: str, version: int) -> str:
    """Return where a version's lockfile is: a path, or a location on S3."""
    return f"{local_path(settings.datasets_uri)}/{tag_name(name, version)}.lock.json"


def file_plan_path(settings: Settings, name: str, version: int) -> str:
    """Return where a version's file plan is: a path, or a location on S3."""
    return f"{local_path(settings.datasets_uri)}/{tag_name(name, version)}.files.parquet"


def list_datasets(lake: OpenLake, name: str | None = None) -> list[Lockfile]:
    """List the published versions of one dataset, or of all, by name and version."""
    return [
        Lockfile.from_json(record.lockfile, source=tag_name(record.name, record.version))
        for record in lake.registry.datasets(name)
        if record.state == PUBLISHED
    ]


def find_lockfile(lake: OpenLake, name: str, version: int | None = None) -> Lockfile:
    """Return the lockfile of a published version, by default the newest.

    Raises:
        DatasetNotFoundError: Listing what is published.

    """
    mine = list_datasets(lake, name)
    for lock in reversed(mine):
        if version is None or lock.version == version:
            return lock
    known = tuple(f"`{lock.name}` v{lock.version}" for lock in mine or list_datasets(lake))
    raise DatasetNotFoundError(name, version, known=known)


def load_dataset(lake: OpenLake, name: str, version: int | None = None) -> Dataset:
    """Open a published version, by default the newest.

    Checks that its snapshot is alive and that the file plan holds as many rows as the lockfile
    says; `verify` reads them.

    Raises:
        DatasetNotFoundError: If it is not published.
        DatasetChangedError: If its snapshot or its files are no longer what was locked.

    """
    lock = find_lockfile(lake, name, version)
    pinned = pinned_samples(lake, lock)
    path = file_plan_path(lake.settings, lock.name, lock.version)
    store = documents_of(lake.settings)
    if not store.exists(path):
        detail, reason = f"its file plan `{path}` is gone", DatasetReason.FILE_PLAN_GONE
        raise DatasetChangedError(lock.name, lock.version, detail, reason=reason)
    files = replace(FilePlan.read(path, store=store), schema=pinned.pinned_schema, io=pinned.io)
    if files.rows != lock.rows:
        detail = f"its file plan holds {files.rows} rows, expected {lock.rows}"
        reason = DatasetReason.FILE_PLAN_CHANGED
        raise DatasetChangedError(lock.name, lock.version, detail, reason=reason)
    return Dataset(lock, files, pinned)


def pinned_samples(lake: OpenLake, lock: Lockfile) -> TableVersion:
    """Open the sample table at the locked snapshot.

    Raises:
        DatasetChangedError: If the snapshot is gone.

    """
    try:
        # as it was: columns renamed or dropped since belong to later versions
        return lake.table(lock.table).at(snapshot_id=lock.snapshot_id).in_schema_at_commit()
    except SnapshotNotFoundError as error:
        detail = f"the pinned snapshot {lock.snapshot_id} of {lock.table} was removed"
        reason = DatasetReason.SNAPSHOT_GONE
        raise DatasetChangedError(
            lock.name, lock.version, detail, reason=reason, table=lock.table
        ) from error
