"""Find flaws in how data files were written; compaction rewrites such files."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pyiceberg.manifest import FileFormat
from pyiceberg.types import StringType

from headrace.iceberg.bounds import doubtful_bounds, text_columns
from headrace.iceberg.standard_properties import names_a_codec_of_some_engines
from headrace.tables.version import FileEntry, TableVersion

# pyarrow's names of the codecs that every engine reads
_PORTABLE = frozenset({"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"})


class Flaw(StrEnum):
    """A property of a file that makes some reader miss rows, return wrong values, or refuse it."""

    UNPROVED_BOUNDS = "bounds that do not hold for all rows"
    UNMARKED_TEXT = "text that is not marked as text"
    CODEC = "a codec that some engines do not read"


@dataclass(frozen=True, kw_only=True)
class FileFlaws:
    """The flaws of one file, with the field ids of the affected columns."""

    unproved_bounds: frozenset[int] = frozenset()
    unmarked_text: frozenset[int] = frozenset()
    codecs: frozenset[str] = frozenset()

    @property
    def kinds(self) -> tuple[Flaw, ...]:
        """The kinds of flaws the file has."""
        found = {
            Flaw.UNPROVED_BOUNDS: self.unproved_bounds,
            Flaw.UNMARKED_TEXT: self.unmarked_text,
            Flaw.CODEC: self.codecs,
        }
        return tuple(flaw for flaw, where in found.items() if where)


def find_flaws(version: TableVersion, files: Iterable[FileEntry]) -> Mapping[str, FileFlaws]:
    """Find the flawed files among some files of a version, by path; only its columns are checked.

    It reads few footers, and each once across all processes: those of files with several row groups
    and bounds of a text column; and all files of tables whose name mapping shows that files of
    other programs were added as they are, or whose properties name a codec that some engines do not
    read. Missing, damaged and remote files count as without flaws; reading them raises the error.
    """
    schema, properties = version.read_as, version.properties
    texts = text_columns(schema)
    strings = frozenset(key for key in texts if isinstance(schema.find_type(key), StringType))
    everywhere = version.name_mapping is not None or names_a_codec_of_some_engines(properties)
    doubts = {
        file.path: doubtful
        for file in files
        if ((doubtful := doubtful_bounds(file.data_file, texts)) or everywhere) and _is_here(file)
    }
    seen = version.inspector.inspect_all(doubts)
    found = {
        path: FileFlaws(
            unproved_bounds=doubtful & seen[path].unproved,
            unmarked_text=strings & seen[path].bytes_only,
            codecs=seen[path].codecs - _PORTABLE,
        )
        for path, doubtful in doubts.items()
        if path in seen
    }
    return {path: flaws for path, flaws in found.items() if flaws.kinds}


def count_flaws(found: Mapping[str, FileFlaws]) -> Counter[Flaw]:
    """Count the files that have each kind of flaw."""
    return Counter(flaw for flaws in found.values() for flaw in flaws.kinds)


def _is_here(file: FileEntry) -> bool:
    return file.path.startswith("/") and file.data_file.file_format == FileFormat.PARQUET
