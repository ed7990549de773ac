"""Cache of footer inspections, so that each footer is read once across all processes.

Kept in memory and in a database of the state folder, beside that of `verified`.
"""

import contextlib
import json
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.io import FileIO, load_file_io

from headrace.errors import CorruptFileError
from headrace.iceberg.inspection import Inspection, inspect
from headrace.storage.file_cache import FileCache, FileState, is_gone

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.name_mapping import NameMapping

_Row = tuple[str, str, int, int, int, str]
_FORM = 1  # increment it when `inspect` returns something else for the same file
_REMEMBERED_MAX = 65_536  # of about 500 bytes each
_UNWRITTEN_MAX = 1_000
_LOOKED_AT_MIN = 64
_SCHEMA = """
create table if not exists inspections (
    path text not null unique, location text not null, bytes integer not null,
    changed_ns integer not null, inode integer not null, said text not null
);
create index if not exists inspections_by_location on inspections (location);
"""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """An inspection of a file in this state, read with the name mapping of this digest."""

    location: str
    state: FileState
    mapping: str
    outcome: Inspection

    def fits(self, state: FileState, mapping: str) -> bool:
        return self.state == state and self.mapping == mapping


class InspectedFiles:
    """Known footer inspections for the tables of one state folder. Thread-safe."""

    def __init__(self, cache: FileCache | None = None) -> None:
        self._cache, self._lock = cache, threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._unwritten: dict[str, _Known] = {}
        self._recalled: set[str] = set()  # locations of tables

    @classmethod
    def in_folder(cls, folder: Path) -> "InspectedFiles":
        """Return this process's instance for a state folder."""
        return _shared(folder)

    def find(self, path: str) -> _Known | None:
        """Return the inspection of a file that this process knows; None if it knows none."""
        return self._known.get(path)

    def recall(self, paths: Iterable[str]) -> dict[str, _Known]:
        """Look up recorded inspections of some files in one query, by path."""
        wanted = json.dumps(list(paths))
        return self._ask(lambda it: it.execute(_OF_PATHS, [wanted]).fetchall())

    def recall_table(self, location: str) -> None:
        """Load recorded inspections of a table's files in one query, once per process."""
        with self._lock:
            is_new = location not in self._recalled
            self._recalled.add(location)
        if is_new:
            bound = [location, _REMEMBERED_MAX]
            self._hold(self._ask(lambda it: it.execute(_OF_TABLE, bound).fetchall()))

    def keep(self, found: Mapping[str, _Known]) -> None:
        """Keep new inspections in memory; `write` records them."""
        self._hold(found)
        with self._lock:
            self._unwritten |= found
            is_much = len(self._unwritten) >= _UNWRITTEN_MAX
        if is_much:
            self.write()

    def write(self) -> None:
        """Record new inspections in one transaction, and remove records of deleted files."""
        with self._lock:
            found, self._unwritten = self._unwritten, {}
        rows = [_row(path, known) for path, known in found.items()]

        def act(database: sqlite3.Connection) -> None:
            database.executemany(_REPLACE, rows)
            # check more records at random than were added, so that deleted files stay a minority
            looked_at = [2 * len(rows) + _LOOKED_AT_MIN]
            paths = database.execute(_SAMPLE, looked_at).fetchall()
            database.executemany(_DELETE, [row for row in paths if is_gone(row[0])])

        if rows and self._cache is not None:
            self._cache.record(_SCHEMA, act)

    def _hold(self, found: Mapping[str, _Known]) -> None:
        with self._lock:
            self._known |= found
            while len(self._known) > _REMEMBERED_MAX:
                self._known.popitem(last=False)

    def _ask(self, query: Callable[[sqlite3.Connection], list[_Row]]) -> dict[str, _Known]:
        rows = [] if self._cache is None else self._cache.recall(query)
        read = ((row[0], _known(row)) for row in rows)
        return {path: known for path, known in read if known is not None}


class Inspector:
    """Inspects the footers of one table's files. Each is read once until the file changes.

    `io` opens them; without it they are opened without a catalog's credentials.
    """

    def __init__(
        self,
        metadata: "TableMetadata",
        files: InspectedFiles | None = None,
        *,
        io: FileIO | None = None,
    ) -> None:
        self._io = io or load_file_io()
        self._files = InspectedFiles() if files is None else files
        self._metadata = metadata

    def inspect(self, path: str) -> Inspection:
        """Inspect one file; call `write` to record what had to be read.

        Raises:
            CorruptFileError: If the file is missing or its footer damaged.

        """
        state = FileState.of(path, self._io)
        self._files.recall_table(self._metadata.location)
        known = self._files.find(path)
        if known is None or not known.fits(state, self._mapping):
            known = self._read(path, state)
        return known.outcome

    def inspect_all(self, paths: Iterable[str]) -> Mapping[str, Inspection]:
        """Inspect many files, by path; missing or damaged files are left out."""
        looked_at = FileState.all_of(list(paths), self._io)
        states = {path: state for path, state in looked_at.items() if state is not None}
        held = {path: known for path in states if (known := self._files.find(path)) is not None}
        known = self._fitting(held, states)
        if missing := states.keys() - known.keys():
            known |= self._fitting(self._files.recall(missing), states)
        for path in states.keys() - known.keys():
            with contextlib.suppress(CorruptFileError):
                known[path] = self._read(path, states[path])
        self.write()
        return {path: each.outcome for path, each in known.items()}

    def write(self) -> None:
        """Record what was read, for other processes."""
        self._files.write()

    def _fitting(
        self, known: Mapping[str, _Known], states: Mapping[str, FileState]
    ) -> dict[str, _Known]:
        return {p: each for p, each in known.items() if each.fits(states[p], self._mapping)}

    def _read(self, path: str, state: FileState) -> _Known:
        began_ns = time.time_ns()
        outcome = inspect(path, io=self._io, mapping=self._names)
        known = _Known(
            location=self._metadata.location, state=state, mapping=self._mapping, outcome=outcome
        )
        if state.is_settled(at_ns=began_ns):
            self._files.keep({path: known})
        return known

    @cached_property
    def _names(self) -> "NameMapping | None":
        return self._metadata.name_mapping()

    @cached_property
    def _mapping(self) -> str:
        if self._names is None:
            return ""
        return blake2b(self._names.model_dump_json().encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=8)
def _shared(folder: Path) -> InspectedFiles:
    return InspectedFiles(FileCache(folder))


def _row(path: str, known: _Known) -> _Row:
    said = {
        "form": _FORM,
        "mapping": known.mapping,
        "unproved": sorted(known.outcome.unproved),
        "bytes_only": sorted(known.outcome.bytes_only),
        "codecs": sorted(known.outcome.codecs),
    }
    return (path, known.location, *astuple(known.state), json.dumps(said))


def _known(row: _Row) -> _Known | None:
    """Read a row; None if another version of headrace wrote it, or it is invalid."""
    _, location, size, changed_ns, inode, text = row
    try:
        said = json.loads(text)
        if said["form"] != _FORM:
            return None
        outcome = Inspection(
            unproved=frozenset(said["unproved"]),
            bytes_only=frozenset(said["bytes_only"]),
            codecs=frozenset(said["codecs"]),
        )
        mapping = said["mapping"]
    except (ValueError, TypeError, KeyError):
        return None
    state = FileState(size, changed_ns, inode)
    return _Known(location=location, state=state, mapping=mapping, outcome=outcome)


_COLUMNS = "f.path, f.location, f.bytes, f.changed_ns, f.inode, f.said"
_OF_PATHS = (
    f"select {_COLUMNS} from json_each(?) as wanted join inspections as f on f.path = wanted.value"
)
_OF_TABLE = f"select {_COLUMNS} from inspections as f where f.location = ? limit ?"
_REPLACE = "insert or replace into inspections values (?, ?, ?, ?, ?, ?)"
_SAMPLE = (
    "select path from inspections where rowid > abs(random()) % "
    "(select max(rowid) from inspections) order by rowid limit ?"
)
_DELETE = "delete from inspections where path = ?"
