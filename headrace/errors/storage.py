"""Errors of disks and databases below the tables."""

import errno
import os
from pathlib import Path

from headrace.errors.base import LakeError
from headrace.errors.reasons import FileReason
from headrace.errors.remedy import Remedy

_INTACT = "what was committed before is intact"
_MAKE_ROOM = Remedy(advice="make room there, then run the same command again")


class DatabaseUnavailableError(LakeError):
    """The catalog's or the registry's database is locked, out of reach, full or damaged."""

    retryable = True

    def __init__(self, database: str, detail: str) -> None:
        detail = " ".join(detail.split())  # drivers of databases say it in lines
        self.database, self.detail = database, detail
        super().__init__(
            f"the {database} cannot be used now: {detail}",
            state=_INTACT,
            remedy=Remedy(advice="see that it runs and answers, then run the same command again"),
        )


class DatabaseDamagedError(DatabaseUnavailableError):
    """The catalog's or the registry's database file is not what was written."""

    retryable = False

    def __init__(self, database: str, detail: str, *, path: str) -> None:
        self.database, self.detail, self.path = database, detail, path
        LakeError.__init__(
            self,
            f"the {database} is damaged: {detail}",
            state="nothing was changed, and table files are not affected",
            remedy=Remedy(
                advice=f"move `{path}` away with the files whose names begin with its name, and put "
                "a backup of it there"
            ),
        )


class DatabaseDeniedError(LakeError):
    """The role of this process may not do that in the database of the catalog or the registry."""

    def __init__(self, database: str, detail: str) -> None:
        self.database, self.detail = database, detail
        super().__init__(
            f"the {database} refuses it to this role: {detail}",
            state=_INTACT,
            remedy=Remedy(
                advice="use a role that may: see `Access` in docs/production.md, and give its address "
                "by HEADRACE_CATALOG_URI"
            ),
        )


class PooledSessionsError(LakeError):
    """The catalog is reached through a pooler that gives the statements of one session to several."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__(
            f"`{address}` is a pooler that shares sessions between its clients: a lock that one takes "
            "would stay with another",
            state="nothing was locked or changed",
            remedy=Remedy(
                advice="name the server's own port in `catalog_uri`, or let the pooler keep one session "
                "for each client (`pool_mode = session` of PgBouncer)"
            ),
        )


class StorageError(LakeError):
    """A file of a table cannot be written: the disk is full or refuses."""

    retryable = True

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(
            f"`{path}` cannot be written: {detail}",
            state=f"nothing was committed and {_INTACT}",
            remedy=Remedy(
                advice="make room or allow writing there, then run the same command again"
            ),
        )

    @classmethod
    def of(cls, path: str, error: OSError) -> "StorageError":
        """Name what the operating system said; a full disk has a name of its own, and other stores."""
        if "://" in path and not path.startswith("file:"):
            return StoreUnavailableError(path, str(error))
        if is_full(error):
            return StorageFullError.at(path, str(error))
        return cls(path, str(error))


class StorageFullError(StorageError):
    """There is no room left for a file: `disk` is where its disk is mounted.

    `free_bytes` is what the disk has left for this user; a quota or a limit on the size of files
    may leave less. It is None where it is unknown.
    """

    def __init__(self, path: str, detail: str, *, disk: str, free_bytes: int | None) -> None:
        self.path, self.detail, self.disk, self.free_bytes = path, detail, disk, free_bytes
        LakeError.__init__(
            self,
            f"there is no room for `{path}`: {detail}. {_disk_text(disk, free_bytes)}",
            state=f"nothing was committed, {_INTACT} and what was half written is removed",
            remedy=_MAKE_ROOM,
        )

    @classmethod
    def at(cls, path: str, detail: str) -> "StorageFullError":
        """Name the disk of a path as it is now."""
        disk, free_bytes = disk_of(path)
        return cls(path, detail, disk=disk, free_bytes=free_bytes)


class StoreUnavailableError(StorageError):
    """A store of files does not answer, or refuses; its files may be sound."""

    def __init__(self, path: str, detail: str) -> None:
        self.path, self.detail = path, detail
        LakeError.__init__(
            self,
            f"the store of `{path}` does not answer or refuses: {detail}",
            state=f"nothing was committed and {_INTACT}",
            remedy=Remedy(
                advice="check that the store runs and that the keys may use it, then run the same "
                "command again"
            ),
        )


class DatabaseFullError(DatabaseUnavailableError, StorageFullError):
    """There is no room left for the catalog's or the registry's database; nothing was changed."""

    def __init__(self, database: str, detail: str, *, path: str) -> None:
        self.database, self.detail, self.path = database, detail, path
        self.disk, self.free_bytes = disk_of(path)
        LakeError.__init__(
            self,
            f"there is no room for the {database} `{path}`: {detail}. "
            f"{_disk_text(self.disk, self.free_bytes)}",
            state=_INTACT,
            remedy=_MAKE_ROOM,
        )


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_full(error: BaseException) -> bool:
    """Whether the operating system says that there is no room."""
    return isinstance(error, OSError) and error.errno in _FULL


def disk_of(path: str) -> tuple[str, int | None]:
    """Say where the disk of a path is mounted, and how many bytes it has left for this user.

    For a location that is not a local path it returns the location, and None for the room.
    """
    local = path.removeprefix("file://")
    if not local.startswith("/"):
        return path, None
    at = Path(local)
    try:
        while not at.exists():
            at = at.parent
        device = at.stat().st_dev
        while at != at.parent and at.parent.stat().st_dev == device:
            at = at.parent
        room = os.statvfs(at)
    except OSError:
        return local, None
    return str(at), room.f_bavail * room.f_frsize


def _disk_text(disk: str, free_bytes: int | None) -> str:
    left = "" if free_bytes is None else f" has {free_bytes / 1024:,.0f} KiB free"
    return f"The disk at `{disk}`{left}"


class CorruptFileError(LakeError):
    """A file is damaged or is not of the format its name or contract claims."""

    def __init__(self, path: str, detail: str, *, remedy: Remedy | None = None) -> None:
        self.path, self.detail = path, detail
        super().__init__(f"`{path}` cannot be read: {detail}", remedy=remedy)

    def advise(self, remedy: Remedy) -> None:
        """Say what to do about it, where that is known; the first remedy stays."""
        if self.remedy is None:
            self.remedy = remedy


class UnfitFileError(LakeError):
    """A sound data file has columns or values that do not fit the table that lists it."""

    def __init__(self, path: str, detail: str, *, reason: FileReason, column: str) -> None:
        self.path, self.detail, self.reason, self.column = path, detail, reason, column
        super().__init__(
            f"`{path}` does not fit its table: {detail}",
            state="the file is not damaged and nothing was changed",
            remedy=Remedy(
                advice="write its rows again with the types of the table, or remove it from the table"
            ),
        )
