"""Whether a file is still what was taken of it, found out by reading as little as possible."""

import enum
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from headrace.ingest.sources.base import UNSEEN, Position, Seen
from headrace.ingest.sources.fingerprint import Fingerprint

# File systems stamp changes with a clock that moves in steps of some milliseconds, on other hosts with
# another clock: two changes within a step look like one. A younger stamp tells nothing.
SETTLED_NS = 2_000_000_000
_INODE_MAX = 2**63 - 1  # what databases hold


class FileState(enum.Enum):
    """What a file is, compared with what was taken of it."""

    TAKEN = "taken"
    READ_AGAIN = "read again, and as it was"
    OTHER = "longer, shorter, replaced or unreadable"


@dataclass(frozen=True, kw_only=True)
class Found:
    """One file as it lies there; `size_bytes` is -1 if that cannot be told."""

    state: FileState
    size_bytes: int = -1
    modified_us: int = 0
    seen: Seen = UNSEEN


def compare(path: Path, start: Position) -> Found:
    """Compare a file with how far it was taken; one without a fingerprint is believed by its size."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a third of the time, and there may be many
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
    """Take a file's marks of change, if they are old enough to tell later ones apart."""
    # not the time of modification: any program may set that one back
    return _marks(status) if status.st_ctime_ns + SETTLED_NS <= time.time_ns() else UNSEEN


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
