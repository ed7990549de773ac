"""Verifying a dataset version: read what it pins and compare with its lockfile."""

import contextlib
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.clock import time_at
from headrace.datasets.content_hash import ContentHash
from headrace.datasets.files import FilePlan
from headrace.datasets.lockfile import LockedDay, Lockfile
from headrace.datasets.measure import Measure, measure_day
from headrace.datasets.versions import (
    documents_of,
    find_lockfile,
    load_dataset,
    lockfile_path,
    pinned_samples,
)
from headrace.errors import (
    CorruptFileError,
    DatabaseDeniedError,
    DatasetChangedError,
    DatasetReason,
    UnfitFileError,
)
from headrace.registry import Measure as Recorded
from headrace.storage.failures import unreadable
from headrace.tables.lake import OpenLake
from headrace.tables.refs.refs import tags
from headrace.tables.version import TableVersion

_SHOWN = 8


@dataclass(frozen=True)
class Verification:
    """A version that reads exactly as it was published."""

    lock: Lockfile
    rows: int
    files: int


def verify(lake: OpenLake, name: str, version: int | None = None) -> Verification:
    """Read every pinned row again; returns only if all of it is as it was locked.

    Checks the lockfile and file plan on disk, the tags, and rows and content hash per day. The time is
    recorded, unless this process may only read the registry.

    Raises:
        DatasetNotFoundError: If it is not published.
        DatasetChangedError: Naming the first day, tag or file that differs, and how.

    """
    lock = find_lockfile(lake, name, version)
    _check_lockfile(lake, lock)
    pinned = pinned_samples(lake, lock)
    _check_tags(lake, lock)
    whole = _check_days(lock, pinned)
    if whole.hexdigest() != lock.content_hash or whole.rows != lock.rows:
        detail = f"it holds {whole.rows} rows of hash {whole.hexdigest()}"
        reason = DatasetReason.ROWS_CHANGED
        raise DatasetChangedError(lock.name, lock.version, detail, reason=reason)
    dataset = load_dataset(lake, lock.name, lock.version)
    if dataset.files != FilePlan.of(pinned, partitions=[(day.day,) for day in lock.days]):
        detail = "its file plan lists other files than its snapshot"
        reason = DatasetReason.FILE_PLAN_CHANGED
        raise DatasetChangedError(lock.name, lock.version, detail, reason=reason)
    with contextlib.suppress(DatabaseDeniedError):  # whoever may read only may verify too
        lake.registry.record_measure(
            _subject(lock.name), _measure(lock.version), whole.rows, measured_at_ms=lake.now_ms()
        )
    return Verification(lock, whole.rows, len(dataset.files.files))


def verified_at(
    measures: Mapping[str, Mapping[str, Recorded]], name: str, version: int
) -> dt.datetime | None:
    """Say when a version was last found to read as published; None if that is not on record.

    `measures` are those of the registry, by subject and name.
    """
    found = measures.get(_subject(name), {}).get(_measure(version))
    return None if found is None else time_at(found.measured_at_ms)


def _subject(name: str) -> str:
    return f"datasets.{name}"


def _measure(version: int) -> str:
    return f"verified:v{version}"


def _check_lockfile(lake: OpenLake, lock: Lockfile) -> None:
    path = lockfile_path(lake.settings, lock.name, lock.version)
    try:
        content = documents_of(lake.settings).read(path)
    except FileNotFoundError as error:
        detail, reason = f"`{path}` is gone", DatasetReason.LOCKFILE_GONE
        raise DatasetChangedError(lock.name, lock.version, detail, reason=reason) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if content != lock.to_json().encode():
        detail = f"`{path}` was edited after it was published"
        reason = DatasetReason.LOCKFILE_EDITED
        raise DatasetChangedError(lock.name, lock.version, detail, reason=reason)


def _check_tags(lake: OpenLake, lock: Lockfile) -> None:
    for pin in lock.pins:
        found = tags(lake.table(pin.table)).get(pin.tag) if lake.exists(pin.table) else None
        if found != pin.snapshot_id:
            detail = f"tag `{pin.tag}` of {pin.table} is " + (
                "gone" if found is None else f"at snapshot {found}, expected {pin.snapshot_id}"
            )
            reason = DatasetReason.TAG_GONE if found is None else DatasetReason.TAG_MOVED
            raise DatasetChangedError(
                lock.name, lock.version, detail, reason=reason, table=pin.table
            )


def _check_days(lock: Lockfile, pinned: TableVersion) -> ContentHash:
    measure = Measure(tuple(lock.columns), ())
    missing = [name for name in lock.columns if name not in pinned.schema.names]
    if missing:
        detail = f"{lock.table} has no column `{missing[0]}` any more"
        reason = DatasetReason.COLUMN_GONE
        raise DatasetChangedError(lock.name, lock.version, detail, reason=reason, table=lock.table)
    whole = ContentHash(measure.schema_of(pinned.schema))
    for day in lock.days:
        whole.merge(_check_day(lock, day, pinned, measure))
    return whole


def _check_day(
    lock: Lockfile, day: LockedDay, pinned: TableVersion, measure: Measure
) -> ContentHash:
    try:
        content = measure_day(pinned, day.day, measure).content
    except (CorruptFileError, UnfitFileError) as error:
        raise _day_changed(
            lock, day, f"cannot be read: {error}", DatasetReason.UNREADABLE
        ) from error
    found = content.hexdigest()
    if content.rows != day.rows:
        detail = f"has {content.rows} rows, expected {day.rows}"
        raise _day_changed(lock, day, detail, DatasetReason.ROWS_CHANGED)
    if found != day.content_hash:
        detail = f"has hash {found[:_SHOWN]}…, expected {day.content_hash[:_SHOWN]}…"
        raise _day_changed(lock, day, detail, DatasetReason.ROWS_CHANGED)
    return content


def _day_changed(
    lock: Lockfile, day: LockedDay, detail: str, reason: DatasetReason
) -> DatasetChangedError:
    return DatasetChangedError(
        lock.name,
        lock.version,
        f"{lock.table} partition {day.day} {detail}",
        reason=reason,
        table=lock.table,
        day=str(day.day),
    )
