"""Keeps the text of a file that is read twice, first for damage and then for records: it is made once."""

import io
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO, Self

_BLOCK_BYTES = 1024 * 1024
ROOM_SHARE = 2  # a text takes at most half of what is free: the lake may be on the same disk


class KeptText:
    """A text on disk, in the folder for temporary files (`TMPDIR`), where it has no name.

    So nothing of it is left when it is closed, or the process is killed. Any number of handles may be open.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    @classmethod
    @contextmanager
    def of(cls, handle: BinaryIO) -> Generator[Self | None]:
        """Read an open file to its end, and keep that until left; None if there is no folder, or no room."""
        file, left = None, 0
        with ExitStack() as kept:
            with suppress(OSError):  # a container may have no folder that it can write
                left = _free_bytes(tempfile.gettempdir()) // ROOM_SHARE
                file = kept.enter_context(tempfile.TemporaryFile(buffering=0))
            while block := handle.read(_BLOCK_BYTES):
                left -= len(block)
                if file is not None and (left < 0 or not _is_written(file, block)):
                    file.close()
                    file = None
            yield None if file is None else cls(file)

    @contextmanager
    def opened(self) -> Generator[BinaryIO]:
        """Open it at its beginning; the handle has a place of its own."""
        with io.BufferedReader(_Place(self._file.fileno()), _BLOCK_BYTES) as handle:
            yield handle


class _Place(io.RawIOBase):
    """Reads a shared file from a place of its own."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor, self._at = descriptor, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            msg = "places count from the beginning"
            raise io.UnsupportedOperation(msg)
        self._at = offset
        return offset

    def readinto(self, buffer: "memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count


def _is_written(file: io.FileIO, block: bytes) -> bool:
    """Write a block whole; False if others have taken the room."""
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        return False
    return True


def _free_bytes(folder: str) -> int:
    return shutil.disk_usage(folder).free
