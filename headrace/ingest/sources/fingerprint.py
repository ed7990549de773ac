"""A hash of a file's first bytes, by which a change of what was taken is found.

The first `FULL_BYTES` are hashed in full. After them `BLOCK_BYTES` of every `STRIDE_BYTES` are hashed,
and the last `BLOCK_BYTES`: to read terabytes before each new line would cost too much. So every
replacement is found, and every edit within the first `FULL_BYTES`. A later edit that keeps the length is
found if it touches a hashed block.
"""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Self

FULL_BYTES = 64 * 1024 * 1024
STRIDE_BYTES = 16 * 1024 * 1024
BLOCK_BYTES = 64 * 1024
_DIGITS = 24  # 96 bits: two files never collide by chance
_READ_BYTES = 1024 * 1024


class Fingerprint:
    """The fingerprint of all bytes fed so far, in order; more may be fed after it was read."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._last = b""

    @classmethod
    def of(cls, handle: BinaryIO, size: int) -> Self:
        """Compute it for a file's first `size` bytes; leaves the handle after them.

        A shorter file has a different fingerprint than every file of `size` bytes or more.

        Raises:
            OSError: If the file cannot be read.

        """
        new = cls()
        for start, end in _counted(size):
            new._read(handle, start, end)
        if size > FULL_BYTES:
            handle.seek(size - BLOCK_BYTES)
            new._last = handle.read(BLOCK_BYTES)
        new._bytes = size
        handle.seek(size)
        return new

    def _read(self, handle: BinaryIO, start: int, end: int) -> None:
        handle.seek(start)
        while start < end and (block := handle.read(min(end - start, _READ_BYTES))):
            self._hash.update(block)
            start += len(block)

    def update(self, block: bytes | memoryview) -> None:
        """Add the next bytes."""
        start, end = self._bytes, self._bytes + len(block)
        for first, last in _counted(end, since=start):
            self._hash.update(memoryview(block)[first - start : last - start])
        if end > FULL_BYTES - BLOCK_BYTES:
            self._last = (self._last + bytes(block[-BLOCK_BYTES:]))[-BLOCK_BYTES:]
        self._bytes = end

    def __str__(self) -> str:
        whole = self._hash.copy()
        if self._bytes > FULL_BYTES:
            whole.update(self._last)
        whole.update(self._bytes.to_bytes(8, "big"))
        return whole.hexdigest()[:_DIGITS]


def _counted(end: int, *, since: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the ranges of bytes that are hashed, between two places of a file."""
    if since < FULL_BYTES:
        yield since, min(end, FULL_BYTES)
    stride = max(since, FULL_BYTES) // STRIDE_BYTES * STRIDE_BYTES
    while stride < end:
        first, last = max(stride, since, FULL_BYTES), min(stride + BLOCK_BYTES, end)
        if first < last:
            yield first, last
        stride += STRIDE_BYTES
