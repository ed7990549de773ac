"""Copy-on-write: rewrite the data files that lose or change rows, in one commit.

Nothing here waits for other writers. A change is planned on a pinned snapshot. The committer refuses
it if another commit touched what the plan is based on; the change is then planned again.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH

from headrace.dml.live_rows import live_rows
from headrace.errors import CommitConflictError, FencedError, StorageError
from headrace.iceberg import partitions, schema
from headrace.iceberg.delete_files import deleted_positions, only_data_file
from headrace.iceberg.partitions import PartitionKey
from headrace.tables.commits.operations import Commit, Fence, Provenance, rewrite_files
from headrace.tables.lake import LakeTable
from headrace.tables.version import FileEntry, TableVersion
from headrace.tables.writer import TableWriter

TRIES_MAX = 5
_BACKOFF_S = 0.05
Result = TypeVar("Result")


def until_it_lands(table: LakeTable, attempt: Callable[[int], Result]) -> Result:
    """Plan and apply a change; retry on conflicts, the last time under the table's lock.

    `attempt` gets the number of the attempt, from 1. The last one holds the table's lock from
    planning to commit, so only a writer that does not take the lock can still conflict.

    Raises:
        CommitConflictError: If every attempt conflicted; nothing was changed.

    """
    for number in range(1, TRIES_MAX):
        try:
            return attempt(number)
        except CommitConflictError:
            time.sleep(random.uniform(0, _BACKOFF_S * 2**number))
    with table.lake.locks.hold(table.name):
        return attempt(TRIES_MAX)


def wanted_columns(version: TableVersion, names: Sequence[str] | None = None) -> pa.Schema:
    """The columns of a version, or some of them, with their field ids."""
    every = schema.to_arrow(version.metadata.schema(), field_ids=True)
    return every if names is None else pa.schema([every.field(name) for name in names])


def rewrite(
    table: LakeTable,
    version: TableVersion,
    *,
    files: Sequence[FileEntry],
    kept_rows: Callable[[FileEntry], Iterator[pa.RecordBatch]],
    new_rows: pa.Table | None = None,
    provenance: Provenance,
    may_conflict: Callable[[DataFile], bool] | None = None,
    properties: Mapping[str, str] | None = None,
    branch: str = MAIN_BRANCH,
    guard: Callable[[Table], None] | None = None,
    fence: Fence | None = None,
) -> Commit:
    """Replace `files` by their kept rows and the new rows, in one snapshot, and set `properties`.

    A `guard` checks the table that the commit builds upon, and raises to refuse the commit; a `fence`
    moves offsets with it, unless another writer did. Kept
    rows stay in order and come before the new rows of their partition. A file grows to about the
    lake's target size. Memory holds one row group of one partition, besides the new rows.

    Raises:
        FencedError: If another writer moved the offsets; as after a conflict.
        CommitConflictError: If another commit changed what the change was planned from; nothing was
            changed and the new files are removed.
        ContractError: If a new row does not fit the table.
        CorruptFileError: If a file cannot be read; nothing was changed.

    """
    beside = _sharing_deletes(version, files)
    everything = wanted_columns(version)

    def rows_of(entry: FileEntry) -> Iterator[pa.RecordBatch]:
        if entry in beside:
            return live_rows(version, entry, everything)
        return kept_rows(entry)

    gone = [*files, *beside]
    with TableWriter(table, target_bytes=table.target_file_bytes()) as writer:
        _write(writer, version, files=gone, rows_of=rows_of, new_rows=new_rows)
    try:
        return rewrite_files(
            table,
            removed=[*(entry.data_file for entry in gone), *_position_deletes(gone, version.io)],
            added=writer.files,
            base_snapshot_id=version.snapshot_id,
            provenance=provenance,
            may_conflict=may_conflict,
            properties=properties,
            branch=branch,
            guard=guard,
            fence=fence,
        )
    except (CommitConflictError, FencedError, StorageError):
        writer.discard()
        raise


def _write(
    writer: TableWriter,
    version: TableVersion,
    *,
    files: Sequence[FileEntry],
    rows_of: Callable[[FileEntry], Iterator[pa.RecordBatch]],
    new_rows: pa.Table | None,
) -> None:
    spec_id = version.metadata.default_spec_id
    new = _by_partition(version, new_rows)
    ordered = sorted(files, key=lambda entry: (entry.spec_id, [str(v) for v in entry.partition]))
    for (spec, key), members in groupby(ordered, lambda entry: (entry.spec_id, entry.partition)):
        for entry in members:
            _write_all(writer, rows_of(entry))
        if spec == spec_id:
            _write_all(writer, new.pop(key, ()))
        writer.roll()
    for batches in new.values():
        _write_all(writer, batches)


def _write_all(writer: TableWriter, batches: Iterable[pa.RecordBatch]) -> None:
    for batch in batches:
        writer.write(batch)


def _by_partition(
    version: TableVersion, rows: pa.Table | None
) -> dict[PartitionKey, list[pa.RecordBatch]]:
    found: dict[PartitionKey, list[pa.RecordBatch]] = {}
    metadata = version.metadata
    terms = partitions.terms_of(metadata.spec(), metadata.schema())
    for batch in rows.to_batches() if rows is not None else ():
        for key, part in partitions.split(batch, terms):
            found.setdefault(key, []).append(part)
    return found


def _sharing_deletes(version: TableVersion, files: Sequence[FileEntry]) -> frozenset[FileEntry]:
    """Find the other files to which a position delete file of `files` applies.

    They are rewritten too, so that the delete file can be removed: if it stayed, it would still be
    counted, and its deleted rows would be subtracted twice.
    """
    found, io = set(files), version.io
    taking = _position_deletes(files, io)
    shared = {each.file_path for each in taking if only_data_file(each) is None}
    while shared:
        more = {
            entry
            for entry in version.files()
            if entry not in found
            and not shared.isdisjoint(each.file_path for each in _position_deletes([entry], io))
        }
        found |= more
        shared = {each.file_path for each in _position_deletes(more, io)} - shared
    return frozenset(found - set(files))


def _position_deletes(files: Iterable[FileEntry], io: FileIO) -> list[DataFile]:
    """The position delete files that delete rows of `files`; sharing a partition is not enough."""
    found = {
        each.file_path: each
        for entry in files
        for each in entry.deletes
        if each.content == DataFileContent.POSITION_DELETES
        and len(deleted_positions([each], io=io, location=entry.data_file.file_path))
    }
    return list(found.values())
