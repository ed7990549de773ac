"""Read the manifests of a snapshot: its live data files and delete files."""

# pyright: reportPrivateUsage=false

import contextlib
import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from functools import lru_cache

from pyiceberg.avro.reader import Reader
from pyiceberg.avro.resolver import resolve_reader
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import ResolveError
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DEFAULT_READ_VERSION,
    MANIFEST_ENTRY_SCHEMAS,
    MANIFEST_LIST_FILE_SCHEMAS,
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    PartitionFieldSummary,
    _inherit_from_manifest,
)
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from headrace.errors import CorruptFileError
from headrace.iceberg import avro, partitions
from headrace.storage.checksums import checking, checksum_of
from headrace.storage.failures import unreadable

# what pyiceberg's decoder raises on damaged files without a checksum (10,000 flipped bits)
_UNDECODABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    SystemError,
    MemoryError,
    zlib.error,
    ResolveError,
)


def manifests_of(snapshot: Snapshot | None, io: FileIO) -> tuple[ManifestFile, ...]:
    """Return the manifests of a snapshot.

    Raises:
        CorruptFileError: If the manifest list is missing or damaged.

    """
    if snapshot is None:
        return ()
    with _naming(snapshot.manifest_list):
        return tuple(avro.records(io, snapshot.manifest_list, _list_reader))


@lru_cache(maxsize=64)
def _list_reader(written: str) -> Reader:
    return resolve_reader(
        avro.schema_of(written),
        MANIFEST_LIST_FILE_SCHEMAS[DEFAULT_READ_VERSION],
        {-1: ManifestFile, 508: PartitionFieldSummary},
        {517: ManifestContent},
    )


def entries_of(manifest: ManifestFile, io: FileIO) -> list[ManifestEntry]:
    """Return the entries of a manifest, including those of removed files.

    Raises:
        CorruptFileError: If it is missing or damaged, or its file count differs from its list.

    """
    with _naming(manifest.manifest_path):
        decoded = avro.records(io, manifest.manifest_path, _entry_reader)
        entries = [_inherit_from_manifest(entry, manifest) for entry in decoded]
    refuse_lost_files(
        manifest.manifest_path,
        found=sum(entry.status != ManifestEntryStatus.DELETED for entry in entries),
        listed=live_files(manifest.added_files_count, manifest.existing_files_count),
    )
    return entries


def live_files(added: int | None, existing: int | None) -> int | None:
    """Return how many live files a manifest has by its list; None if the list does not say."""
    return None if added is None or existing is None else added + existing


def refuse_lost_files(location: str, *, found: int, listed: int | None) -> None:
    """Refuse a manifest that was truncated between two blocks, which only its list reveals.

    Raises:
        CorruptFileError: If it has more or fewer live files than its manifest list says.

    """
    if listed not in (None, found):
        detail = f"it has {found} live files, its manifest list says {listed}"
        raise CorruptFileError(location, detail)


@lru_cache(maxsize=64)
def _entry_reader(written: str) -> Reader:
    return resolve_reader(
        avro.schema_of(written),
        MANIFEST_ENTRY_SCHEMAS[DEFAULT_READ_VERSION],
        {-1: ManifestEntry, 2: DataFile},
        {0: ManifestEntryStatus, 101: FileFormat, 134: DataFileContent},
    )


@contextlib.contextmanager
def _naming(location: str) -> Generator[None]:
    try:
        yield
    except _UNDECODABLE as error:
        raise unreadable(location, error) from error


def check_bytes(location: str, io: FileIO) -> None:
    """Verify the checksum, if any, of a metadata file that another program will decode.

    Raises:
        CorruptFileError: If it is missing or damaged.

    """
    if checksum_of(location) is not None:
        with _naming(location):
            checking(io).new_input(location).open().close()


def has_live_files(manifest: ManifestFile) -> bool:
    """Whether a manifest lists any file that is not removed."""
    return manifest.has_added_files() or manifest.has_existing_files()


def live_entries(
    manifests: Iterable[ManifestFile],
    io: FileIO,
    *,
    content: ManifestContent = ManifestContent.DATA,
    may_hold: Callable[[ManifestFile], bool] = lambda _: True,
) -> Iterator[ManifestEntry]:
    """Yield the entry of every live data file, or delete file, of any partition spec.

    Raises:
        CorruptFileError: If a manifest is missing or damaged.

    """
    for manifest in manifests:
        if manifest.content == content and has_live_files(manifest) and may_hold(manifest):
            for entry in entries_of(manifest, io):
                if entry.status != ManifestEntryStatus.DELETED:
                    yield entry


def holds_partitions(
    metadata: TableMetadata, wanted: Collection[partitions.PartitionKey], *, spec_id: int
) -> Callable[[ManifestFile], bool]:
    """Build a test, on partition bounds alone, whether a manifest may hold one of `wanted`.

    Keys are of partition spec `spec_id`; a manifest of another spec may hold anything.
    """
    spec = metadata.specs()[spec_id]
    schema = partitions.schema_of_spec(metadata, spec)
    types = [f.field_type for f in spec.partition_type(schema).fields]
    stored = (partitions.record_of_key(key) for key in wanted)
    records = [tuple(record[i] for i in range(len(types))) for record in stored]

    def may_hold(manifest: ManifestFile) -> bool:
        summaries = manifest.partitions
        if summaries is None or manifest.partition_spec_id != spec_id:
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
