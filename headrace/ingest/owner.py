"""Who writes a stream: headrace or a job of Flink, one at a time.

The table of the stream says so, and every commit of headrace is refused in the same swap if it says Flink.
Each change of owner begins an epoch. A job of Flink cannot be refused by the table, so it is stopped first.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from pyiceberg.table import Table

from headrace.definitions.properties import BEGUN_PREFIX, OWNER_PREFIX
from headrace.definitions.stream import Stream
from headrace.errors import FencedError, StreamOwnedError
from headrace.tables.lake import LakeTable

HEADRACE, FLINK = "headrace", "flink"
BATCH = "flink-batch"  # a job that adds rows once and ends; nothing restores or stops it as one that goes on


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The writer of a stream.

    Args:
        by: `headrace`, `flink` or `flink-batch`.
        epoch: How often the owner changed.
        jobs: The ids that Flink gave to the jobs of this epoch, the newest last.
        plan: The plan of these jobs.
        since_sequence: The sequence number of the table when the epoch began: later snapshots have greater ones.
        since_snapshot_id: Its snapshot then, of an epoch that an earlier version began.
        savepoint: Where the last job was stopped, if it was.
        checkpoint: The number of that savepoint.
        topic_id: Of the topic that the first job of this epoch read; empty of others than streams.

    """

    by: str = HEADRACE
    epoch: int = 0
    jobs: tuple[str, ...] = ()
    plan: str = ""
    since_sequence: int | None = None
    since_snapshot_id: int | None = None
    savepoint: str = ""
    checkpoint: int = 0
    topic_id: str = ""

    @classmethod
    def read(cls, properties: Mapping[str, str], *, stream: str) -> Self:
        """Read what a version of the stream's table says."""
        told: dict[str, Any] = json.loads(properties.get(OWNER_PREFIX + stream, "{}"))
        jobs: tuple[str, ...] = tuple(told.pop("jobs", ()))
        return cls(**told, jobs=jobs)

    def started(self, job: str) -> Self:
        """Return it once a job of its epoch runs: the savepoint that it may have begun with is past."""
        return replace(self, jobs=(*self.jobs, job), savepoint="", checkpoint=0)

    def note(self, *, stream: str) -> dict[str, str]:
        """Return it as an entry of table properties."""
        return {OWNER_PREFIX + stream: json.dumps(asdict(self), sort_keys=True)}


def refuse_other(stream: Stream, properties: Mapping[str, str]) -> None:
    """Refuse to write a stream that belongs to Flink.

    Raises:
        StreamOwnedError: If it does.

    """
    owner = Owner.read(properties, stream=stream.name)
    if owner.by != HEADRACE:
        raise StreamOwnedError(stream.name, owner=owner.by, epoch=owner.epoch, wanted=HEADRACE)


def begun_count(properties: Mapping[str, str], stream: Stream) -> int:
    """Return how often a reset or a retry of the stream was begun.

    Offsets alone do not tell an ingester of one: they are the same before and after where nothing was
    taken yet, and dead letters that it committed are gone.
    """
    return int(properties.get(BEGUN_PREFIX + stream.name, "0"))


def begun_again(properties: Mapping[str, str], stream: Stream) -> dict[str, str]:
    """Return the entry of table properties that says of one more reset or retry."""
    return {BEGUN_PREFIX + stream.name: str(begun_count(properties, stream) + 1)}


class OwnerGuard:
    """Refuses a commit of headrace in the swap itself: the owner may have changed since the last one.

    Args:
        stream: The contract.
        table: The stream's table, if the commit is to another one, as that of dead letters.
        epoch: Of the writer whose work the commit takes note of; None if headrace wrote.
        begun: What `begun_count` was when an ingester began; None for other writers.

    """

    def __init__(
        self,
        stream: Stream,
        *,
        table: LakeTable | None = None,
        epoch: int | None = None,
        begun: int | None = None,
    ) -> None:
        self._stream, self._table, self._epoch, self._begun = stream, table, epoch, begun

    def __call__(self, base: Table) -> None:
        """Look at the table that a commit is about to replace; see `refuse_other`.

        Raises:
            FencedError: If something of the stream was taken back since `begun`.
            StreamOwnedError: If the stream belongs to another writer.

        """
        said = base.properties if self._table is None else self._table.head().properties
        begun = begun_count(said, self._stream)
        if self._begun not in (None, begun):
            table = str(self._stream.table)
            expected, found = (f"those since reset {number}" for number in (self._begun, begun))
            raise FencedError(table, expected=expected, found=found)
        if self._epoch is None:
            refuse_other(self._stream, said)
            return
        owner = Owner.read(said, stream=self._stream.name)
        if owner.epoch != self._epoch:
            raise StreamOwnedError(
                self._stream.name, owner=owner.by, epoch=owner.epoch, wanted=FLINK
            )
