"""Bounds in manifests, believed only where they hold for every row of the file."""

from collections.abc import Iterable

from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import BinaryType, FixedType, StringType

from headrace.errors import CorruptFileError
from headrace.iceberg.inspected import Inspector
from headrace.iceberg.pyiceberg_calls import fields_by_id
from headrace.storage.locations import local_path

# where these stand in a manifest's entry (pyiceberg's `DataFile` has no setters)
_LOWER_BOUNDS, _UPPER_BOUNDS = 10, 11


class BoundsProof:
    """Tells which bounds of some columns are proved, and gives entries without the others.

    Writers of Parquet leave minimum and maximum out of a row group with a long text (above 4 KB in
    pyarrow). PyIceberg 0.12, and headrace before it checked, then took the bounds of the other row
    groups for those of the file. A manifest cannot tell; the footer of the file can, so it is read
    where an answer depends on it, by the table's `inspector`.
    """

    def __init__(
        self,
        metadata: TableMetadata,
        columns: Iterable[str],
        *,
        inspector: Inspector | None = None,
    ) -> None:
        schema = metadata.schema()
        ids = frozenset(schema.find_field(name).field_id for name in columns)
        self._texts = ids & text_columns(schema)
        self._inspector = inspector or Inspector(metadata)

    def is_doubtful(self, file: DataFile) -> bool:
        """Whether the manifest leaves open if bounds of these columns hold for all rows."""
        return bool(doubtful_bounds(file, self._texts))

    def proved(self, file: DataFile) -> DataFile:
        """The entry with those bounds only that the file's footer proves."""
        doubtful = doubtful_bounds(file, self._texts)
        path = local_path(file.file_path)
        try:
            dropped = doubtful & self._inspector.inspect(path).unproved
        except CorruptFileError:  # whoever needs its rows is told when it reads them
            dropped = doubtful
        return _without_bounds(file, dropped)


def text_columns(schema: Schema) -> frozenset[int]:
    """Name the columns, by field id, whose values can be too long for statistics."""
    kinds = (StringType, BinaryType, FixedType)
    fields = fields_by_id(schema).items()
    return frozenset(key for key, field in fields if isinstance(field.field_type, kinds))


def doubtful_bounds(file: DataFile, texts: frozenset[int]) -> frozenset[int]:
    """Name those of some text columns whose bounds may come from some row groups only. Pure."""
    if len(file.split_offsets or ()) == 1:
        return frozenset()  # a file of one row group has its bounds or none
    return texts & ((file.lower_bounds or {}).keys() | (file.upper_bounds or {}).keys())


def _without_bounds(file: DataFile, dropped: frozenset[int]) -> DataFile:
    copied = DataFile(*(file[at] for at in range(len(file))))
    copied.spec_id = file.spec_id
    for at in (_LOWER_BOUNDS, _UPPER_BOUNDS):
        copied[at] = {key: bound for key, bound in (file[at] or {}).items() if key not in dropped}
    return copied
