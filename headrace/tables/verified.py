"""Cache of data files whose checksums were verified, so that each file is verified once.

Engines do not verify checksums of data files. Before an engine reads a version, its files are
verified here; the result is cached with the file's size, modification time and inode, in this
process and in a database of the state folder for other processes: see `file_cache`.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

from pyiceberg.io import FileIO
from pyiceberg.manifest import FileFormat

from headrace.config import Settings
from headrace.errors import CorruptFileError
from headrace.storage.file_cache import FileCache, FileState, is_gone
from headrace.storage.locations import local_path
from headrace.storage.pages import check_pages
from headrace.tables.version import TableVersion

_SPARE_ROWS = 1_000
_SCHEMA = """
create table if not exists files (
    path text primary key, location text not null, bytes integer not null,
    changed_ns integer not null, inode integer not null, is_whole integer not null
) without rowid;
create index if not exists files_by_location on files (location);
"""


@dataclass(frozen=True)
class _Check:
    """A file that was found intact; `is_whole` is whether all of it has checksums."""

    state: FileState
    is_whole: bool


class VerifiedFiles:
    """Verification results for the data files of one state folder's tables. Thread-safe."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self._cache, self._threads = FileCache(folder), threads
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, _Check]] = {}  # of the last version of each table

    @classmethod
    def of(cls, settings: Settings) -> "VerifiedFiles":
        """Return this process's instance for the state folder of `settings`."""
        return _shared(settings.state_dir, settings.threads)

    def verify(self, version: TableVersion, *, again: bool = False) -> int:
        """Verify the files of a version that are new or changed since; with `again`, all of them.

        Returns how many files lack checksums, or have them in part, and so cannot be verified.

        Raises:
            CorruptFileError: If a file is missing or damaged; it names the first one.

        """
        with version.advising(), self._lock:
            location, files = version.metadata.location, _files(version)
            states = _states(files, version.io)
            known = {} if again else self._recall(location, files)
            new = [path for path in files if path not in known or known[path].state != states[path]]
            began_ns = time.time_ns()
            checks = known | {
                path: _Check(states[path], is_whole)
                for path, is_whole in zip(new, self._check(new, files, version.io), strict=True)
            }
            settled = {
                path: each for path, each in checks.items() if each.state.is_settled(at_ns=began_ns)
            }
            self._known[location] = settled
            self._record(location, {path: settled[path] for path in new if path in settled})
        return sum(not each.is_whole for each in checks.values())

    def unverifiable(self, version: TableVersion) -> int:
        """Count the files of a version known to lack checksums; files not read yet do not count."""
        files = _files(version)
        with self._lock:
            known = self._recall(version.metadata.location, files)
        return sum(not each.is_whole for each in known.values())

    def _check(
        self, paths: Sequence[str], formats: Mapping[str, FileFormat], io: FileIO
    ) -> list[bool]:
        def check(path: str) -> bool:
            return formats[path] == FileFormat.PARQUET and check_pages(path, io=io)

        if len(paths) < 2 or self._threads < 2:
            return [check(path) for path in paths]
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(check, paths))

    def _recall(self, location: str, paths: Collection[str]) -> dict[str, _Check]:
        here = self._known.get(location, {})
        known = {path: here[path] for path in paths if path in here}
        missing = [path for path in paths if path not in here]
        if missing:
            wanted = json.dumps(missing)
            rows = self._cache.recall(lambda it: it.execute(_SELECT, [wanted]).fetchall())
            known |= {
                path: _Check(FileState(*state), bool(is_whole)) for path, *state, is_whole in rows
            }
        return known

    def _record(self, location: str, checks: Mapping[str, _Check]) -> None:
        rows = [
            (path, location, *astuple(each.state), each.is_whole) for path, each in checks.items()
        ]
        known = self._known[location]
        live = len(known)

        def write(database: sqlite3.Connection) -> None:
            database.executemany(_REPLACE, rows)
            (held,) = database.execute(_COUNT, [location]).fetchone()
            if held > 2 * live + _SPARE_ROWS:
                paths = database.execute(_PATHS, [location]).fetchall()
                gone = [row for row in paths if row[0] not in known and is_gone(row[0])]
                database.executemany(_DELETE, gone)

        if rows:
            self._cache.record(_SCHEMA, write)


def forget() -> None:
    """Clear the cache of this process; the database stays."""
    _shared.cache_clear()


@lru_cache(maxsize=8)
def _shared(folder: Path, threads: int) -> VerifiedFiles:
    return VerifiedFiles(folder, threads=threads)


def _states(paths: Collection[str], io: FileIO) -> dict[str, FileState]:
    found: dict[str, FileState] = {}
    for path, state in FileState.all_of(paths, io).items():
        if state is None:
            raise CorruptFileError(path, "it is not there")
        found[path] = state
    return found


def _files(version: TableVersion) -> dict[str, FileFormat]:
    """Return the data files of a version and the delete files that apply to them, each once."""
    entries = version.files()
    everything = (each for entry in entries for each in (entry.data_file, *entry.deletes))
    return {local_path(each.file_path): each.file_format for each in everything}


_SELECT = (
    "select f.path, f.bytes, f.changed_ns, f.inode, f.is_whole "
    "from json_each(?) as wanted join files as f on f.path = wanted.value"
)
_REPLACE = "insert or replace into files values (?, ?, ?, ?, ?, ?)"
_COUNT = "select count(*) from files where location = ?"
_PATHS = "select path from files where location = ?"
_DELETE = "delete from files where path = ?"
