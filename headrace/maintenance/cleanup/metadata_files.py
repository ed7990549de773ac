"""Metadata files in a table's folder: which table each belongs to, and whether this catalog knows it.

One table may be registered in several catalogs. Commits of another catalog appear as metadata files
of the same table id that are newer than, or beside, the versions that this catalog knows.
"""

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from pyiceberg.io import FileIO

from headrace.errors import CorruptFileError
from headrace.maintenance.cleanup.known_tables import KnownTable
from headrace.storage.checksums import checking
from headrace.storage.failures import unreadable
from headrace.storage.folders import Folders

_UUID = re.compile(rb'"table-uuid"\s*:\s*"([0-9a-fA-F-]{36})"')
_UPDATED = re.compile(rb'"last-updated-ms"\s*:\s*(\d+)')
_VERSION = re.compile(r"v?(\d+)[-.]")
_HEAD_BYTES = 4096  # both are among the first fields that any engine writes
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A metadata file, as its name and first bytes describe it; `version` is 0 if the name has none."""

    location: str
    uuid: str
    version: int
    updated_ms: int
    written_ns: int


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The versions of one table that a catalog knows: the current one and those its log names.

    Where the catalog names the table twice, a file is newer if it is newer than one of the two.
    """

    names: frozenset[str]  # of files: one folder may be named in several ways
    current: frozenset[str]
    version: int
    version_min: int
    updated_ms: int
    sequence: int

    @classmethod
    def of(cls, table: KnownTable, *, beside: Optional["Lineage"]) -> "Lineage":
        """Read the versions from a table's current metadata, `beside` those of another entry."""
        metadata = table.metadata
        current = name_of(table.metadata_location)
        names = [current, *(name_of(each.metadata_file) for each in metadata.metadata_log)]
        mine = cls(
            names=frozenset(names),
            current=frozenset([current]),
            version=version_of(current),
            version_min=min(map(version_of, names)),
            updated_ms=metadata.last_updated_ms,
            sequence=metadata.next_sequence_number() - 1,
        )
        if beside is None:
            return mine
        return cls(
            names=mine.names | beside.names,
            current=mine.current | beside.current,
            version=min(mine.version, beside.version),
            version_min=min(mine.version_min, beside.version_min),
            updated_ms=min(mine.updated_ms, beside.updated_ms),
            sequence=min(mine.sequence, beside.sequence),
        )

    def is_left_behind_by(self, seen: Sighting, *, store: Folders, io: FileIO) -> bool:
        """Whether a file belongs to another catalog that committed after one of these versions.

        It does if it is newer, if it follows the current version, or if it follows a version that
        this catalog never had. The file of a commit that lost a race follows a version that another
        commit followed first: it is an orphan, as is that of a failed commit once the next landed.

        Raises:
            CorruptFileError: If it cannot be read though it is whole.

        """
        if name_of(seen.location) in self.names:
            return False
        if seen.updated_ms <= self.updated_ms and seen.version <= self.version_min:
            return False  # older than the log, which no longer tells where it came from
        content = _whole(seen.location, store, io)
        if content is None:
            return False
        if seen.updated_ms > self.updated_ms:
            return True
        if content.get("last-sequence-number", 0) > self.sequence:
            return True
        log = content.get("metadata-log") or ()
        if not log:
            return seen.version > self.version
        follows = name_of(log[-1]["metadata-file"])
        return follows in self.current or follows not in self.names


def name_of(location: str) -> str:
    """Return the file name of a location."""
    return location.rpartition("/")[2]


def version_of(name: str) -> int:
    """Read the version that engines number metadata files by from a file's name, 0 if it has none."""
    found = _VERSION.match(name)
    return int(found.group(1)) if found else 0


def sighted(location: str, store: Folders) -> Sighting | None:
    """Read the head of a metadata file; None if it is gone or names no table."""
    try:
        head = store.read(location, bytes_max=_HEAD_BYTES)
        if head.startswith(_GZIP):
            head = gzip.decompress(store.read(location))
        uuid, updated = _UUID.search(head), _UPDATED.search(head)
        if uuid is None or updated is None:
            content = store.read(location)
            uuid, updated = uuid or _UUID.search(content), updated or _UPDATED.search(content)
        facts = store.stat(location)
    except (OSError, EOFError):
        return None
    if uuid is None or facts is None:
        return None
    return Sighting(
        location=location,
        uuid=uuid.group(1).decode().lower(),
        version=version_of(name_of(location)),
        updated_ms=int(updated.group(1)) if updated else 0,
        written_ns=facts.modified_ns,
    )


def _whole(location: str, store: Folders, io: FileIO) -> Mapping[str, Any] | None:
    """Read a metadata file; None if a crash truncated it, so that no catalog can name it."""
    try:
        return read_metadata(io, location)
    except FileNotFoundError:
        return None
    except CorruptFileError:
        if store.read(location).rstrip().endswith(b"}"):
            raise
        return None


def read_metadata(io: FileIO, location: str) -> Mapping[str, Any]:
    """Read a metadata file of any format version, unchanged.

    Raises:
        FileNotFoundError: If it is gone.
        CorruptFileError: If it is not a metadata file.

    """
    try:
        with checking(io).new_input(location).open() as stream:
            raw = stream.read()
        content = json.loads(gzip.decompress(raw) if raw.startswith(_GZIP) else raw)
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError) as error:
        raise unreadable(location, error) from error
    if not isinstance(content, dict) or "format-version" not in content:
        raise CorruptFileError(location, "it is not table metadata")
    return content
