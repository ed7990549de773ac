"""Adopt data files into a commit: verify that they exist, release them if it is refused for good."""

import contextlib
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile

from headrace.errors import (
    CommitConflictError,
    DatabaseUnavailableError,
    FencedError,
    StorageError,
)
from headrace.storage.locations import local_path, remove
from headrace.storage.open import local_folders_of
from headrace.tables import intents

if TYPE_CHECKING:
    from headrace.tables.lake import LakeTable


@contextlib.contextmanager
def adopting(table: "LakeTable", files: Sequence[DataFile]) -> Generator[None]:
    """Run a commit of `files` under the table's lock; on success call `intents.landed`.

    Files of a commit that was refused for good are released as in flight: from then on only their
    age protects them from clean-up. After any other error they stay in flight, because the same
    files may be committed by a retry.

    Raises:
        CommitConflictError: If a file is gone; committing it would make the table unreadable.

    """
    _refuse_missing(table, files)
    try:
        yield
    except (CommitConflictError, FencedError):
        intents.landed(table.lake.registry, files)
        raise


@contextlib.contextmanager
def fresh(table: "LakeTable", files: Sequence[DataFile]) -> Generator[None]:
    """Run a commit of files that were written for it alone and will not be committed again.

    If the disk was too full to commit them, they are deleted, so that retries do not fill it
    further. Do not use it for files that another snapshot refers to.
    """
    try:
        yield
    except StorageError:
        with contextlib.suppress(DatabaseUnavailableError):  # the current error says more
            io = table.iceberg().io
            for file in files:
                remove(io, file.file_path)
            intents.landed(table.lake.registry, files)
        raise


def _refuse_missing(table: "LakeTable", files: Sequence[DataFile]) -> None:
    for file in files:
        store = local_folders_of(file.file_path)
        # clean-up holds the same lock while it moves files: a file found here stays
        if store is not None and not store.exists(file.file_path):
            path = local_path(file.file_path)
            detail = (
                f"its file `{path}` is gone; clean-up removes files that wait too long for a commit"
            )
            raise CommitConflictError(str(table.name), detail, path=path)
