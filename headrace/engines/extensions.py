"""Loads DuckDB's extensions from their installed packages and checks signatures once per process.

DuckDB hashes an extension for every database that loads it. That takes 0.2 s of CPU for the 60 MB of
the first two; the rest of loading them again takes 0.002 s.
"""

import threading
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, Self

import duckdb

from headrace.errors import CorruptFileError
from headrace.identifiers import quote_text

_NAMES = ("avro", "iceberg")  # iceberg requires avro
_S3_NAMES = ("httpfs",)
_ALLOW_UNSIGNED = "allow_unsigned_extensions"


class _State(NamedTuple):
    """How an extension lies on disk. Unlike the modification time, no program can set `changed_ns`."""

    bytes: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: str) -> Self:
        try:
            found = Path(path).stat()
        except OSError as error:
            raise CorruptFileError(path, str(error)) from error
        return cls(found.st_size, found.st_ctime_ns, found.st_ino)


class _Sound:
    """The files whose signatures DuckDB accepted in this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}
        self._groups: set[tuple[str, ...]] = set()

    def groups(self) -> list[tuple[str, ...]]:
        """Return the names of what was loaded together."""
        with self._lock:
            return sorted(self._groups)

    def add(self, names: tuple[str, ...], states: dict[str, _State]) -> None:
        with self._lock:
            self._states |= states
            self._groups.add(names)

    def has(self, states: dict[str, _State]) -> bool:
        with self._lock:
            return all(self._states.get(path) == state for path, state in states.items())


_SOUND = _Sound()


def open_in_memory() -> duckdb.DuckDBPyConnection:
    """Open an empty database in memory, which downloads no extensions.

    The readers of Iceberg and of S3 are already loaded if this process loaded them before and their
    files have not changed since. Otherwise `load_iceberg_extension` and `load_s3_extension` do it.
    """
    sound = [found for names in _SOUND.groups() if (found := _still_sound(names)) is not None]
    if not sound:
        connection = duckdb.connect(":memory:")
        forbid_downloads(connection)
        return connection
    connection = duckdb.connect(":memory:", config={_ALLOW_UNSIGNED: True})
    forbid_downloads(connection)
    for found in sound:
        _load(connection, found)
    # no other unsigned extension can be loaded: DuckDB refuses to turn this on again
    connection.execute(f"set {_ALLOW_UNSIGNED} = false")
    return connection


def _still_sound(names: tuple[str, ...]) -> dict[str, _State] | None:
    try:
        found = _extensions(names)
    except CorruptFileError:  # it is gone, which matters to those only who need it
        return None
    return found if _SOUND.has(found) else None


def forbid_downloads(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep a connection from downloading missing extensions."""
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")


def load_iceberg_extension(connection: duckdb.DuckDBPyConnection) -> None:
    """Load the Iceberg reader from its installed package, without a download or a copy.

    Does nothing if it is already loaded.

    Raises:
        CorruptFileError: If its file is missing.

    """
    _load_once(connection, _NAMES)


def load_s3_extension(connection: duckdb.DuckDBPyConnection) -> None:
    """Load what reads `s3://` locations, like `load_iceberg_extension`.

    Raises:
        CorruptFileError: If its file is missing.

    """
    _load_once(connection, _S3_NAMES)


def _load_once(connection: duckdb.DuckDBPyConnection, names: tuple[str, ...]) -> None:
    forbid_downloads(connection)
    loaded = _loaded_count(connection, names)
    if loaded == len(names):
        return
    before = _extensions(names)
    _load(connection, before)
    found = connection.execute(f"select current_setting('{_ALLOW_UNSIGNED}')").fetchone()
    if found == (False,) and not loaded:  # so DuckDB has just read both and checked the signatures
        _SOUND.add(names, before)


def _loaded_count(connection: duckdb.DuckDBPyConnection, names: tuple[str, ...]) -> int:
    found = connection.execute(
        "select count(*) from duckdb_extensions() where loaded and extension_name in $names",
        {"names": list(names)},
    ).fetchone()
    return 0 if found is None else found[0]


def _extensions(names: tuple[str, ...]) -> dict[str, _State]:
    folders = ((name, files(f"duckdb_extension_{name}")) for name in names)
    version = f"v{duckdb.__version__}"
    paths = [
        str(folder / "extensions" / version / f"{name}.duckdb_extension")
        for name, folder in folders
    ]
    return {path: _State.of(path) for path in paths}


def _load(connection: duckdb.DuckDBPyConnection, paths: Iterable[str]) -> None:
    for path in paths:
        connection.execute(f"load {quote_text(path)}")
