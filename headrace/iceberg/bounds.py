"""Column bounds in manifests, used only where they hold for every row of the file."""

from collections.abc import Iterable

from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import BinaryType, FixedType, StringType

from headrace.errors import CorruptFileError
from headrace.iceberg.inspected import Inspector
from headrace.iceberg.pyiceberg_calls import fields_by_id
from headrace.storage.locations import local_path

# positions of these fields in a manifest entry (pyiceberg's `DataFile` has no setters)
_LOWER_BOUNDS, _UPPER_BOUNDS = 10, 11


class BoundsProof:
    """Tells which bounds of some columns are proved, and removes the others from entries.

    Parquet writers omit minimum and maximum from a row group with a long text (above 4 KB in
    pyarrow). PyIceberg 0.12, and earlier versions of headrace, then stored the bounds of the other
    row groups as those of the file. A manifest cannot show this, but the footer of the file can, so
    the table's `inspector` reads it where an answer depends on it.
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
        """Whether the manifest alone cannot prove the bounds of these columns for all rows."""
        return bool(doubtful_bounds(file, self._texts))

    def proved(self, file: DataFile) -> DataFile:
        """Return the entry with only those bounds that the file's footer proves."""
        doubtful = doubtful_bounds(file, self._texts)
        path = local_path(file.file_path)
        try:
            dropped = doubtful & self._inspector.inspect(path).unproved
        except CorruptFileError:  # readers of its rows get the error
            dropped = doubtful
        return _without_bounds(file, dropped)


def text_columns(schema: Schema) -> frozenset[int]:
    """Return the ids of columns whose values can be too long for statistics."""
    kinds = (StringType, BinaryType, FixedType)
    fields = fields_by_id(schema).items()
    return frozenset(key for key, field in fields if isinstance(field.field_type, kinds))


def doubtful_bounds(file: DataFile, texts: frozenset[int]) -> frozenset[int]:
    """Return the ids of text columns whose bounds may come from only some row groups. Pure."""
    if len(file.split_offsets or ()) == 1:
        return frozenset()  # one row group: bounds are correct or absent
    return texts & ((file.lower_bounds or {}).keys() | (file.upper_bounds or {}).keys())


def _without_bounds(file: DataFile, dropped: frozenset[int]) -> DataFile:
    copied = DataFile(*(file[at] for at in range(len(file))))
    copied.spec_id = file.spec_id
    for at in (_LOWER_BOUNDS, _UPPER_BOUNDS):
        copied[at] = {key: bound for key, bound in (file[at] or {}).items() if key not in dropped}
    return copied
