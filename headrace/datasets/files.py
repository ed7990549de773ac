"""The file plan of a dataset version: which Parquet files hold it, down to their row groups."""

import datetime as dt
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO

from headrace.definitions.properties import FILE_PLAN
from headrace.errors import CorruptFileError
from headrace.iceberg.partitions import PartitionKey
from headrace.iceberg.projection import PinnedSchema
from headrace.storage.folders import Folders
from headrace.storage.footer import read_footer
from headrace.storage.inputs import open_input, reading
from headrace.storage.open import local_folders
from headrace.tables.version import FileEntry, TableVersion

FORMAT_VERSION = 1
_VERSION_KEY = FILE_PLAN.encode()
_FOOTER_THREADS = 8
_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("row_group_rows", pa.list_(pa.int64()), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("partition", pa.list_(pa.string()), nullable=False),
    ],
    metadata={_VERSION_KEY: str(FORMAT_VERSION).encode()},
)


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """One data file: its path, and the rows of it and of each of its row groups, in order.

    `partition` holds the partition values as text (a day as `2019-11-24`), in the order of the
    table's partitioning; a missing value is the empty string.
    """

    path: str
    rows: int
    row_group_rows: tuple[int, ...]
    bytes: int
    partition: tuple[str, ...]


@dataclass(frozen=True)
class FilePlan:
    """The files of one pinned table version, ordered by partition, then path.

    The order is part of the contract: the loader's global order is a function of it. `schema` is
    that of the version, and `io` opens its files with the credentials of its catalog. A plan that was
    read from disk has neither until `versions.load_dataset` gives it those of the pinned snapshot,
    nor has one of files that belong to no table.
    """

    files: tuple[PlannedFile, ...]
    schema: PinnedSchema | None = field(default=None, compare=False)
    io: FileIO | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.files, key=lambda file: (file.partition, file.path)))
        object.__setattr__(self, "files", ordered)

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    def between(self, first_day: dt.date, last_day: dt.date) -> "FilePlan":
        """Keep the files whose first partition value is a day of the range, both ends included."""
        first, last = first_day.isoformat(), last_day.isoformat()
        kept = (file for file in self.files if first <= file.partition[0][:10] <= last)
        return replace(self, files=tuple(kept))

    @classmethod
    def of(
        cls, version: TableVersion, *, partitions: Collection[PartitionKey] | None = None
    ) -> "FilePlan":
        """Plan the files of `version`, reading each file's footer for its row groups.

        Raises:
            CorruptFileError: If a footer cannot be read or disagrees with the table's metadata.

        """
        entries = version.plain_files(partitions=partitions)
        with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
            planned = tuple(pool.map(lambda entry: _planned(entry, version.io), entries))
        return cls(planned, version.pinned_schema, version.io)

    def write(self, path: Path | str, *, store: Folders | None = None) -> None:
        """Write the plan as one Parquet file, whole and durable; it replaces one that is there.

        `store` is the one that `path` is a location of, by default that of this host.

        Raises:
            StorageError: If it cannot be written; what was there before is there still.

        """
        columns: dict[str, list[Any]] = {
            "path": [file.path for file in self.files],
            "rows": [file.rows for file in self.files],
            "row_group_rows": [list(file.row_group_rows) for file in self.files],
            "bytes": [file.bytes for file in self.files],
            "partition": [list(file.partition) for file in self.files],
        }
        content = pa.BufferOutputStream()
        rows = pa.table(columns, schema=_SCHEMA)
        pq.write_table(rows, content, compression="zstd", write_page_checksum=True)
        (store or local_folders()).write(str(path), content.getvalue().to_pybytes())

    @classmethod
    def read(cls, path: Path | str, *, store: Folders | None = None) -> "FilePlan":
        """Read a plan written by `write`.

        Raises:
            CorruptFileError: If the file is missing, damaged, or of an unknown format version.

        """
        held = store or local_folders()
        with reading(str(path)), pa.BufferReader(held.read(str(path))) as source:
            table = pq.read_table(source, page_checksum_verification=True)
        found = (table.schema.metadata or {}).get(_VERSION_KEY, b"none").decode()
        if found != str(FORMAT_VERSION):
            detail = f"file plan format {found}, this version reads {FORMAT_VERSION}"
            raise CorruptFileError(str(path), detail)
        return cls(tuple(_from_row(row) for row in table.to_pylist()))


def partition_text(values: Iterable[object]) -> tuple[str, ...]:
    """Spell partition values the way plans and lockfiles do."""
    return tuple("" if value is None else str(value) for value in values)


def _from_row(row: dict[str, Any]) -> PlannedFile:
    return PlannedFile(
        path=row["path"],
        rows=row["rows"],
        row_group_rows=tuple(row["row_group_rows"]),
        bytes=row["bytes"],
        partition=tuple(row["partition"]),
    )


def _planned(entry: FileEntry, io: FileIO) -> PlannedFile:
    with reading(entry.path), open_input(io, entry.path) as source:
        footer = read_footer(source, path=entry.path)
    groups = tuple(footer.row_group(index).num_rows for index in range(footer.num_row_groups))
    if sum(groups) != entry.rows:
        detail = f"its footer counts {sum(groups)} rows, the table's metadata {entry.rows}"
        raise CorruptFileError(entry.path, detail)
    return PlannedFile(
        path=entry.path,
        rows=entry.rows,
        row_group_rows=groups,
        bytes=entry.bytes,
        partition=partition_text(entry.partition),
    )
