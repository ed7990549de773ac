"""How far one partition of a topic is read, and which of its messages are due."""

import time
from dataclasses import dataclass, field

from confluent_kafka import Message

from headrace.ingest.sources.holes import Hole, HoleKind
from headrace.ingest.sources.kafka_records import Fetched, Messages
from headrace.ingest.sources.kafka_start import Mark, check_same_record


@dataclass(kw_only=True)
class Progress:
    """How far one partition is read.

    Args:
        topic: The topic.
        expected: The next offset to return.
        end: The end known last; in a drain that of the opening.
        mark: The last record that was returned.
        compare: The last record that was taken before, until it is compared.
        holes: Explained, and not returned yet.
        seen: The consumer has nothing more below this offset.
        moved_s: When a record came last.

    """

    topic: str
    expected: int
    end: int
    mark: Mark
    compare: Mark | None = None
    holes: list[Hole] = field(default_factory=list[Hole])
    seen: int = 0
    moved_s: float = field(default_factory=time.monotonic)

    @property
    def is_due(self) -> bool:
        """Whether there is something to return: up to its end, or that a user accepted what is lost."""
        lost = any(each.kind is HoleKind.LOST for each in self.holes)
        return self.expected < self.end or lost

    def keep(self, found: Messages, so_far: Fetched, *, follow: bool) -> int:
        """Add the messages that are due to `so_far`, and return their number.

        The record that was taken last is compared and left out; in a drain those beyond the end are
        left out too.

        Raises:
            LogTruncatedError: If another record is stored where the last one was.

        """
        self.moved_s = time.monotonic()
        offsets = found.offsets
        self.seen = max(self.seen, int(offsets[-1]) + 1)
        if self.compare is not None:
            same, self.compare = self.compare, None
            if offsets[0] == same.offset:
                check_same_record(self.topic, same, time_ms=int(found.stamps[0, 1]))
        due_from = int(so_far.parts[-1].offsets[-1]) + 1 if so_far.parts else self.expected
        if offsets[0] < due_from or (not follow and offsets[-1] >= self.end):
            found = found.only((offsets >= due_from) & (follow | (offsets < self.end)))
        if len(found):
            so_far.parts.append(found)
        return len(found)


def mark_of(message: Message, *, topic_id: str) -> Mark:
    """Return by what a partition is recognized after its last record."""
    epoch = message.leader_epoch()
    return Mark(
        topic_id=topic_id,
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        time_ms=message.timestamp()[1],
        epoch=-1 if epoch is None else epoch,
    )
