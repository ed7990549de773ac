"""Write the manifests of one commit: only those it touches, merged so that their number stays low."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

from pyiceberg.avro.file import AvroOutputFile
from pyiceberg.io import FileIO, OutputFile
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
    manifest_entry_schema_with_data_file,
    write_manifest_list,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import TableVersion
from pyiceberg.types import IntegerType, ListType, NestedField, StructType
from typing_extensions import override

from headrace.iceberg import partitions
from headrace.iceberg.manifests import has_live_files, live_entries
from headrace.iceberg.partition_types import TypedSpec, typed_spec
from headrace.iceberg.recent_writes import RecentWrites
from headrace.iceberg.standard_properties import metadata_folder
from headrace.storage.checksums import NamedOutput
from headrace.storage.writing import write_all

MANIFESTS_PER_TIER = 8  # each entry is then rewritten O(log n) times in the life of a table
ENTRIES_PER_MANIFEST = 1_000  # planning one partition then reads about this many entries
_FULL_TIER = (
    3  # 512 entries and more: larger manifests are rewritten by maintenance, not by commits
)
_EQUALITY_IDS = NestedField(
    field_id=135,
    name="equality_ids",
    field_type=ListType(element_id=136, element_type=IntegerType(), element_required=True),
    required=False,
)
CODEC = "deflate"  # supported by every Avro reader; DuckDB refuses zstandard


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """The manifests of a new snapshot and what they add and remove."""

    manifests: tuple[ManifestFile, ...]
    removed: tuple[DataFile, ...]


class _OneBlock:
    """Collects entries and writes them as one Avro block; PyIceberg writes one block per entry.

    Blocks are compressed and read separately: with one per entry, planning 1,000 files takes twice
    as long.
    """

    def __init__(self, writer: AvroOutputFile[ManifestEntry]) -> None:
        self._writer, self._entries = writer, list[ManifestEntry]()

    def write_block(self, entries: list[ManifestEntry]) -> None:
        self._entries.extend(entries)

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(self, *exit_arguments: object) -> None:
        if self._entries:
            self._writer.write_block(self._entries)
        self._writer.__exit__(*exit_arguments)  # pyright: ignore[reportArgumentType]

    @property
    def output_file(self) -> OutputFile:
        return self._writer.output_file


class _Writer(ManifestWriterV2):
    """Writes a manifest of data files, or of delete files, which PyIceberg can only read."""

    def __init__(
        self,
        spec: PartitionSpec,
        schema: Schema,
        output_file: OutputFile,
        snapshot_id: int,
        *,
        content: ManifestContent,
    ) -> None:
        super().__init__(spec, schema, output_file, snapshot_id, CODEC)
        self._content = content

    @override
    def content(self) -> ManifestContent:
        return self._content

    @property
    @override
    def _meta(self) -> dict[str, str]:
        kind = "data" if self._content == ManifestContent.DATA else "deletes"
        return {**super()._meta, "content": kind}

    @override
    def _with_partition(self, format_version: TableVersion) -> Schema:
        """Write ids of columns as `int`, as the format has them; PyIceberg takes `long`.

        With `long`, Trino and Flink fail on the first entry of an equality delete.
        """
        # by its place: an index by name costs as much again
        *_, data_file = (each.field_type for each in super()._with_partition(format_version).fields)
        assert isinstance(data_file, StructType)
        fields = [
            _EQUALITY_IDS if each.field_id == _EQUALITY_IDS.field_id else each
            for each in data_file.fields
        ]
        return manifest_entry_schema_with_data_file(format_version, StructType(*fields))

    @override
    def new_writer(self) -> AvroOutputFile[ManifestEntry]:
        return cast("AvroOutputFile[ManifestEntry]", _OneBlock(super().new_writer()))


class ManifestSet:
    """Builds the manifests of one commit attempt from those of its parent.

    They are in the store once their list is, which `write_list` writes with them. `recent` is asked
    before the store is read, and keeps what is written.
    """

    def __init__(
        self,
        metadata: TableMetadata,
        io: FileIO,
        *,
        snapshot_id: int,
        recent: RecentWrites | None = None,
    ) -> None:
        self._metadata, self._snapshot_id = metadata, snapshot_id
        self._recent = recent or RecentWrites()
        self._pending: dict[str, bytes] = {}
        self._io = self._recent.over(io, pending=self._pending)
        self._specs: dict[int, TypedSpec] = {}
        self._parent: Sequence[ManifestFile] = ()
        self._commit_id = uuid.uuid4()
        self.written: list[str] = []

    def build(
        self,
        parent: Sequence[ManifestFile],
        *,
        added: Sequence[DataFile],
        is_removed: Callable[[DataFile], bool] | None,
        may_hold: Callable[[ManifestFile], bool],
    ) -> Rewritten:
        """Add `added`, drop files that `is_removed` selects, and reuse untouched manifests."""
        self._parent = parent
        kept = [manifest for manifest in parent if has_live_files(manifest)]
        fresh: list[ManifestFile] = []
        removed: list[ManifestEntry] = []
        for spec_id in sorted({file.spec_id for file in added}):
            entries = [_added(file, self._snapshot_id) for file in added if file.spec_id == spec_id]
            fresh.append(self._write(entries, spec_id=spec_id))
        if is_removed is not None:
            kept, removed = self._drop(kept, is_removed, may_hold)
            fresh.extend(self._write_removed(removed))
        return Rewritten(
            manifests=(*fresh, *self._merge_tiers(kept)),
            removed=tuple(entry.data_file for entry in removed),
        )

    def cluster(self, parent: Sequence[ManifestFile], *, entries_max: int) -> Rewritten:
        """List the same files in new manifests, each of neighbouring partitions only.

        A reader of one partition then opens about one manifest. Files of older partition specs and
        delete files keep manifests of their own.
        """
        self._parent = parent
        groups: dict[tuple[int, ManifestContent], list[ManifestEntry]] = {}
        for content in (ManifestContent.DATA, ManifestContent.DELETES):
            for entry in live_entries(parent, self._io, content=content):
                groups.setdefault((entry.data_file.spec_id, content), []).append(entry)
        manifests: list[ManifestFile] = []
        for (spec_id, content), entries in groups.items():
            manifests.extend(
                self._clustered(entries, spec_id=spec_id, content=content, entries_max=entries_max)
            )
        return Rewritten(manifests=tuple(manifests), removed=())

    def moved(self, manifest: ManifestFile, entries: Sequence[ManifestEntry]) -> ManifestFile:
        """Write a manifest whose files were moved; its list entry changes in the location only."""
        self._parent = (manifest,)
        written = self._write(entries, spec_id=manifest.partition_spec_id, content=manifest.content)
        said = [manifest[position] for position in range(len(manifest))]
        said[:2] = [written.manifest_path, written.manifest_length]
        return ManifestFile(*said)

    def listing(self, files: Sequence[DataFile]) -> tuple[ManifestFile, ...]:
        """Write manifests that list files of another table as files that were there before.

        No snapshot adds them, so that whoever removes what this table's snapshots added takes none.
        """
        sequence_number = self._metadata.next_sequence_number()
        return tuple(
            self._write(
                [
                    ManifestEntry.from_args(
                        status=ManifestEntryStatus.EXISTING,
                        snapshot_id=self._snapshot_id,
                        sequence_number=sequence_number,
                        file_sequence_number=sequence_number,
                        data_file=file,
                    )
                    for file in files
                    if file.spec_id == spec_id
                ],
                spec_id=spec_id,
            )
            for spec_id in sorted({file.spec_id for file in files})
        )

    def write_list(
        self,
        manifests: Sequence[ManifestFile],
        *,
        parent_id: int | None,
        sequence_number: int | None = None,
    ) -> str:
        """Write the manifest list of the snapshot and all manifests, fsynced; return its location.

        The sequence number defaults to the next one of the table.
        """
        if sequence_number is None:
            sequence_number = self._metadata.next_sequence_number()
        output = NamedOutput()
        with write_manifest_list(
            format_version=2,
            output_file=output,
            snapshot_id=self._snapshot_id,
            parent_snapshot_id=parent_id,
            sequence_number=sequence_number,
            avro_compression=CODEC,
        ) as writer:
            writer.add_manifests(list(manifests))
        location = self._place(output, f"snap-{self._snapshot_id}-{self._commit_id}.avro")
        write_all(self._io, self._pending)
        for each, content in self._pending.items():
            self._recent.keep(each, content)
        self._pending.clear()
        return location

    def _drop(
        self,
        manifests: Sequence[ManifestFile],
        is_removed: Callable[[DataFile], bool],
        may_hold: Callable[[ManifestFile], bool],
    ) -> tuple[list[ManifestFile], list[ManifestEntry]]:
        kept: list[ManifestFile] = []
        removed: list[ManifestEntry] = []
        for manifest in manifests:
            if not may_hold(manifest):
                kept.append(manifest)
                continue
            stay: list[ManifestEntry] = []
            gone: list[ManifestEntry] = []
            for entry in live_entries([manifest], self._io, content=manifest.content):
                (gone if is_removed(entry.data_file) else stay).append(entry)
            removed.extend(gone)
            if not gone:
                kept.append(manifest)
            elif stay:
                kept.append(self._rewrite(stay, like=manifest))
        return kept, removed

    def _write_removed(self, removed: Sequence[ManifestEntry]) -> list[ManifestFile]:
        """List removed files, as the format requires, in one manifest per spec and content."""
        groups: dict[tuple[int, ManifestContent], list[ManifestEntry]] = {}
        for entry in removed:
            is_data = entry.data_file.content == DataFileContent.DATA
            content = ManifestContent.DATA if is_data else ManifestContent.DELETES
            groups.setdefault((entry.data_file.spec_id, content), []).append(entry)
        return [
            self._write(
                [_as_deleted(entry, self._snapshot_id) for entry in entries],
                spec_id=spec_id,
                content=content,
            )
            for (spec_id, content), entries in groups.items()
        ]

    def _merge_tiers(self, manifests: Sequence[ManifestFile]) -> list[ManifestFile]:
        tiers: dict[tuple[int, int, int], list[ManifestFile]] = {}
        merged: list[ManifestFile] = []
        for manifest in manifests:
            files = (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)
            size = (max(files, 1).bit_length() - 1) // 3
            if size >= _FULL_TIER:
                merged.append(manifest)
                continue
            key = (manifest.partition_spec_id, int(manifest.content), size)
            tiers.setdefault(key, []).append(manifest)
        for members in tiers.values():
            if len(members) < MANIFESTS_PER_TIER:
                merged.extend(members)
                continue
            content = members[0].content
            entries = list(live_entries(members, self._io, content=content))
            merged.extend(
                self._clustered(
                    entries,
                    spec_id=members[0].partition_spec_id,
                    content=content,
                    entries_max=ENTRIES_PER_MANIFEST,
                )
            )
        return merged

    def _clustered(
        self,
        entries: list[ManifestEntry],
        *,
        spec_id: int,
        content: ManifestContent,
        entries_max: int,
    ) -> Iterator[ManifestFile]:
        entries.sort(key=_by_partition)
        for chunk in chunks(entries, key=_place, size_max=entries_max):
            listed = [_as_existing(each) for each in chunk]
            yield self._write(listed, spec_id=spec_id, content=content)

    def _rewrite(self, entries: Iterable[ManifestEntry], *, like: ManifestFile) -> ManifestFile:
        return self._write(
            [_as_existing(entry) for entry in entries],
            spec_id=like.partition_spec_id,
            content=like.content,
        )

    def _write(
        self,
        entries: Sequence[ManifestEntry],
        *,
        spec_id: int,
        content: ManifestContent = ManifestContent.DATA,
    ) -> ManifestFile:
        output = NamedOutput()
        spec = self._spec(spec_id)
        schema = partitions.schema_of_spec(self._metadata, spec)
        with _Writer(spec, schema, output, self._snapshot_id, content=content) as writer:
            for entry in entries:
                writer.add_entry(entry)
        self._place(output, f"{self._commit_id}-m{len(self.written)}.avro")
        return writer.to_manifest_file()

    def _spec(self, spec_id: int) -> TypedSpec:
        if spec_id not in self._specs:
            self._specs[spec_id] = typed_spec(
                self._metadata, spec_id, manifests=self._parent, io=self._io
            )
        return self._specs[spec_id]

    def _place(self, output: NamedOutput, name: str) -> str:
        """Give a finished file its place, where the next list writes it; return its location."""
        folder = metadata_folder(self._metadata.location, self._metadata.properties)
        location = output.place(f"{folder}/{name}")
        self.written.append(location)
        self._pending[location] = output.content
        return location


def chunks(
    ordered: Sequence[T], *, key: Callable[[T], object], size_max: int
) -> Iterator[Sequence[T]]:
    """Split an ordered sequence into chunks of at most `size_max`, preferably between keys.

    A chunk that is at least half full ends at the end of its key, so that the items of one key are
    in few chunks and most chunks hold whole keys.
    """
    start = 0
    for at in range(1, len(ordered) + 1):
        size = at - start
        ends_key = at == len(ordered) or key(ordered[at]) != key(ordered[at - 1])
        if size == size_max or (ends_key and 2 * size >= size_max):
            yield ordered[start:at]
            start = at
    if start < len(ordered):
        yield ordered[start:]


def _place(entry: ManifestEntry) -> tuple[object, ...]:
    record = entry.data_file.partition
    return tuple(record[position] for position in range(len(record)))


def _by_partition(entry: ManifestEntry) -> tuple[list[tuple[bool, str, Any]], int, str]:
    """Return a sort key for mixed and missing values; entries stay in order of time."""
    key: list[tuple[bool, str, Any]] = [
        (False, "", "") if v is None else (True, type(v).__name__, v) for v in _place(entry)
    ]
    return key, entry.sequence_number or 0, entry.data_file.file_path


def _added(file: DataFile, snapshot_id: int) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED,
        snapshot_id=snapshot_id,
        sequence_number=None,
        file_sequence_number=None,
        data_file=file,
    )


def _as_existing(entry: ManifestEntry) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.EXISTING,
        snapshot_id=entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )


def _as_deleted(entry: ManifestEntry, snapshot_id: int) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.DELETED,
        snapshot_id=snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )
