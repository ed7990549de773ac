"""Reading the live files of a snapshot, and rewriting only the manifests a commit touches."""

import contextlib
import uuid
import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pyiceberg.conversions import from_bytes
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    write_manifest,
)
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from headrace.errors import CorruptFileError, UnsupportedTableError
from headrace.tables import partitions
from headrace.tables.files import sync_file

MANIFESTS_PER_TIER = 8  # so a commit rewrites each entry O(log n) times over a table's life
CODEC = "deflate"  # what every reader of Avro manifests knows; DuckDB refuses zstandard


def manifests_of(snapshot: Snapshot | None, io: FileIO) -> tuple[ManifestFile, ...]:
    """Return the manifests of a snapshot; pyiceberg keeps the lists it has read."""
    if snapshot is None:
        return ()
    with _naming(snapshot.manifest_list):
        return tuple(snapshot.manifests(io))


@contextlib.contextmanager
def _naming(location: str) -> Generator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise CorruptFileError(location, str(error)) from error


def live_entries(
    manifests: Iterable[ManifestFile],
    io: FileIO,
    *,
    table: str,
    spec_id: int,
    may_hold: Callable[[ManifestFile], bool] = lambda _: True,
) -> Iterator[ManifestEntry]:
    """Yield the entry of every live data file.

    Raises:
        UnsupportedTableError: If the snapshot has delete files, or files of another scheme.

    """
    for manifest in manifests:
        if manifest.content != ManifestContent.DATA:
            raise UnsupportedTableError(table, "it has delete files, which only engines can read")
        if not (manifest.has_added_files() or manifest.has_existing_files()):
            continue
        if manifest.partition_spec_id != spec_id:
            detail = "it has files of an older partition scheme, which only engines can read"
            raise UnsupportedTableError(table, detail)
        if may_hold(manifest):
            with _naming(manifest.manifest_path):
                entries = manifest.fetch_manifest_entry(io)
            yield from entries


def holds_partitions(
    metadata: TableMetadata, wanted: Collection[partitions.PartitionKey]
) -> Callable[[ManifestFile], bool]:
    """Build a test, from partition bounds alone, whether a manifest may hold one of `wanted`."""
    types = [f.field_type for f in metadata.spec().partition_type(metadata.schema()).fields]
    stored = (partitions.record_of_key(key) for key in wanted)
    records = [tuple(record[i] for i in range(len(types))) for record in stored]

    def may_hold(manifest: ManifestFile) -> bool:
        summaries = manifest.partitions
        if summaries is None or manifest.partition_spec_id != metadata.default_spec_id:
            return True
        bounds = [
            (
                None if s.lower_bound is None else from_bytes(t, s.lower_bound),
                None if s.upper_bound is None else from_bytes(t, s.upper_bound),
            )
            for s, t in zip(summaries, types, strict=True)
        ]
        return any(
            all(
                value is None or (low is not None and low <= value <= high)
                for value, (low, high) in zip(record, bounds, strict=True)
            )
            for record in records
        )

    return may_hold


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """The manifests of a new snapshot and what they add and remove."""

    manifests: tuple[ManifestFile, ...]
    removed: tuple[DataFile, ...]


class ManifestSet:
    """Builds the manifests of one commit attempt on top of those of its parent."""

    def __init__(self, metadata: TableMetadata, io: FileIO, *, snapshot_id: int) -> None:
        self._metadata, self._io, self._snapshot_id = metadata, io, snapshot_id
        self.commit_id = uuid.uuid4()
        self._count = 0
        self.written: list[str] = []

    def build(
        self,
        parent: Sequence[ManifestFile],
        *,
        added: Sequence[DataFile],
        is_removed: Callable[[DataFile], bool] | None,
        may_hold: Callable[[ManifestFile], bool],
        table: str,
    ) -> Rewritten:
        """Add `added` and drop the files `is_removed` picks, keeping untouched manifests as they are."""
        kept = [m for m in parent if m.has_added_files() or m.has_existing_files()]
        removed: list[ManifestEntry] = []
        if is_removed is not None:
            kept, removed = self._drop(kept, is_removed, may_hold, table)
        fresh: list[ManifestFile] = []
        if added:
            fresh.append(self._write(_added(file, self._snapshot_id) for file in added))
        if removed:
            fresh.append(self._write(_as_deleted(e, self._snapshot_id) for e in removed))
        return Rewritten(
            manifests=(*fresh, *self._merge_tiers(kept, table)),
            removed=tuple(entry.data_file for entry in removed),
        )

    def _drop(
        self,
        manifests: Sequence[ManifestFile],
        is_removed: Callable[[DataFile], bool],
        may_hold: Callable[[ManifestFile], bool],
        table: str,
    ) -> tuple[list[ManifestFile], list[ManifestEntry]]:
        kept: list[ManifestFile] = []
        removed: list[ManifestEntry] = []
        for manifest in manifests:
            if not may_hold(manifest):
                kept.append(manifest)
                continue
            stay: list[ManifestEntry] = []
            gone: list[ManifestEntry] = []
            for entry in self._live([manifest], table):
                (gone if is_removed(entry.data_file) else stay).append(entry)
            removed.extend(gone)
            if not gone:
                kept.append(manifest)
            elif stay:
                kept.append(self._write(_as_existing(e) for e in stay))
        return kept, removed

    def _merge_tiers(self, manifests: Sequence[ManifestFile], table: str) -> list[ManifestFile]:
        tiers: dict[tuple[int, int], list[ManifestFile]] = {}
        for manifest in manifests:
            files = (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)
            tier = (manifest.partition_spec_id, (max(files, 1).bit_length() - 1) // 3)
            tiers.setdefault(tier, []).append(manifest)
        merged: list[ManifestFile] = []
        for (spec_id, _), members in tiers.items():
            if len(members) < MANIFESTS_PER_TIER or spec_id != self._metadata.default_spec_id:
                merged.extend(members)
                continue
            entries = (_as_existing(e) for e in self._live(members, table))
            merged.append(self._write(entries))
        return merged

    def _live(self, manifests: Iterable[ManifestFile], table: str) -> Iterator[ManifestEntry]:
        return live_entries(
            manifests, self._io, table=table, spec_id=self._metadata.default_spec_id
        )

    def _write(self, entries: Iterable[ManifestEntry]) -> ManifestFile:
        location = f"{self._metadata.location}/metadata/{self.commit_id}-m{self._count}.avro"
        self._count += 1
        self.written.append(location)
        with write_manifest(
            format_version=2,
            spec=self._metadata.spec(),
            schema=self._metadata.schema(),
            output_file=self._io.new_output(location),
            snapshot_id=self._snapshot_id,
            avro_compression=CODEC,
        ) as writer:
            for entry in entries:
                writer.add_entry(entry)
        sync_file(location)
        return writer.to_manifest_file()


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
