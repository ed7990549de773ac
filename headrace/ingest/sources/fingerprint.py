"""A hash of a file's first bytes that tells whether they are still what was taken.

The first `FULL_BYTES` count in full. Of what follows, `BLOCK_BYTES` in every `STRIDE_BYTES` count, and
the last `BLOCK_BYTES`: reading terabytes again before each new line would cost more than the line. So
every replacement is seen, and every edit within the first `FULL_BYTES`; a later edit that keeps the
length is seen where it touches a block that counts.
"""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Self

FULL_BYTES = 64 * 1024 * 1024
STRIDE_BYTES = 16 * 1024 * 1024
BLOCK_BYTES = 64 * 1024
_DIGITS = 24  # 96 bits: chance alone never makes two files alike
_READ_BYTES = 1024 * 1024


class Fingerprint:
    """The fingerprint of all bytes fed so far, in order; feeding may go on after it is read."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._last = b""

    @classmethod
    def of(cls, handle: BinaryIO, size: int) -> Self:
        """Read that of a file's first `size` bytes; leaves the handle after them.

        A file that is shorter has another one than any that is not.

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
        """Feed the next bytes."""
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
    """Cut the bytes that count, between two places of a file, into ranges."""
    if since < FULL_BYTES:
        yield since, min(end, FULL_BYTES)
    stride = max(since, FULL_BYTES) // STRIDE_BYTES * STRIDE_BYTES
    while stride < end:
        first, last = max(stride, since, FULL_BYTES), min(stride + BLOCK_BYTES, end)
        if first < last:
            yield first, last
        stride += STRIDE_BYTES
