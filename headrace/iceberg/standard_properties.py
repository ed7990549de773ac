"""Iceberg's standard table properties; no other module reads them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.table.locations import ObjectStoreLocationProvider

from headrace.definitions.properties import FORMER_CODEC
from headrace.errors import UnsupportedReason, UnsupportedTableError

COMPRESSION_CODEC = "write.parquet.compression-codec"
COMPRESSION_LEVEL = "write.parquet.compression-level"
ROW_GROUP_BYTES = "write.parquet.row-group-size-bytes"
ROW_GROUP_ROWS = "write.parquet.row-group-limit"
PAGE_BYTES = "write.parquet.page-size-bytes"
PAGE_ROWS = "write.parquet.page-row-limit"
DICTIONARY_BYTES = "write.parquet.dict-size-bytes"

TARGET_FILE_BYTES = "write.target-file-size-bytes"
GC_ENABLED = "gc.enabled"
SNAPSHOTS_MIN = "history.expire.min-snapshots-to-keep"
SNAPSHOT_AGE_MS = "history.expire.max-snapshot-age-ms"
REF_AGE_MS = "history.expire.max-ref-age-ms"
METRICS_DEFAULT = "write.metadata.metrics.default"
METRICS_COLUMN = "write.metadata.metrics.column."  # before a column's name
METADATA_DELETED = "write.metadata.delete-after-commit.enabled"
METADATA_KEPT_MAX = "write.metadata.previous-versions-max"
DATA_PATH = "write.data.path"
METADATA_PATH = "write.metadata.path"
OBJECT_STORAGE = "write.object-storage.enabled"
PARTITIONED_PATHS = "write.object-storage.partitioned-paths"
# data folders of older tables; `write.data.path` takes precedence over both
OBJECT_STORAGE_PATH = "write.object-storage.path"
FOLDER_STORAGE_PATH = "write.folder-storage.path"

ROWS_PER_ROW_GROUP = 131_072  # best trade-off of decode speed against memory
DICTIONARY_PAGE_BYTES = 16 * 1024 * 1024  # pyarrow's 1 MiB drops dictionaries of hashed ids
DEFAULT_CODEC = "zstd"
# Iceberg's names of the codecs that every engine reads, and pyarrow's names for them
CODECS = {"zstd": "zstd", "snappy": "snappy", "gzip": "gzip", "uncompressed": "none"}
# Iceberg allows these too, but Trino reads neither brotli nor pyarrow's LZ4, and pyarrow neither LZO
# nor Hadoop's LZ4: files get the default codec instead
_CODECS_OF_SOME_ENGINES = frozenset({"lz4", "lz4_raw", "brotli", "lzo"})


@dataclass(frozen=True, kw_only=True)
class ParquetRecipe:
    """How the data files of a table are written; None leaves a setting to pyarrow.

    `codec` is pyarrow's name. `row_group_bytes` limits the in-memory size of a row group, which is
    about its size on disk without dictionaries and compression.
    """

    codec: str = CODECS[DEFAULT_CODEC]
    level: int | None = None
    row_group_rows: int = ROWS_PER_ROW_GROUP
    row_group_bytes: int | None = None
    page_bytes: int | None = None
    page_rows: int | None = None
    dictionary_bytes: int = DICTIONARY_PAGE_BYTES


def parquet_recipe(properties: Mapping[str, str], *, table: str) -> ParquetRecipe:
    """Read the Parquet settings of a table. Pure.

    A codec that only some engines read is ignored: files are written with the default codec.

    Raises:
        UnsupportedTableError: If a property has an invalid value; it names the property.

    """

    def count(name: str) -> int | None:
        return _count(properties, name, table=table)

    codec = _codec(properties, table=table)
    return ParquetRecipe(
        codec=CODECS[codec or DEFAULT_CODEC],
        level=None if codec is None else _level(properties, codec, table=table),
        row_group_rows=count(ROW_GROUP_ROWS) or ROWS_PER_ROW_GROUP,
        row_group_bytes=count(ROW_GROUP_BYTES),
        page_bytes=count(PAGE_BYTES),
        page_rows=count(PAGE_ROWS),
        dictionary_bytes=count(DICTIONARY_BYTES) or DICTIONARY_PAGE_BYTES,
    )


def names_a_codec_of_some_engines(properties: Mapping[str, str]) -> bool:
    """Whether, by its properties, a table may have files in a codec that some engines do not read."""
    said = properties.get(COMPRESSION_CODEC, "").lower(), properties.get(FORMER_CODEC, "")
    return not _CODECS_OF_SOME_ENGINES.isdisjoint(said)


@dataclass(frozen=True, kw_only=True)
class Retention:
    """The retention that a table's properties declare; None if a property is not set."""

    snapshots_min: int | None = None
    snapshot_age_ms: int | None = None
    ref_age_ms: int | None = None


# the format's defaults for tables that set nothing; tables of a lake use the lake's settings
FORMAT_RETENTION = Retention(snapshots_min=1, snapshot_age_ms=5 * 86_400_000)


def retention(properties: Mapping[str, str], *, table: str, defaults: Retention) -> Retention:
    """Read the retention of a table; unset properties come from `defaults`. Pure.

    Raises:
        UnsupportedTableError: If a property has an invalid value; it names the property.

    """
    return Retention(
        snapshots_min=_count(properties, SNAPSHOTS_MIN, table=table) or defaults.snapshots_min,
        snapshot_age_ms=_count(properties, SNAPSHOT_AGE_MS, table=table)
        or defaults.snapshot_age_ms,
        ref_age_ms=_count(properties, REF_AGE_MS, table=table) or defaults.ref_age_ms,
    )


def collects_garbage(properties: Mapping[str, str]) -> bool:
    """Whether snapshots may expire and files be removed; if not, other tables may share the files."""
    return _is_true(properties, GC_ENABLED, default=True)


def target_file_bytes(properties: Mapping[str, str], *, table: str) -> int | None:
    """Read the target size of data files; None if it is not set. Raises what `retention` raises."""
    return _count(properties, TARGET_FILE_BYTES, table=table)


def data_folder(location: str, properties: Mapping[str, str]) -> str:
    """Return the folder for data files of the table at `location`."""
    names = (DATA_PATH, FOLDER_STORAGE_PATH)
    if uses_object_storage(properties):
        names = (DATA_PATH, OBJECT_STORAGE_PATH, FOLDER_STORAGE_PATH)
    said = next((properties[name] for name in names if properties.get(name)), None)
    return said.rstrip("/") if said else f"{location.rstrip('/')}/data"


def metadata_folder(location: str, properties: Mapping[str, str]) -> str:
    """Return the folder for metadata files, manifests and lists of the table at `location`."""
    said = properties.get(METADATA_PATH)
    return said.rstrip("/") if said else f"{location.rstrip('/')}/metadata"


def uses_object_storage(properties: Mapping[str, str]) -> bool:
    """Whether data files are spread over folders by a hash, as suits object stores."""
    return _is_true(properties, OBJECT_STORAGE, default=False)


def data_location(
    location: str, properties: Mapping[str, str], *, partition: str, name: str
) -> str:
    """Return the location of a new data file; `partition` is its folder, empty if unpartitioned."""
    folder = data_folder(location, properties)
    below = f"{partition}/{name}" if partition else name
    if not uses_object_storage(properties):
        return f"{folder}/{below}"
    with_partition = _is_true(properties, PARTITIONED_PATHS, default=True)
    wanted = {DATA_PATH: folder, PARTITIONED_PATHS: str(with_partition)}
    hashed = ObjectStoreLocationProvider(location, wanted)
    return hashed.new_data_location(below if with_partition else name)


def _is_true(properties: Mapping[str, str], name: str, *, default: bool) -> bool:
    # as in the Java library: anything but `true` is false
    said = properties.get(name)
    return default if said is None else said.strip().lower() == "true"


def _codec(properties: Mapping[str, str], *, table: str) -> str | None:
    """Return the codec to write with; None if some engines do not read the table's codec."""
    said = properties.get(COMPRESSION_CODEC, DEFAULT_CODEC).lower()
    if said in _CODECS_OF_SOME_ENGINES:
        return None
    if said not in CODECS:
        allowed = ", ".join(f"`{name}`" for name in CODECS)
        raise _unknown(table, COMPRESSION_CODEC, said, wanted=f"one of {allowed}")
    return said


def _level(properties: Mapping[str, str], codec: str, *, table: str) -> int | None:
    if COMPRESSION_LEVEL not in properties or codec in {"snappy", "uncompressed"}:
        return None  # these two have no levels
    said = properties[COMPRESSION_LEVEL]
    lowest = pa.Codec.minimum_compression_level(CODECS[codec])
    highest = pa.Codec.maximum_compression_level(CODECS[codec])
    level = _integer(said)
    if level is None or not lowest <= level <= highest:
        wanted = f"a level of `{codec}`, from {lowest} to {highest}"
        raise _unknown(table, COMPRESSION_LEVEL, said, wanted=wanted)
    return level


def _count(properties: Mapping[str, str], name: str, *, table: str) -> int | None:
    if name not in properties:
        return None
    found = _integer(properties[name])
    if found is None or found <= 0:
        raise _unknown(table, name, properties[name], wanted="a whole number above 0")
    return found


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _unknown(table: str, name: str, said: str, *, wanted: str) -> UnsupportedTableError:
    return UnsupportedTableError(
        table,
        f"its property `{name}` is `{said[:80]}`, not {wanted}",
        reason=UnsupportedReason.PROPERTY_VALUE,
    )
