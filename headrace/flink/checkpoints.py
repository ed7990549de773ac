"""The checkpoints that jobs left on the lake's storage; Flink keeps the newest of each job."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from headrace.errors import NoCheckpointError
from headrace.ingest.owner import Owner
from headrace.storage.folders import Entry
from headrace.storage.open import folders_of
from headrace.tables.lake import LakeTable

STATE_PATH = "execution.state-recovery.path"  # the option that says with which state a job begins
_NUMBER = re.compile(r"/chk-([0-9]{1,15})/?$")
_COMPLETE = "_metadata"  # written last
# the head of that file: what it is, the version of its form, the checkpoint's number
_HEAD = struct.Struct(">IIq")
_MAGIC = 0x4960672D
_JOB_CHARS = 6  # of a job's id, in the name of its savepoint


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint, and its number among those of the job."""

    location: str
    number: int

    @classmethod
    def of(cls, location: str, *, stream: str) -> Self:
        """Read the number from the location of a checkpoint, as in `…/chk-42`.

        Raises:
            NoCheckpointError: If it has none.

        """
        found = _NUMBER.search(location)
        if found is None:
            raise NoCheckpointError(stream, folder=location)
        return cls(location=location.rstrip("/"), number=int(found[1]))


def refuse_foreign(location: str, owner: Owner, *, stream: str) -> None:
    """Refuse a state that is not of the jobs of this epoch: numbers of checkpoints compare only among those.

    The state of an earlier epoch holds other offsets, and rows that are in the table would be written again.

    Raises:
        NoCheckpointError: If it is one.

    """
    if location != owner.savepoint and not any(f"/{each}/" in location for each in owner.jobs):
        raise NoCheckpointError(stream, folder=location)


def refuse_missing(table: LakeTable, found: Checkpoint, *, stream: str) -> None:
    """Refuse a checkpoint that is not there as a whole: the job that begins with it forgets its savepoint.

    Raises:
        NoCheckpointError: If it is not.

    """
    store = folders_of(found.location, table.iceberg().io, table=str(table.name))
    if not store.exists(f"{found.location}/{_COMPLETE}"):
        raise NoCheckpointError(stream, folder=found.location)


def newest_checkpoint(table: LakeTable, folder: str, *, jobs: Sequence[str]) -> Checkpoint | None:
    """Find the newest whole checkpoint of some jobs in the folder of all checkpoints; None if there is none."""
    if not folder:
        return None
    store = folders_of(folder, table.iceberg().io, table=str(table.name))
    found: list[Checkpoint] = []
    for job in jobs:
        for each in store.list(f"{folder}/{job}"):
            number = _NUMBER.search(each.location)
            location = f"{folder}/{job}/{_name(each)}"
            if number is not None and store.exists(f"{location}/{_COMPLETE}"):
                found.append(Checkpoint(location=location, number=int(number[1])))
    return max(found, key=lambda each: each.number, default=None)


def newest_savepoint(table: LakeTable, folder: str, *, jobs: Sequence[str]) -> Checkpoint | None:
    """Find the newest whole savepoint of some jobs in the folder of all savepoints; None if there is none.

    Its name begins with that of its job, and its number, one of those of checkpoints, is in the file that is
    written last.
    """
    if not folder:  # then `stop` wrote none
        return None
    store = folders_of(folder, table.iceberg().io, table=str(table.name))
    prefixes = tuple(f"savepoint-{job[:_JOB_CHARS]}-" for job in jobs)
    named = [
        f"{folder}/{_name(each)}" for each in store.list(folder) if _name(each).startswith(prefixes)
    ]
    found = [each for location in named if (each := savepoint_at(table, location)) is not None]
    return max(found, key=lambda each: each.number, default=None)


def savepoint_at(table: LakeTable, location: str) -> Checkpoint | None:
    """Read the number of a savepoint from its files; None if it is not whole.

    The JobManager says it too, but from a copy that may be older than the savepoint.
    """
    store = folders_of(location, table.iceberg().io, table=str(table.name))
    whole = f"{location}/{_COMPLETE}"
    head = store.read(whole, bytes_max=_HEAD.size) if store.exists(whole) else b""
    if len(head) != _HEAD.size:
        return None
    magic, _, number = _HEAD.unpack(head)
    return Checkpoint(location=location, number=number) if magic == _MAGIC else None


def _name(entry: Entry) -> str:
    return entry.location.rstrip("/").rpartition("/")[2]
