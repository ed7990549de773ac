"""Staging tables: clones that Trino writes into, and rows from memory that it reads.

They lie in a namespace that no lake lists, each named after an announced write. One that a killed
process leaves is dropped by the next engine; its files are left to clean-up, as other orphans.
"""

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    DatabaseUnavailableError,
    StorageError,
)
from headrace.iceberg import clones, manifests, schema
from headrace.iceberg.clones import files_added_by, paths_added_by
from headrace.identifiers import STAGING_NAMESPACE, TableName
from headrace.storage.folders import Folders, Kind
from headrace.storage.locations import remove, sync_file
from headrace.storage.open import folders_of, has_folders
from headrace.tables import intents
from headrace.tables.lake import LakeTable, OpenLake

_QUERY_ID = "trino_query_id"  # Trino says it in the summary of each snapshot
_PREFIX = "s_"


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the server answered to an insert: its query, and the rows it reported."""

    query_id: str
    rows: int


@dataclass(frozen=True)
class Staging:
    """The staging tables of one engine, in the catalog of one lake."""

    lake: OpenLake

    def rows(self, table: pa.Table) -> TableName:
        """Make a table of rows from memory, which `drop` removes with its files.

        Raises:
            ContractError: If a column has a type that tables cannot have.

        """
        name, location = self._announced()
        columns = schema.to_iceberg(table.schema, table=str(name))
        made = self.lake.catalog.create_table(
            (name.namespace, name.name), schema=columns, location=location
        )
        if table.num_rows:
            made.append(table.cast(schema.to_arrow(columns)))
        return name

    @contextlib.contextmanager
    def clone(
        self,
        table: LakeTable,
        *,
        order: Sequence[tuple[str, bool, bool]] = (),
        holding: Sequence[DataFile] = (),
    ) -> Generator["Clone"]:
        """Make a clone of a table that holds some of its files, or none.

        At the end the clone is gone, and with it the files written into it and not adopted. The
        files it was made with stay.
        """
        target = table.iceberg()
        name, location = self._announced()
        metadata = clones.clone_of(target, location=location, order=order)
        if holding:
            metadata = clones.holding(metadata, holding, target.io)
        at = clones.write_metadata(metadata, target.io)
        self.lake.catalog.register_table((name.namespace, name.name), at)
        clone = Clone(self.lake, name, target, held=frozenset(each.file_path for each in holding))
        try:
            yield clone
        except BaseException:
            clone.adopted.clear()
            raise
        finally:
            clone.remove_others()
            self.drop(name)

    def drop(self, name: TableName) -> None:
        """Drop a staging table and what lies below its location; idempotent."""
        identifier = (name.namespace, name.name)
        try:
            table = self.lake.catalog.load_table(identifier)
            self.lake.catalog.drop_table(identifier)
        except NoSuchTableError:
            return
        _remove_below(table)
        intents.end(self.lake.registry, [name.name.removeprefix(_PREFIX)])

    def drop_abandoned(self) -> None:
        """Drop the staging tables of processes that ended; their files are left to clean-up."""
        with contextlib.suppress(DatabaseUnavailableError, NoSuchNamespaceError):
            writes = intents.unfinished(self.lake.registry)
            for _, name in self.lake.catalog.list_tables(STAGING_NAMESPACE):
                write_id = name.removeprefix(_PREFIX)
                if write_id in writes.dead:
                    with contextlib.suppress(NoSuchTableError):
                        self.lake.catalog.drop_table((STAGING_NAMESPACE, name))
                    intents.end(self.lake.registry, [write_id])

    def _announced(self) -> tuple[TableName, str]:
        lake = self.lake
        with lake.locks.hold(STAGING_NAMESPACE):
            lake.catalog.create_namespace_if_not_exists(STAGING_NAMESPACE)
        folder = f"{lake.catalog.properties['warehouse'].rstrip('/')}/{STAGING_NAMESPACE}"
        write_id = intents.begin(lake.registry, table=STAGING_NAMESPACE, location=folder)
        name = TableName(STAGING_NAMESPACE, f"{_PREFIX}{write_id}")
        return name, f"{folder}/{name.name}"


class Clone:
    """A clone of `target`; `adopted` names the files that stay when it is dropped.

    `held` are the files of the target that it was made with, which stay in any case.
    """

    def __init__(
        self, lake: OpenLake, name: TableName, target: Table, *, held: frozenset[str] = frozenset()
    ) -> None:
        self._lake, self.name, self.target, self.held = lake, name, target, held
        self.adopted: set[str] = set()

    def adopt(self, answers: Sequence[Answered]) -> tuple[DataFile, ...]:
        """Return the files of the snapshots that answered inserts committed, and of no others.

        A statement that the client sent again, or one that was cancelled too late, may have
        committed to the clone too; its files are not adopted.

        Raises:
            CommitConflictError: If the clone is not what was answered.

        """
        found: list[DataFile] = []
        for answer in answers:
            found += self._of(answer)
        for file in found:
            self._check(file)
        self.adopted = {file.file_path for file in found}
        return tuple(found)

    def remove_others(self) -> None:
        """Remove the data files of the clone that were not adopted."""
        try:
            table = self._load()
        except NoSuchTableError:
            return
        added = paths_added_by(table.metadata.snapshots, table.io)
        for path in added - self.adopted - self.held:
            remove(table.io, path)

    def held_now(self) -> frozenset[str]:
        """Return which of the `held` files the clone still lists."""
        table = self._load()
        listed = manifests.manifests_of(table.current_snapshot(), table.io)
        live = (entry.data_file.file_path for entry in manifests.live_entries(listed, table.io))
        return self.held & frozenset(live)

    def _of(self, answer: Answered) -> tuple[DataFile, ...]:
        table = self._load()
        written = [
            each
            for each in table.metadata.snapshots
            if each.summary is not None
            and each.summary.additional_properties.get(_QUERY_ID) == answer.query_id
        ]
        files = tuple(file for each in written for file in files_added_by(each, table.io))
        rows = sum(file.record_count for file in files)
        if len(written) > 1 or rows != answer.rows:
            detail = (
                f"query `{answer.query_id}` answered {answer.rows} rows, and its staging table "
                f"has {rows} of them in {len(written)} snapshots"
            )
            raise CommitConflictError(str(self.name), detail, reason=ConflictReason.ROWS_ADDED)
        return files

    def _check(self, file: DataFile) -> None:
        """Compare a file's size with its metadata: a wrong length would be trusted by readers."""
        try:
            size = len(self.target.io.new_input(file.file_path))
        except OSError as error:
            raise StorageError.of(file.file_path, error) from error
        if size != file.file_size_in_bytes:
            detail = f"it has {size} bytes, its metadata says {file.file_size_in_bytes}"
            raise StorageError(file.file_path, detail)
        sync_file(file.file_path)

    def _load(self) -> Table:
        return self._lake.catalog.load_table((self.name.namespace, self.name.name))


def _remove_below(table: Table) -> None:
    location = table.location()
    if not has_folders(location):
        return
    folders = folders_of(location, table.io, table=location)
    with contextlib.suppress(OSError, StorageError):  # left to clean-up
        _empty(folders, location)
        folders.prune(location)


def _empty(folders: Folders, folder: str) -> None:
    for entry in folders.list(folder):
        if entry.kind == Kind.FOLDER:
            _empty(folders, entry.location)
        else:
            folders.delete(entry.location)
