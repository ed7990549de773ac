"""Reading one table at one snapshot, in bounded memory, with every page checked."""

import contextlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.name_mapping import NameMapping
from pyiceberg.table.snapshots import Snapshot

from headrace.errors import (
    CorruptFileError,
    Remedy,
    UnfitFileError,
    UnsupportedReason,
    UnsupportedTableError,
)
from headrace.iceberg import delete_files as deletes
from headrace.iceberg import manifests, partitions, remedy, schema
from headrace.iceberg.inspected import InspectedFiles, Inspector
from headrace.iceberg.partitions import CurrentSpec, PartitionKey
from headrace.iceberg.projection import Misfit, PinnedSchema, Projection
from headrace.identifiers import TableName
from headrace.shown import facts_html, rows_html
from headrace.storage.footer import read_footer
from headrace.storage.inputs import open_input, reading
from headrace.storage.locations import local_path
from headrace.tables.deleted_values import deleted_values

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class FileEntry:
    """One live data file of a snapshot; `sequence` is the sequence number of the adding commit.

    `partition` is a key of spec `spec_id`. `rows` includes deleted rows; `deletes` are the delete
    files that may apply to the file.
    """

    path: str
    rows: int
    bytes: int
    partition: PartitionKey
    sequence: int
    data_file: DataFile = field(repr=False, compare=False)
    deletes: tuple[DataFile, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(
        cls,
        entry: ManifestEntry,
        terms: Mapping[int, Sequence[partitions.Term]],
        *,
        deletes: tuple[DataFile, ...] = (),
    ) -> "FileEntry":
        """Read a manifest entry; `terms` maps every spec id to its partition terms."""
        file = entry.data_file
        return cls(
            path=local_path(file.file_path),
            rows=file.record_count,
            bytes=file.file_size_in_bytes,
            partition=partitions.key_of_record(file.partition, terms[file.spec_id]),
            sequence=entry.sequence_number or 0,
            data_file=file,
            deletes=deletes,
        )

    @property
    def spec_id(self) -> int:
        """The partition spec it was written in."""
        return self.data_file.spec_id


@dataclass(frozen=True)
class TableVersion:
    """One pinned snapshot of a table: reads of it always return the same rows.

    `snapshot_id` is None for a table without commits. `schema` is the table's schema when this
    object was created, also for an older snapshot; older files are projected to it by field id.
    """

    name: TableName
    snapshot_id: int | None
    metadata_location: str
    schema: pa.Schema = field(repr=False)  # of these three a notebook would show kilobytes
    properties: Mapping[str, str] = field(repr=False)
    summary: Mapping[str, str] = field(repr=False)
    partition_by: tuple[str, ...]
    read_as: Schema = field(repr=False, compare=False)  # `schema` as an Iceberg schema
    metadata: TableMetadata = field(repr=False, compare=False)  # when this object was created
    io: FileIO = field(repr=False, compare=False)  # opens its files, with the catalog's credentials
    inspector: Inspector = field(repr=False, compare=False)  # of the footers of its files

    @classmethod
    def of(
        cls,
        name: TableName,
        metadata: TableMetadata,
        location: str,
        io: FileIO,
        snapshot_id: int | None,
        *,
        inspected: InspectedFiles,
    ) -> "TableVersion":
        """Pin `snapshot_id` of the table whose metadata was read from `location`."""
        snapshot = None if snapshot_id is None else metadata.snapshot_by_id(snapshot_id)
        summary = snapshot.summary if snapshot else None
        terms = partitions.terms_of(metadata.spec(), metadata.schema())
        return cls(
            name=name,
            snapshot_id=snapshot_id,
            metadata_location=local_path(location),
            schema=schema.to_arrow(metadata.schema()),
            properties=dict(metadata.properties),
            summary={} if summary is None else dict(summary.additional_properties),
            partition_by=tuple(str(term) for term in terms),
            read_as=metadata.schema(),
            metadata=metadata,
            io=io,
            inspector=Inspector(metadata, inspected, io=io),
        )

    def in_schema_at_commit(self) -> "TableVersion":
        """Return the same snapshot in the schema of the table when it was committed."""
        then = self._schema_then
        return replace(self, schema=schema.to_arrow(then), read_as=then)

    def in_schema_with(self, columns: Collection[str]) -> "TableVersion":
        """Return the same snapshot in the schema it was committed with.

        If that schema lacks one of `columns`, because it was renamed or added since, in the first
        later schema that has all of them; unchanged if there is none or the table has no commits.
        """
        metadata, then = self.metadata, self._schema_then.schema_id
        later = sorted(metadata.schemas, key=lambda s: (s.schema_id < then, s.schema_id))
        fitting = (each for each in later if set(columns) <= set(each.column_names))
        found = next(fitting, self.read_as)
        return replace(self, schema=schema.to_arrow(found), read_as=found)

    def column_ids(self, columns: Collection[str]) -> Mapping[str, int]:
        """Return the Iceberg ids of top-level columns by name; unknown names are left out."""
        return {each.name: each.field_id for each in self.read_as.fields if each.name in columns}

    def reuses_name(self, columns: Collection[str]) -> bool:
        """Whether one of these names once belonged to a different column of the table."""
        ids = self.column_ids(columns)
        fields = (each for then in self.metadata.schemas for each in then.fields)
        return any(ids.get(each.name, each.field_id) != each.field_id for each in fields)

    @property
    def columns_at_commit(self) -> pa.Schema:
        """The columns the table had when the snapshot was committed, with their field ids."""
        return schema.to_arrow(self._schema_then, field_ids=True)

    @property
    def projection_since_commit(self) -> Projection:
        """The projection from the columns at this snapshot, which engines return, to `schema`.

        Raises:
            UnsupportedTableError: If another program changed them in an unsupported way.

        """
        try:
            return Projection.of(
                self.columns_at_commit, schema.to_arrow(self.read_as, field_ids=True)
            )
        except Misfit as error:
            detail = f"snapshot {self.snapshot_id} does not fit its schema: {error}"
            reason = UnsupportedReason.SCHEMA_MISMATCH
            raise UnsupportedTableError(str(self.name), detail, reason=reason) from error

    @property
    def _schema_then(self) -> Schema:
        snapshot, metadata = self.snapshot, self.metadata
        schema_id = metadata.current_schema_id if snapshot is None else snapshot.schema_id
        return next((s for s in metadata.schemas if s.schema_id == schema_id), metadata.schema())

    @property
    def committed_at_ms(self) -> int | None:
        """When the snapshot was committed, in epoch milliseconds."""
        snapshot = self.snapshot
        return None if snapshot is None else snapshot.timestamp_ms

    @property
    def row_count(self) -> int:
        """Rows in the snapshot, from its summary, or from its files if the summary lacks it.

        With equality deletes the exact number is unknown without reading; deleted rows then count.
        """
        total = self.summary.get("total-records")
        rows = sum(file.rows for file in self.files()) if total is None else int(total)
        return rows - int(self.summary.get("total-position-deletes", 0))

    def files(self, *, partitions: Collection[PartitionKey] | None = None) -> tuple[FileEntry, ...]:
        """List the live files, of some partitions or all, in a stable order.

        The order is (partition, path), so it is the same for every reader of the snapshot.

        Raises:
            UnsupportedTableError: If `partitions` is given and there are files of an older
                partition spec, or if rows are deleted by deletion vectors.

        """
        if self.snapshot_id is None:
            return ()
        with self.advising():
            if partitions is None:
                return _all_files(self)
            wanted, spec = (
                frozenset(partitions),
                CurrentSpec.of(self.metadata, table=str(self.name)),
            )
            test = manifests.holds_partitions(self.metadata, wanted, spec_id=spec.spec_id)
            return _read_files(self, test, spec.picks(wanted))

    def files_in(self, may_list: Callable[[ManifestFile], bool]) -> tuple[FileEntry, ...]:
        """List the live files of manifests for which `may_list` is true, in the order of `files`."""
        with self.advising():
            return () if self.snapshot_id is None else _read_files(self, may_list)

    def plain_files(
        self, *, partitions: Collection[PartitionKey] | None = None
    ) -> tuple[FileEntry, ...]:
        """List files like `files`, for readers that do not support delete files.

        Raises:
            UnsupportedTableError: If a delete file applies to some file; compaction resolves it.

        """
        found = self.files(partitions=partitions)
        for file in found:
            if file.deletes:
                raise UnsupportedTableError(
                    str(self.name),
                    f"rows of `{file.path}` are deleted in another file",
                    reason=UnsupportedReason.DELETE_FILES,
                    path=file.path,
                    remedy=Remedy.compact(str(self.name)),
                )
        return found

    def delete_files(self) -> tuple[DataFile, ...]:
        """List the live delete files, including dangling ones."""
        listed = manifests.manifests_of(self.snapshot, self.io)
        entries = manifests.live_entries(listed, self.io, content=ManifestContent.DELETES)
        return tuple(entry.data_file for entry in entries)

    def check_metadata(self) -> None:
        """Verify the checksums of the metadata files of this snapshot, which engines do not check.

        Raises:
            CorruptFileError: If one is missing or damaged.

        """
        manifests.check_bytes(self.metadata_location, self.io)
        with self.advising():
            for manifest in manifests.manifests_of(self.snapshot, self.io):
                manifests.check_bytes(manifest.manifest_path, self.io)

    def advising(self) -> AbstractContextManager[None]:
        """Add advice on restoring the file to a `CorruptFileError` raised in the block."""
        return remedy.advising(
            lambda path: remedy.of_snapshot(
                path,
                table=str(self.name),
                metadata=self.metadata,
                io=self.io,
                snapshot_id=self.snapshot_id,
            )
        )

    @property
    def pinned_schema(self) -> PinnedSchema:
        """The columns of `schema` with their Iceberg ids, for readers of the files."""
        columns = schema.to_arrow(self.read_as, field_ids=True)
        return PinnedSchema(schema=columns, mapping=self.name_mapping)

    @property
    def name_mapping(self) -> NameMapping | None:
        """The map of names to field ids for files without ids; None if the table has none."""
        return self.metadata.name_mapping()

    @property
    def spec_ids(self) -> frozenset[int]:
        """The ids of the partition specs of its data files."""
        listed = manifests.manifests_of(self.snapshot, self.io)
        return frozenset(
            each.partition_spec_id
            for each in listed
            if each.content == ManifestContent.DATA and manifests.has_live_files(each)
        )

    @property
    def live_spec_ids(self) -> frozenset[int]:
        """The ids of the partition specs of its data files and delete files."""
        listed = manifests.manifests_of(self.snapshot, self.io)
        return frozenset(
            each.partition_spec_id for each in listed if manifests.has_live_files(each)
        )

    @property
    def manifest_count(self) -> int:
        """How many manifests a reader of this snapshot opens."""
        return len(manifests.manifests_of(self.snapshot, self.io))

    @property
    def partitions(self) -> tuple[PartitionKey, ...]:
        """The partitions that hold files, in order."""
        return tuple(dict.fromkeys(entry.partition for entry in self.files()))

    def batches(
        self,
        *,
        columns: Sequence[str] | None = None,
        partitions: Collection[PartitionKey] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows file by file, at most `BATCH_ROWS` per batch, without deleted rows.

        Raises:
            CorruptFileError: If a page does not match its checksum or a file cannot be decoded.
            UnfitFileError: If a column or a value of a file does not fit the table.
            ValueError: If a column does not exist.

        """
        unknown = [name for name in columns or () if name not in self.schema.names]
        if unknown:
            msg = (
                f"`{self.name}` has no column `{unknown[0]}`; it has {', '.join(self.schema.names)}"
            )
            raise ValueError(msg)
        names = self.schema.names if columns is None else list(columns)
        pinned = self.pinned_schema
        wanted, mapping = pinned.pick(names), pinned.mapping
        with self.advising():
            for entry in self.files(partitions=partitions):
                yield from read_entry(entry, wanted, io=self.io, mapping=mapping)

    def to_arrow(
        self,
        *,
        columns: Sequence[str] | None = None,
        partitions: Collection[PartitionKey] | None = None,
    ) -> pa.Table:
        """Read all of it into memory; for tests, pages and small tables."""
        names = self.schema.names if columns is None else list(columns)
        read = list(self.batches(columns=columns, partitions=partitions))
        return pa.Table.from_batches(read, pa.schema([self.schema.field(name) for name in names]))

    def _repr_html_(self) -> str:
        return self.html()

    def html(self) -> str:
        """Return what a notebook shows of it: its rows, snapshot and columns as tables in HTML."""
        facts = {
            "table": str(self.name),
            "rows": f"{self.row_count:,}",
            "snapshot": str(self.snapshot_id or "none"),
            "partitioned by": ", ".join(self.partition_by) or "nothing",
        }
        columns = [(each.name, str(each.type)) for each in self.schema]
        return facts_html(facts) + rows_html(("column", "type"), columns)

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot itself; None for a table without commits."""
        return None if self.snapshot_id is None else self.metadata.snapshot_by_id(self.snapshot_id)

    def __hash__(self) -> int:
        return hash((self.metadata.table_uuid, self.snapshot_id))


# few versions: a file of 15 columns takes 6 KB here, and a long-lived process reads many versions
@lru_cache(maxsize=8)
def _all_files(version: TableVersion) -> tuple[FileEntry, ...]:
    return _read_files(version, lambda _: True)


def _read_files(
    version: TableVersion,
    may_hold: Callable[[ManifestFile], bool],
    is_wanted: Callable[[DataFile], bool] = lambda _: True,
) -> tuple[FileEntry, ...]:
    metadata, io = version.metadata, version.io
    terms = partitions.all_terms(metadata)
    listed = manifests.manifests_of(version.snapshot, io)
    index = deletes.read_index(listed, io, metadata=metadata, table=str(version.name))
    entries = manifests.live_entries(listed, io, may_hold=may_hold)
    found = [
        FileEntry.of(entry, terms, deletes=() if index is None else index.of(entry))
        for entry in entries
        if is_wanted(entry.data_file)
    ]
    places = {entry.partition: [str(v) for v in entry.partition] for entry in found}
    return tuple(sorted(found, key=lambda entry: (places[entry.partition], entry.path)))


def read_entry(
    entry: FileEntry,
    wanted: pa.Schema,
    *,
    io: FileIO,
    mapping: NameMapping | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read the rows of one file that no delete file deletes, like `read_file`.

    Raises:
        CorruptFileError: If the file or one of its delete files is missing or damaged.
        UnfitFileError: If a column or a value of it does not fit `wanted`.

    """
    if not entry.deletes:
        yield from read_file(entry.path, wanted, io=io, mapping=mapping)
        return
    by_value, by_position = deletes.by_kind(entry.deletes)
    gone = deletes.deleted_positions(by_position, io=io, location=entry.data_file.file_path)
    values = deleted_values(by_value, wanted, io=io, read=read_file)
    needed = pa.schema([*wanted, *(field for each in values for field in each.fields)])
    start = 0
    for batch in read_file(entry.path, needed, io=io, mapping=mapping):
        first, last = np.searchsorted(gone, (start, start + batch.num_rows))
        kept = np.ones(batch.num_rows, bool)
        kept[gone[first:last] - start] = False
        start += batch.num_rows
        at = len(wanted)
        for each in values:
            kept &= each.spare(batch.columns[at : at + len(each.fields)])
            at += len(each.fields)
        rows = batch.select(range(len(wanted)))
        yield rows if kept.all() else rows.filter(pa.array(kept))


def read_file(
    path: str, wanted: pa.Schema, *, io: FileIO, mapping: NameMapping | None = None
) -> Iterator[pa.RecordBatch]:
    """Read one Parquet file as `wanted`, whose fields carry Iceberg ids.

    Fields are resolved by id, not by name, at every depth: see `Projection`. Missing fields are
    null. `mapping` maps names to ids for files without ids. Times of the deprecated type INT96 are
    read in microseconds, which cover years beyond 9999.

    Raises:
        CorruptFileError: If the file is missing or damaged.
        UnfitFileError: If a column or a value of it does not fit `wanted`.

    """
    with reading(path), open_input(io, path) as source:
        footer = read_footer(source, path=path)
        file = pq.ParquetFile(
            source,
            metadata=footer,
            page_checksum_verification=True,
            coerce_int96_timestamp_unit="us",
        )
        with _fitting(path):
            projection = Projection.of_file(file.schema_arrow, wanted, mapping=mapping)
        rows = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=projection.reads):
            rows += batch.num_rows
            with _fitting(path):
                fitted = projection.apply(batch)
            yield fitted
        if rows != footer.num_rows:
            # a page's checksum does not cover its header: a flipped bit there skips the page
            detail = f"{rows} of its {footer.num_rows} rows were found"
            raise CorruptFileError(path, detail)


@contextlib.contextmanager
def _fitting(path: str) -> Generator[None]:
    try:
        yield
    except Misfit as error:
        raise UnfitFileError(path, str(error), reason=error.reason, column=error.column) from error
