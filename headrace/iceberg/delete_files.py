"""Delete files: which apply to which data file, and which rows position deletes remove."""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestFile,
)
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record

from headrace.errors import CorruptFileError, UnsupportedReason, UnsupportedTableError
from headrace.iceberg.manifests import live_entries
from headrace.iceberg.partitions import unpartitioned_ids
from headrace.storage.footer import read_footer
from headrace.storage.inputs import open_input, reading
from headrace.storage.locations import local_path

PATH_FIELD_ID = 2147483546  # `file_path` of a position delete file, reserved by the specification
_Place = tuple[int, tuple[object, ...]]


class DeleteIndex:
    """The delete files of one snapshot, indexed by the data files they may apply to.

    After "Scan Planning" of the Iceberg specification: a position delete applies to data files of
    its partition that are not newer than it, an equality delete to those that are older. Under a
    spec without partitions an equality delete applies to the files of every spec.
    """

    def __init__(
        self, entries: Iterable[ManifestEntry], *, unpartitioned: Collection[int], table: str
    ) -> None:
        self._by_path: dict[str, list[ManifestEntry]] = {}
        self._by_place: dict[_Place, list[ManifestEntry]] = {}
        self._everywhere: list[ManifestEntry] = []
        for entry in entries:
            file = entry.data_file
            if file.file_format != FileFormat.PARQUET:
                detail = f"its delete file `{file.file_path}` has format {file.file_format.name}"
                reason = UnsupportedReason.FILE_FORMAT
                raise UnsupportedTableError(table, detail, reason=reason, path=file.file_path)
            path = only_data_file(file)
            if path is not None:
                self._by_path.setdefault(path, []).append(entry)
            elif is_global(file, unpartitioned=unpartitioned):
                self._everywhere.append(entry)
            else:
                self._by_place.setdefault(_place(file), []).append(entry)

    def of(self, entry: ManifestEntry) -> tuple[DataFile, ...]:
        """Return the delete files that apply to a data file."""
        file = entry.data_file
        candidates = (
            *self._by_path.get(file.file_path, ()),
            *self._by_place.get(_place(file), ()),
            *self._everywhere,
        )
        sequence = entry.sequence_number or 0
        return tuple(each.data_file for each in candidates if _applies(each, sequence))


def read_index(
    manifests: Sequence[ManifestFile], io: FileIO, *, metadata: TableMetadata, table: str
) -> DeleteIndex | None:
    """Read the delete files of a snapshot; None if it has none, as is usual.

    Raises:
        UnsupportedTableError: If they are deletion vectors, a feature of format version 3.

    """
    entries = list(live_entries(manifests, io, content=ManifestContent.DELETES))
    if not entries:
        return None
    return DeleteIndex(entries, unpartitioned=unpartitioned_ids(metadata), table=table)


def is_global(file: DataFile, *, unpartitioned: Collection[int]) -> bool:
    """Whether a delete file applies to the whole table, files of other specs included.

    `unpartitioned` are the ids of the specs that have no partitions (`unpartitioned_ids`).
    """
    return file.content == DataFileContent.EQUALITY_DELETES and file.spec_id in unpartitioned


def only_data_file(file: DataFile) -> str | None:
    """Return the only data file of a position delete file, if its bounds prove that there is one."""
    if file.content != DataFileContent.POSITION_DELETES:
        return None
    low = (file.lower_bounds or {}).get(PATH_FIELD_ID)
    high = (file.upper_bounds or {}).get(PATH_FIELD_ID)
    # bounds may be truncated, but truncation raises an upper bound: equal bounds are exact
    return low.decode() if low is not None and low == high else None


def may_concern(
    deletes: DataFile, files: Iterable[DataFile], *, unpartitioned: Collection[int]
) -> bool:
    """Whether a delete file may apply to one of these data files, regardless of their age."""
    path = only_data_file(deletes)
    if path is not None:
        return any(file.file_path == path for file in files)
    if is_global(deletes, unpartitioned=unpartitioned):
        return True
    return any(_place(file) == _place(deletes) for file in files)


def _place(file: DataFile) -> _Place:
    record: Record = file.partition
    return file.spec_id, tuple(record[position] for position in range(len(record)))


def _applies(delete: ManifestEntry, data_sequence: int) -> bool:
    own = delete.sequence_number or 0
    if delete.data_file.content == DataFileContent.EQUALITY_DELETES:
        return own > data_sequence
    return own >= data_sequence


def has_equality(deletes: Iterable[DataFile]) -> bool:
    """Whether there are equality deletes: how many rows they delete is unknown without reading."""
    return any(each.content == DataFileContent.EQUALITY_DELETES for each in deletes)


def by_kind(deletes: Iterable[DataFile]) -> tuple[list[DataFile], list[DataFile]]:
    """Tell equality deletes, which come first, from position deletes."""
    found = list(deletes)
    by_value = [each for each in found if has_equality([each])]
    return by_value, [each for each in found if not has_equality([each])]


def deleted_positions(deletes: Iterable[DataFile], *, io: FileIO, location: str) -> np.ndarray:
    """Return the deleted row positions of the data file at `location`: int64, sorted, distinct.

    Raises:
        CorruptFileError: If a delete file is missing or damaged.

    """
    found = [_positions(each, io, location) for each in deletes]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _positions(file: DataFile, io: FileIO, location: str) -> np.ndarray:
    path = local_path(file.file_path)
    rows = _rows(path, io)
    if rows.num_rows != file.record_count:
        detail = f"it holds {rows.num_rows} deletes, the table's metadata says {file.record_count}"
        raise CorruptFileError(path, detail)
    mine = rows.filter(pc.equal(rows.column("file_path"), location))
    return mine.column("pos").to_numpy()


# a partition's delete file is read for each of its data files in turn
@lru_cache(maxsize=4)
def _rows(path: str, io: FileIO) -> pa.Table:
    with reading(path), open_input(io, path) as source:
        file = pq.ParquetFile(
            source,
            metadata=read_footer(source, path=path),
            page_checksum_verification=True,
            read_dictionary=["file_path"],
        )
        rows = file.read(columns=["file_path", "pos"])
        rows.validate(full=True)  # dictionary indices may be out of range
        paths, positions = rows.column("file_path"), rows.column("pos")
    if not (_is_text(paths.type) and positions.type == pa.int64()) or positions.null_count:
        raise CorruptFileError(path, f"its columns are not paths and positions: {rows.schema}")
    return rows


def _is_text(of: pa.DataType) -> bool:
    text = of.value_type if pa.types.is_dictionary(of) else of
    return pa.types.is_string(text) or pa.types.is_large_string(text)
