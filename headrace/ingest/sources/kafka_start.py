"""Where each partition of a topic starts, and whether it still holds what was taken. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from headrace.errors import LogTruncatedError, OffsetGapError, TopicReplacedError
from headrace.ingest.sources.base import Position
from headrace.ingest.sources.holes import AcceptedGap, Hole, HoleKind, accepts
from headrace.ingest.sources.kafka_client import Range

_FORM = "kafka1"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """By what a partition is recognized: its topic's id, and the last record taken of it.

    Args:
        topic_id: The topic's id; empty if the brokers have none.
        partition: The partition.
        offset: Of the last record; -1 if none was taken.
        time_ms: Its time; -1 if it has none.
        epoch: The epoch of the leader that gave it; -1 if not known.

    """

    topic_id: str
    partition: int
    offset: int = -1
    time_ms: int = -1
    epoch: int = -1

    @property
    def text(self) -> str:
        """The fingerprint of a position."""
        said = (_FORM, self.partition, self.offset, self.time_ms, self.epoch, self.topic_id)
        return ":".join(map(str, said))

    def of_topic(self) -> Self:
        """Return the mark of the same partition where no record is known."""
        return replace(self, offset=-1, time_ms=-1, epoch=-1)

    def earlier(self, offset: int, *, time_ms: int) -> Self:
        """Return the mark of an earlier record; which leader gave that one is not known."""
        return replace(self, offset=offset, time_ms=time_ms, epoch=-1)

    @classmethod
    def of(cls, text: str) -> Self | None:
        """Parse what `text` returned; None for anything else."""
        form, *parts = text.split(":", 5)
        if form != _FORM or len(parts) != 5:
            return None
        partition, offset, time_ms, epoch = map(int, parts[:4])
        return cls(
            topic_id=parts[4], partition=partition, offset=offset, time_ms=time_ms, epoch=epoch
        )


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where one partition is read from.

    Args:
        expected: The first offset to return.
        read_from: Where reading starts: one record earlier, if its time can be compared.
        holes: Offsets before `expected` that were deleted: before the first look at the partition, or as the user
            accepted.
        mark: What was taken last.

    """

    expected: int
    read_from: int
    holes: tuple[Hole, ...] = ()
    mark: Mark | None = None

    @property
    def epoch(self) -> int | None:
        """The leader epoch for the client to compare; None if not known."""
        return None if self.mark is None or self.mark.epoch < 0 else self.mark.epoch


def plan_start(
    topic: str,
    partition: int,
    position: Position,
    held: Range,
    *,
    topic_id: str,
    accepted: Iterable[AcceptedGap] = (),
) -> Start:
    """Decide where to read a partition from.

    Args:
        topic: The topic.
        partition: The partition.
        position: How far the table has it.
        held: What its leader holds.
        topic_id: The topic's id now.
        accepted: Missing offsets that the user accepts.

    Raises:
        TopicReplacedError: If the records were taken of another topic of that name.
        LogTruncatedError: If the partition ends before `position`.
        OffsetGapError: If records after `position` are gone, and no accepted gap covers them.

    """
    mark, offset = Mark.of(position.fingerprint), position.offset
    if mark is not None and mark.topic_id and topic_id and mark.topic_id != topic_id:
        raise TopicReplacedError(topic, expected=mark.topic_id, found=topic_id)
    if offset > held.high:
        raise LogTruncatedError(
            topic,
            partition=partition,
            offset=offset,
            detail=f"the partition ends at offset {held.high}",
        )
    holes: tuple[Hole, ...] = ()
    if offset < held.low and (offset or mark is not None):
        lost = Hole(offset, held.low, HoleKind.LOST)
        if not accepts(accepted, partition, lost):
            raise OffsetGapError(topic, partition=partition, first=offset, end=held.low)
        holes = (lost,)
    elif offset < held.low:  # nothing was read of it yet
        holes = (Hole(offset, held.low, HoleKind.BEFORE),)
    expected = max(offset, held.low)
    is_readable = mark is not None and held.low <= mark.offset < expected
    return Start(
        expected=expected,
        read_from=mark.offset if is_readable and mark is not None else expected,
        holes=holes,
        mark=mark,
    )


def check_same_record(topic: str, mark: Mark, *, time_ms: int) -> None:
    """Compare the record that is stored at the offset of the last one taken.

    Raises:
        LogTruncatedError: If it has another time: the log was cut off, and grew again.

    """
    if time_ms != mark.time_ms:
        detail = f"the record there has time {time_ms} ms, the one taken had {mark.time_ms} ms"
        raise LogTruncatedError(topic, partition=mark.partition, offset=mark.offset, detail=detail)
