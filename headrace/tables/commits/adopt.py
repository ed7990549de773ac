"""Taking files over from their writers: they must still be there, and a refusal gives them up."""

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile

from headrace.errors import (
    CommitConflictError,
    DatabaseUnavailableError,
    FencedError,
    StorageError,
)
from headrace.storage.locations import local_path, remove
from headrace.tables import intents

if TYPE_CHECKING:
    from headrace.tables.lake import LakeTable


@contextlib.contextmanager
def adopting(table: "LakeTable", files: Sequence[DataFile]) -> Generator[None]:
    """Enclose a commit of `files`, under the table's lock; one that landed calls `intents.landed`.

    Files of a commit that was refused for good are in flight no more: then their age alone keeps
    them. After any other error they stay in flight, as the same files may be committed again.

    Raises:
        CommitConflictError: If a file is gone; a commit that names it would make the table
            unreadable.

    """
    _refuse_missing(table, files)
    try:
        yield
    except (CommitConflictError, FencedError):
        intents.landed(table.lake.registry, files)
        raise


@contextlib.contextmanager
def fresh(table: "LakeTable", files: Sequence[DataFile]) -> Generator[None]:
    """Enclose a commit of files that were just written for it and will not be committed again.

    Where there was no room to commit them they are removed, or each try would take more of it. A
    commit of files that another snapshot names must not be enclosed.
    """
    try:
        yield
    except StorageError:
        with contextlib.suppress(DatabaseUnavailableError):  # the error at hand says more
            io = table.iceberg().io
            for file in files:
                remove(io, file.file_path)
            intents.landed(table.lake.registry, files)
        raise


def _refuse_missing(table: "LakeTable", files: Sequence[DataFile]) -> None:
    for file in files:
        path = local_path(file.file_path)
        # clean-up holds the same lock while it moves files: what is here now stays
        if path.startswith("/") and not Path(path).exists():
            detail = f"its file `{path}` is gone; a clean-up takes what waits too long for a commit"
            raise CommitConflictError(str(table.name), detail)
