"""Adopt data files into a commit: verify that they exist, release them if it is refused for good."""

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile

from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    CorruptFileError,
    DatabaseUnavailableError,
    FencedError,
    StorageError,
    WriteLapsedError,
)
from headrace.iceberg import schema
from headrace.storage.folders import Facts
from headrace.storage.locations import local_path, remove
from headrace.storage.open import folders_of, has_folders, is_patient, local_folders_of
from headrace.tables import intents
from headrace.tables.version import read_file

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
        CorruptFileError: If a file has another length than its entry says.
        StoreUnavailableError: If their store does not answer.
        WriteLapsedError: If a writer did not renew its lease for so long that it counts as dead.

    """
    _refuse_missing(table, files)
    try:
        _refuse_lapsed(table, files)
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
            discard(table, files)
        raise


def _refuse_lapsed(table: "LakeTable", files: Sequence[DataFile]) -> None:
    with contextlib.suppress(DatabaseUnavailableError):  # then only their age protects the files
        write_id = intents.lapsed(table.lake.registry, files)
        if write_id is not None:
            raise WriteLapsedError(str(table.name), write_id)


def discard(table: "LakeTable", files: Sequence[DataFile]) -> None:
    """Remove files that no commit will name."""
    io = table.iceberg().io
    for file in files:
        remove(io, file.file_path)
    intents.landed(table.lake.registry, files)


def written_batches(
    table: "LakeTable", files: Sequence[DataFile], *, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Read columns of files that an engine wrote and no commit names yet, before they are adopted.

    Raises:
        CorruptFileError: If one is missing or damaged.
        UnfitFileError: If a column or a value of one does not fit the table.

    """
    iceberg = table.iceberg()
    every = schema.to_arrow(iceberg.schema(), field_ids=True)
    wanted = pa.schema([every.field(name) for name in columns])
    for file in files:
        yield from read_file(local_path(file.file_path), wanted, io=iceberg.io)


def _refuse_missing(table: "LakeTable", files: Sequence[DataFile]) -> None:
    """Refuse files that are not there, or not as long as readers will be told that they are.

    Clean-up holds the same lock while it moves files: a file found here stays.
    """
    remote: list[DataFile] = []
    for file in files:
        store = local_folders_of(file.file_path)
        if store is None:
            remote.append(file)
        else:
            _refuse_unlike(table, file, store.stat(file.file_path))
    if remote:
        found = _look([file.file_path for file in remote], table.iceberg().io)
        for file in remote:
            _refuse_unlike(table, file, found[file.file_path])


def _look(locations: Sequence[str], io: FileIO) -> Mapping[str, Facts | None]:
    # one look by pyarrow takes a third of the time of one by botocore, which tells more
    is_alone = len(locations) == 1 and is_patient(io)
    known = [each for each in locations if has_folders(each) and not is_alone]
    found: dict[str, Facts | None] = {}
    try:
        if known:
            found |= folders_of(known[0], io, table=known[0]).stats(known)
        return found | {each: _length(each, io) for each in locations if each not in found}
    except OSError as error:
        raise StorageError.of(locations[0], error) from error


def _length(location: str, io: FileIO) -> Facts | None:
    """Ask for a length through the table's own FileIO, which every store has."""
    try:
        return Facts(len(io.new_input(location)), 0, "")
    except FileNotFoundError:
        return None


def _refuse_unlike(table: "LakeTable", file: DataFile, found: Facts | None) -> None:
    path = local_path(file.file_path)
    if found is None:
        detail = (
            f"its file `{path}` is gone; clean-up removes files that wait too long for a commit"
        )
        reason = ConflictReason.FILE_REMOVED
        raise CommitConflictError(str(table.name), detail, reason=reason, path=path)
    if found.bytes != file.file_size_in_bytes:
        detail = f"it has {found.bytes} bytes, its entry says {file.file_size_in_bytes}"
        raise CorruptFileError(path, detail)
