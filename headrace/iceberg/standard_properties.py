"""What a table says about itself in Iceberg's standard properties: read here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.table.locations import ObjectStoreLocationProvider

from headrace.definitions.properties import FORMER_CODEC
from headrace.errors import UnsupportedTableError

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
# where older tables put their data; `write.data.path` goes before both
OBJECT_STORAGE_PATH = "write.object-storage.path"
FOLDER_STORAGE_PATH = "write.folder-storage.path"

ROWS_PER_ROW_GROUP = 131_072  # the knee of decode speed against memory
DICTIONARY_PAGE_BYTES = 16 * 1024 * 1024  # the default of 1 MiB loses dictionaries of hashed ids
DEFAULT_CODEC = "zstd"
# what Iceberg calls the codecs that every engine reads, and what pyarrow calls them
CODECS = {"zstd": "zstd", "snappy": "snappy", "gzip": "gzip", "uncompressed": "none"}
# Iceberg has these too, but Trino reads neither brotli nor the LZ4 that pyarrow writes, and pyarrow
# neither LZO nor the LZ4 of Hadoop: files get the default codec instead
_CODECS_OF_SOME_ENGINES = frozenset({"lz4", "lz4_raw", "brotli", "lzo"})


@dataclass(frozen=True, kw_only=True)
class ParquetRecipe:
    """How the data files of a table are written; what is None is left to pyarrow.

    `codec` is pyarrow's name. `row_group_bytes` limits a row group's rows as they lie in memory,
    which is about what they take on disk without dictionaries and compression.
    """

    codec: str = CODECS[DEFAULT_CODEC]
    level: int | None = None
    row_group_rows: int = ROWS_PER_ROW_GROUP
    row_group_bytes: int | None = None
    page_bytes: int | None = None
    page_rows: int | None = None
    dictionary_bytes: int = DICTIONARY_PAGE_BYTES


def parquet_recipe(properties: Mapping[str, str], *, table: str) -> ParquetRecipe:
    """Read how a table wants its Parquet files. Pure.

    A codec that only some engines read is not obeyed: files are written with the default one.

    Raises:
        UnsupportedTableError: If a property has a value that Iceberg does not know; naming it.

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
    """Whether files may lie there that not every engine reads, by what the table said or says."""
    said = properties.get(COMPRESSION_CODEC, "").lower(), properties.get(FORMER_CODEC, "")
    return not _CODECS_OF_SOME_ENGINES.isdisjoint(said)


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Which snapshots and refs a table keeps by its own word; None is what it does not say."""

    snapshots_min: int | None = None
    snapshot_age_ms: int | None = None
    ref_age_ms: int | None = None


# what the format says for a table that says nothing; a lake's own tables have the lake's settings
FORMAT_RETENTION = Retention(snapshots_min=1, snapshot_age_ms=5 * 86_400_000)


def retention(properties: Mapping[str, str], *, table: str, defaults: Retention) -> Retention:
    """Read how long a table keeps its snapshots; what it does not say is as in `defaults`. Pure.

    Raises:
        UnsupportedTableError: If a property says nothing that Iceberg knows; naming it.

    """
    return Retention(
        snapshots_min=_count(properties, SNAPSHOTS_MIN, table=table) or defaults.snapshots_min,
        snapshot_age_ms=_count(properties, SNAPSHOT_AGE_MS, table=table)
        or defaults.snapshot_age_ms,
        ref_age_ms=_count(properties, REF_AGE_MS, table=table) or defaults.ref_age_ms,
    )


def collects_garbage(properties: Mapping[str, str]) -> bool:
    """Whether snapshots may expire and files be removed: others may share them where not."""
    return _is_true(properties, GC_ENABLED, default=True)


def target_file_bytes(properties: Mapping[str, str], *, table: str) -> int | None:
    """Read how large a table wants its data files; None if it does not say. Raises as `retention`."""
    return _count(properties, TARGET_FILE_BYTES, table=table)


def data_folder(location: str, properties: Mapping[str, str]) -> str:
    """Say where the data files of the table at `location` go."""
    names = (DATA_PATH, FOLDER_STORAGE_PATH)
    if uses_object_storage(properties):
        names = (DATA_PATH, OBJECT_STORAGE_PATH, FOLDER_STORAGE_PATH)
    said = next((properties[name] for name in names if properties.get(name)), None)
    return said.rstrip("/") if said else f"{location.rstrip('/')}/data"


def metadata_folder(location: str, properties: Mapping[str, str]) -> str:
    """Say where the metadata files, manifests and their lists of the table at `location` go."""
    said = properties.get(METADATA_PATH)
    return said.rstrip("/") if said else f"{location.rstrip('/')}/metadata"


def uses_object_storage(properties: Mapping[str, str]) -> bool:
    """Whether data files are spread over folders by a hash, which object stores want."""
    return _is_true(properties, OBJECT_STORAGE, default=False)


def data_location(
    location: str, properties: Mapping[str, str], *, partition: str, name: str
) -> str:
    """Say where a new data file goes: `partition` is its folder, empty if there is none."""
    folder = data_folder(location, properties)
    below = f"{partition}/{name}" if partition else name
    if not uses_object_storage(properties):
        return f"{folder}/{below}"
    with_partition = _is_true(properties, PARTITIONED_PATHS, default=True)
    wanted = {DATA_PATH: folder, PARTITIONED_PATHS: str(with_partition)}
    hashed = ObjectStoreLocationProvider(location, wanted)
    return hashed.new_data_location(below if with_partition else name)


def _is_true(properties: Mapping[str, str], name: str, *, default: bool) -> bool:
    # as the Java library reads it: what is not `true` is false
    said = properties.get(name)
    return default if said is None else said.strip().lower() == "true"


def _codec(properties: Mapping[str, str], *, table: str) -> str | None:
    """Say which codec to write with; None if the one the table names is not for every engine."""
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
    return UnsupportedTableError(table, f"its property `{name}` is `{said[:80]}`, not {wanted}")
