"""Map the columns of each data file to those of the version."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO, load_file_io

from headrace.datasets.files import FilePlan, PlannedFile
from headrace.errors import ColumnsUnclearError, CorruptFileError, Remedy
from headrace.iceberg.projection import Absent, PinnedSchema, Projection, Same, Step
from headrace.iceberg.remedy import advising
from headrace.iceberg.schema import field_id
from headrace.model_inputs.spec import is_text
from headrace.storage.failures import unreadable
from headrace.storage.inputs import open_input


@dataclass(frozen=True)
class Found:
    """The name of a column in one file (None if the file lacks it), and its conversion."""

    name: str | None
    step: Step


@dataclass(frozen=True, kw_only=True)
class PlanColumns:
    """The columns of a file plan and how each file is read for them.

    Columns of a table version are resolved by Iceberg field id, so neither a rename nor a reused
    name leads to wrong values. Files without a version are read by name; they are refused if their
    field ids contradict the names, or if a column is text in some only.
    """

    schema: pa.Schema
    pinned: PinnedSchema | None
    io: FileIO

    @classmethod
    def of(cls, plan: FilePlan) -> "PlanColumns":
        """Read the available columns: those of the version, else those of two footers.

        Raises:
            CorruptFileError: If one of the two footers cannot be read.

        """
        io = plan.io or load_file_io()
        if plan.schema is not None:
            return cls(schema=plan.schema.schema, pinned=plan.schema, io=io)
        found = _schema_of(plan.files, io) if plan.files else pa.schema([])
        return cls(schema=found, pinned=None, io=io)

    def find(self, names: Sequence[str], found: pa.Schema, *, path: str) -> Mapping[str, Found]:
        """Resolve columns in a file that has the columns `found`.

        Raises:
            ColumnsUnclearError: If there is no version, and the file uses the name for a different
                column than other files.
            CorruptFileError: If the file cannot belong to this version.

        """
        if self.pinned is None:
            return {name: self._by_name(name, found, path) for name in names}
        try:
            wanted = self.pinned.pick(names)
            projection = Projection.of_file(found, wanted, mapping=self.pinned.mapping)
        except ValueError as error:
            raise unreadable(path, error) from error
        columns = (Found(*each) for each in projection.columns)
        return dict(zip(names, columns, strict=True))

    def _by_name(self, name: str, found: pa.Schema, path: str) -> Found:
        wanted = self.schema.field(name)
        key = field_id(wanted)
        for each in found:
            other = field_id(each)
            # name and id disagree: the name was reused, or the column was renamed
            if None not in (key, other) and (each.name == name) != (other == key):
                raise ColumnsUnclearError(name, path=path)
        if name not in found.names:
            return Found(None, Absent(wanted.type))
        if {_is_hashed(found.field(name).type), _is_hashed(wanted.type)} == {True, False}:
            raise ColumnsUnclearError(name, path=path)  # 42 would be another id than "42"
        return Found(name, Same(wanted.type))


def _is_hashed(kind: pa.DataType) -> bool | None:
    """Whether values of a column, or of its lists, are texts; None if it holds nothing but nulls."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_hashed(kind.value_type)
    return None if pa.types.is_null(kind) else is_text(kind)


def _schema_of(files: Sequence[PlannedFile], io: FileIO) -> pa.Schema:
    """Return the columns of the last file, then those that only the first file has.

    Two footers are enough to refuse a wrong feature spec before decoding, for any number of files;
    the last file of a plan belongs to the latest partition.
    """
    fields: dict[str, pa.Field] = {}
    for file in (files[-1], files[0]):
        with reading(file.path), open_input(io, file.path) as source:
            for field in pq.read_schema(source):
                fields.setdefault(field.name, field)
    return pa.schema(list(fields.values()))


_REMEDY = Remedy(
    advice="restore it from a backup, byte for byte, and check that nothing else is damaged",
    command=("datasets", "verify", "NAME"),
    otherwise=(
        Remedy.run(
            "samples",
            "build",
            "NAME",
            advice="or build its day again and publish that as a new version",
        ),
    ),
)


@contextmanager
def reading(path: str) -> Generator[None]:
    """Convert errors of damaged or missing files to `CorruptFileError`, with advice.

    Raises:
        CorruptFileError: If the block fails to read the file.

    """
    with advising(lambda _: _REMEDY):
        try:
            yield
        except FileNotFoundError as error:
            detail = "it is not there; was its snapshot expired or the file moved?"
            raise CorruptFileError(path, detail) from error
        except MemoryError:
            raise
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise unreadable(path, error) from error
