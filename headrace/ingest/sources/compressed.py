"""Opens compressed files as their plain content, and says what is wrong with a damaged one.

A compressed file is complete when it appears, like a Parquet file. It is read from its beginning each
time: a place of the plain content is no place of the file.
"""

import bz2
import io
import zipfile
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import BinaryIO

import pyarrow as pa
from isal import igzip, igzip_lib

from headrace.errors import SourceFileError
from headrace.ingest.sources.forward_only import ForwardOnly

MAGIC: Mapping[str, bytes] = MappingProxyType(
    {
        "gzip": b"\x1f\x8b",
        "zstd": b"\x28\xb5\x2f\xfd",
        "zip": b"PK\x03\x04",
        "bz2": b"BZh",
    }
)
_READ_BYTES = 1024 * 1024
# what programs add to archives beside the data
_NO_DATA = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_IGZIP_ERROR: type[Exception] = igzip_lib.IsalError  # pyright: ignore[reportAssignmentType]
# what the four decompressors raise for damage; zipfile raises RuntimeError for a password
_DAMAGE = (
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    zipfile.BadZipFile,
    _IGZIP_ERROR,
    zlib.error,
)
Reader = Callable[[bytearray | memoryview], int | None]


def compression_of(head: bytes) -> str | None:
    """Return how a file is compressed, by its first bytes; None if it is none of the known ways."""
    return next((name for name, magic in MAGIC.items() if head.startswith(magic)), None)


@contextmanager
def plain_content(path: Path, compression: str | None, *, source: str) -> Generator[BinaryIO]:
    """Open the content of a file, decompressed; it can be read from any place, the beginning is cheap.

    Raises:
        SourceFileError: While it is open too: if the content is damaged, or not compressed so.
        OSError: If the file cannot be opened.

    """
    if compression is None:
        with path.open("rb") as handle:
            yield handle
        return
    _refuse_other(path, compression, source)
    with io.BufferedReader(_Plain(path, compression, source), _READ_BYTES) as handle:
        yield handle


class _Plain(ForwardOnly):
    """The plain content of one file; going back opens it again."""

    def __init__(self, path: Path, compression: str, source: str) -> None:
        super().__init__()
        self._path, self._compression, self._source = path, compression, source
        self._opened: Opened = self._open()

    def _begin(self) -> None:
        self._opened.close()
        self._opened, self._at = self._open(), 0

    def readinto(self, buffer: "memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        block = self._read(len(buffer))
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()

    def _read(self, size: int) -> bytes:
        with self._naming_damage():
            return self._opened.read(size)

    def _open(self) -> "Opened":
        with self._naming_damage():
            return _OPEN[self._compression](self._path, self._source)

    @contextmanager
    def _naming_damage(self) -> Generator[None]:
        try:
            yield
        except SourceFileError:
            raise
        except _DAMAGE as error:
            reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
            detail = f"its {self._compression} content is damaged or cut off ({reason})"
            raise SourceFileError(self._source, detail) from error


def _open_gzip(path: Path, source: str) -> BinaryIO:
    _ = source
    # much less CPU time than Python's own
    return igzip.open(path, "rb")  # pyright: ignore[reportReturnType]


def _open_bz2(path: Path, source: str) -> BinaryIO:
    _ = source
    return bz2.open(path, "rb")  # pyright: ignore[reportReturnType]


def _open_zstd(path: Path, source: str) -> pa.NativeFile:
    _ = source
    return pa.CompressedInputStream(path.open("rb"), "zstd")


def _open_zip(path: Path, source: str) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    members = [
        each
        for each in archive.infolist()
        if not each.is_dir() and not set(_NO_DATA).intersection(PurePosixPath(each.filename).parts)
    ]
    if len(members) != 1:
        archive.close()
        named = ", ".join(f"`{each.filename}`" for each in members[:5]) or "none"
        detail = (
            f"a zip archive must hold one file of data, and this one has {len(members)}: {named}"
        )
        raise SourceFileError(source, detail)
    return archive.open(members[0])  # pyright: ignore[reportReturnType]


Opened = BinaryIO | pa.NativeFile
_OPEN: Mapping[str, Callable[[Path, str], Opened]] = MappingProxyType(
    {"gzip": _open_gzip, "bz2": _open_bz2, "zstd": _open_zstd, "zip": _open_zip}
)


def _refuse_other(path: Path, compression: str, source: str) -> None:
    with path.open("rb") as handle:
        head = handle.read(8)
    if head and compression_of(head) != compression:
        found = compression_of(head) or "plain"
        detail = (
            f"it is not {compression} data, as the contract says, but {found}; declare "
            f"`source: {{compression: …}}` as the files are"
        )
        raise SourceFileError(source, detail)
