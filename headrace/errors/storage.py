"""Errors of disks and databases below the tables."""

import errno

from headrace.errors.base import LakeError


class DatabaseUnavailableError(LakeError):
    """The catalog's or the registry's database is locked, full or out of reach."""

    retryable = True

    def __init__(self, database: str, detail: str) -> None:
        self.database = database
        super().__init__(
            f"the {database} cannot be used now: {detail}; what was committed before is intact, "
            "run the same command again"
        )


class StorageError(LakeError):
    """A file of a table cannot be written: the disk is full or refuses."""

    retryable = True

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        super().__init__(
            f"`{path}` cannot be written: {detail}; nothing was committed and what was before is "
            "intact: make room or allow writing there, then run the same command again"
        )

    @classmethod
    def of(cls, path: str, error: OSError) -> "StorageError":
        """Name what the operating system said; a full disk has a name of its own."""
        kind = StorageFullError if error.errno in _FULL else cls
        return kind(path, str(error))


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StorageFullError(StorageError):
    """There is no room left for a file of a table."""


class CorruptFileError(LakeError):
    """A file is damaged or is not of the format its name or contract claims."""

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        super().__init__(f"`{path}` cannot be read: {detail}")
