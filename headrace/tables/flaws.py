"""What is wrong with how data files were written; writing them anew mends it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pyiceberg.manifest import FileFormat
from pyiceberg.types import StringType

from headrace.errors import CorruptFileError
from headrace.iceberg.bounds import doubtful_bounds, text_columns
from headrace.iceberg.inspection import inspect
from headrace.iceberg.standard_properties import names_a_codec_of_some_engines
from headrace.tables.version import FileEntry, TableVersion

# what pyarrow calls the codecs that every engine reads
_PORTABLE = frozenset({"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"})


class Flaw(StrEnum):
    """Something about a file that makes a reader miss rows, show other values, or refuse it."""

    UNPROVED_BOUNDS = "bounds that do not hold for all rows"
    UNMARKED_TEXT = "text that is not marked as text"
    CODEC = "a codec that some engines do not read"


@dataclass(frozen=True, kw_only=True)
class FileFlaws:
    """The flaws of one file: columns by field id whose bounds hold for some rows, and so on."""

    unproved_bounds: frozenset[int] = frozenset()
    unmarked_text: frozenset[int] = frozenset()
    codecs: frozenset[str] = frozenset()

    @property
    def kinds(self) -> tuple[Flaw, ...]:
        """Which kinds of flaws it has."""
        found = {
            Flaw.UNPROVED_BOUNDS: self.unproved_bounds,
            Flaw.UNMARKED_TEXT: self.unmarked_text,
            Flaw.CODEC: self.codecs,
        }
        return tuple(flaw for flaw, where in found.items() if where)


def find_flaws(version: TableVersion, files: Iterable[FileEntry]) -> Mapping[str, FileFlaws]:
    """Find the flawed ones among some files of a version, by path; flawed in columns that it shows.

    The footers that are read for it are few, and each is read once in a process: those of files
    with several row groups that have bounds of a text column, and all of a table whose name mapping
    says that other programs' files were added as they are, or whose properties name a codec that
    some engines do not read. Files that are missing, damaged or elsewhere have no flaws here;
    whoever reads them is told.
    """
    schema, mapping = version._read_as, version.name_mapping
    texts = text_columns(schema)
    strings = frozenset(key for key in texts if isinstance(schema.find_type(key), StringType))
    everywhere = mapping is not None or names_a_codec_of_some_engines(version.properties)
    found: dict[str, FileFlaws] = {}
    for file in files:
        doubtful = doubtful_bounds(file.data_file, texts)
        if not (doubtful or everywhere) or not _is_here(file):
            continue
        try:
            seen = inspect(file.path, mapping=mapping)
        except CorruptFileError:
            continue
        flaws = FileFlaws(
            unproved_bounds=doubtful & seen.unproved,
            unmarked_text=strings & seen.bytes_only,
            codecs=seen.codecs - _PORTABLE,
        )
        if flaws.kinds:
            found[file.path] = flaws
    return found


def count_flaws(found: Mapping[str, FileFlaws]) -> Counter[Flaw]:
    """Count the files that have each kind of flaw."""
    return Counter(flaw for flaws in found.values() for flaw in flaws.kinds)


def _is_here(file: FileEntry) -> bool:
    return file.path.startswith("/") and file.data_file.file_format == FileFormat.PARQUET
