"""Compares a file with what was taken of it, and reads as little as possible."""

import enum
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headrace.errors import SourceChangedError
from headrace.ingest.sources.base import UNSEEN, Position, Seen
from headrace.ingest.sources.fingerprint import Fingerprint

# File systems take change times from a clock that moves in steps of milliseconds, on other hosts from
# another clock: two changes within one step look the same. A younger change time proves nothing.
SETTLED_NS = 2_000_000_000
_INODE_MAX = 2**63 - 1  # the largest integer of the registry


class FileState(enum.Enum):
    """How a file compares with what was taken of it."""

    TAKEN = "taken"
    READ_AGAIN = "read again, and as it was"
    OTHER = "longer, shorter, replaced or unreadable"


@dataclass(frozen=True, kw_only=True)
class Found:
    """One file as it is now; `size_bytes` is -1 if it cannot be read."""

    state: FileState
    size_bytes: int = -1
    modified_us: int = 0
    seen: Seen = UNSEEN


def compare(path: Path, start: Position) -> Found:
    """Compare a file with how far it was taken; without a fingerprint only the size is compared."""
    try:
        status = os.stat(path)  # noqa: PTH116 - takes a third of the time, and there may be many files
    except OSError:
        return Found(state=FileState.OTHER)
    if not stat.S_ISREG(status.st_mode):
        return Found(state=FileState.OTHER)
    return Found(
        state=_state(path, status, start),
        size_bytes=status.st_size,
        modified_us=status.st_mtime_ns // 1000,
        seen=seen_of(status),
    )


def seen_of(status: os.stat_result) -> Seen:
    """Return a file's change time and inode, if any later change will differ from them."""
    # not the modification time: any program may set it
    return _marks(status) if status.st_ctime_ns + SETTLED_NS <= time.time_ns() else UNSEEN


def refuse_written(handle: BinaryIO, before: os.stat_result, source: str) -> None:
    """Refuse a file that was written to since it was opened: its batches may be of two versions.

    Raises:
        SourceChangedError: If it was.

    """
    now = os.fstat(handle.fileno())
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise SourceChangedError(source, "it was written to while it was read")


def _marks(status: os.stat_result) -> Seen:
    return Seen(status.st_ctime_ns, status.st_ino & _INODE_MAX)


def _state(path: Path, status: os.stat_result, start: Position) -> FileState:
    if status.st_size != start.bytes:
        return FileState.OTHER
    if start.bytes == 0:
        return FileState.OTHER if start.offset else FileState.TAKEN
    if not start.fingerprint or start.seen == _marks(status):
        return FileState.TAKEN
    try:
        with path.open("rb") as handle:
            same = str(Fingerprint.of(handle, start.bytes)) == start.fingerprint
    except OSError:
        return FileState.OTHER
    return FileState.READ_AGAIN if same else FileState.OTHER
