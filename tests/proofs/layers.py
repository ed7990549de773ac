"""A layer between headrace and its files and databases in which the n-th call fails.

It counts every call that may have an effect or read something a decision hangs on: opening, reading,
writing, closing and deleting files, `fsync`, moving and linking, statements and commits of both
databases. The call that is asked for fails before it had its effect or after, or the process dies.
"""

import errno
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pytest
import sqlalchemy as sa
import sqlalchemy.event
from pyiceberg.io import FileIO, InputFile, OutputFile

from headrace.api import Lake

Mode = Literal["error before", "error after", "kill before", "kill after"]
MODES: tuple[Mode, ...] = ("error before", "error after", "kill before", "kill after")
READS = frozenset(
    {"size", "exists", "open", "read", "open data file", "sql select", "sql with", "sql pragma"}
)
_OS_CALLS = ("fsync", "rename", "replace", "link", "unlink", "mkdir", "utime")


class Calls:
    """Counts calls, and strikes at one of them."""

    def __init__(self, *, strike_at: int | None = None, mode: Mode = "error before") -> None:
        self.made: list[str] = []
        self._strike_at, self._mode, self._counts = strike_at, mode, False

    def begin(self) -> None:
        """Count from here on."""
        self.made.clear()
        self._counts = True

    def call(self, name: str, effect: Callable[[], Any], error: Callable[[], Exception]) -> Any:
        """Let one call have its effect, or not."""
        if not self._counts:
            return effect()
        at = len(self.made)
        self.made.append(name)
        if at != self._strike_at:
            return effect()
        if self._mode.endswith("after"):
            effect()
        if self._mode.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise error()

    def file(self, name: str, effect: Callable[[], Any]) -> Any:
        """Make a call of the file system."""
        return self.call(name, effect, lambda: OSError(errno.EIO, f"{name} failed on purpose"))

    def sql(self, name: str, effect: Callable[[], Any]) -> Any:
        """Make a call of a database."""
        return self.call(name, effect, lambda: sqlite3.OperationalError("disk I/O error"))


@contextmanager
def faulty(lake: Lake, calls: Calls) -> Iterator[Calls]:
    """Let every call that this lake makes go through `calls`."""
    with pytest.MonkeyPatch.context() as patch:
        load = lake.catalog._load_file_io

        def load_faulty(properties: Mapping[str, str] = {}, location: str | None = None) -> FileIO:
            return FaultyIO(load(dict(properties), location), calls)

        # the system below: there is no other way to let exactly one of its calls fail
        patch.setattr(lake.catalog, "_load_file_io", load_faulty)
        _patch_system(patch, calls, below=lake.settings.state_dir)
        engines = [lake.catalog.engine, lake.registry.engine, lake.registry.passing]
        for engine in engines:
            _patch_database(engine, calls)
        yield calls


def _patch_system(patch: pytest.MonkeyPatch, calls: Calls, *, below: Path) -> None:
    def concerns(target: object) -> bool:
        return isinstance(target, int) or str(target).startswith(str(below))

    for name in _OS_CALLS:
        real = getattr(os, name)

        def called(
            target: Any, *rest: Any, _real: Any = real, _name: str = name, **named: Any
        ) -> Any:
            if not concerns(target):
                return _real(target, *rest, **named)
            return calls.file(f"os.{_name}", lambda: _real(target, *rest, **named))

        patch.setattr(os, name, called)
    patch.setattr(pa, "OSFile", _os_file(pa.OSFile, calls))


def _os_file(real: Any, calls: Calls) -> Any:
    def opened(path: str, *rest: Any, **named: Any) -> Any:
        return calls.file("open data file", lambda: real(path, *rest, **named))

    return opened


def _patch_database(engine: sa.Engine, calls: Calls) -> None:
    class FaultyCursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            name = f"sql {sql.split(maxsplit=1)[0].lower()}"
            return calls.sql(name, lambda: super(FaultyCursor, self).execute(sql, parameters))

        def executemany(self, sql: str, parameters: Any, /) -> Any:
            name = f"sql {sql.split(maxsplit=1)[0].lower()}"
            return calls.sql(name, lambda: super(FaultyCursor, self).executemany(sql, parameters))

    class FaultyConnection(sqlite3.Connection):
        def cursor(self, *_: Any, **__: Any) -> Any:
            return super().cursor(FaultyCursor)

        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            return calls.sql(
                "sql pragma", lambda: super(FaultyConnection, self).execute(sql, parameters)
            )

        def commit(self) -> None:
            try:
                calls.sql("sql commit", super().commit)
            except sqlite3.OperationalError:
                super().rollback()  # as SQLite does by itself when a commit fails
                raise

    def connect(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters["factory"] = FaultyConnection

    engine.dispose()  # so that every connection is made anew
    sqlalchemy.event.listen(engine, "do_connect", connect)


class FaultyIO(FileIO):
    """A `FileIO` whose calls are counted and may fail."""

    def __init__(self, inner: FileIO, calls: Calls) -> None:
        super().__init__(inner.properties)
        self._inner, self._calls = inner, calls

    def new_input(self, location: str) -> InputFile:
        return _FaultyInput(self._inner.new_input(location), self._calls)

    def new_output(self, location: str) -> OutputFile:
        return _FaultyOutput(self._inner.new_output(location), self._calls)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        self._calls.file("delete", lambda: self._inner.delete(location))


class _FaultyInput(InputFile):
    def __init__(self, inner: InputFile, calls: Calls) -> None:
        super().__init__(inner.location)
        self._inner, self._calls = inner, calls

    def __len__(self) -> int:
        return self._calls.file("size", lambda: len(self._inner))

    def exists(self) -> bool:
        return self._calls.file("exists", self._inner.exists)

    def open(self, seekable: bool = True) -> Any:
        return _FaultyStream(
            self._calls.file("open", lambda: self._inner.open(seekable)), self._calls
        )


class _FaultyOutput(OutputFile):
    def __init__(self, inner: OutputFile, calls: Calls) -> None:
        super().__init__(inner.location)
        self._inner, self._calls = inner, calls

    def __len__(self) -> int:
        return self._calls.file("size", lambda: len(self._inner))

    def exists(self) -> bool:
        return self._calls.file("exists", self._inner.exists)

    def to_input_file(self) -> InputFile:
        return _FaultyInput(self._inner.to_input_file(), self._calls)

    def create(self, overwrite: bool = False) -> Any:
        made = self._calls.file("create", lambda: self._inner.create(overwrite=overwrite))
        return _FaultyStream(made, self._calls)


class _FaultyStream:
    closed = False

    def __init__(self, inner: Any, calls: Calls) -> None:
        self._inner, self._calls = inner, calls

    def read(self, size: int = -1) -> bytes:
        given = () if size < 0 else (size,)
        return self._calls.file("read", lambda: self._inner.read(*given))

    def write(self, content: bytes) -> int:
        return self._calls.file("write", lambda: self._inner.write(content))

    def tell(self) -> int:
        return self._inner.tell()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._calls.file("close", self._inner.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
