"""Reads the partitions of one topic from given offsets on; every offset is a record or a named hole."""

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from headrace.allocator import give_back
from headrace.errors import (
    LogTruncatedError,
    OffsetGapError,
    PartitionStalledError,
    ReaderProcessError,
    SourceError,
    TopicDamagedError,
    TopicReplacedError,
    TopicUnreachableError,
)
from headrace.ingest.sources.base import (
    Batch,
    Position,
    PositionsOf,
    ReaderStatus,
    Records,
    SourcePartition,
)
from headrace.ingest.sources.holes import AcceptedGap, Hole, HoleKind, accepts, merged
from headrace.ingest.sources.kafka_client import KafkaClient, TopicFacts, at
from headrace.ingest.sources.kafka_gaps import DAMAGED, explain, gaps_of
from headrace.ingest.sources.kafka_progress import Progress, mark_of
from headrace.ingest.sources.kafka_records import (
    Fetched,
    Messages,
    ValueRules,
    by_partition,
    one_type,
    records_of,
)
from headrace.ingest.sources.kafka_start import Mark, Start, plan_start

_MESSAGES = 10_000  # of one call of the client
_BYTES_MAX = 64 * 1024 * 1024  # of one batch
_WAIT_S = 0.05  # of one call of the client; it returns earlier if it has as many as asked
ENDS_S = 2.0  # between two questions for the ends of the log
FACTS_S = 10.0  # and for its partitions
STALLED_S = 60.0  # without a record of a partition that has more
_QUICK_S = 3.0  # of a question asked while reading
_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
_GONE = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)


class KafkaReader:
    """Reads with one consumer in one thread. See `Reader`.

    It asks the leaders for what they hold before it names a gap. What the client fetches ahead is
    bounded by its queue, which stops fetching and drops nothing; partitions are never paused.
    """

    def __init__(
        self,
        client: KafkaClient,
        positions: PositionsOf,
        *,
        follow: bool,
        accepted: Sequence[AcceptedGap] = (),
        values: ValueRules | None = None,
        stalled_s: float = STALLED_S,
    ) -> None:
        self._client, self._positions, self._follow = client, positions, follow
        self._accepted, self._stalled_s = accepted, stalled_s
        self._values = values or ValueRules()
        self._pid = os.getpid()
        self._closed, self._rebuilt = False, False
        self._failure: SourceError | None = None
        self._unreachable: TopicUnreachableError | None = None
        self._held: dict[int, Fetched] = {}
        self._progress: dict[int, Progress] = {}
        self._asked_ends_s = self._asked_facts_s = time.monotonic()
        self._files = self._changed_files()
        self._facts = client.facts()
        self._begin = self._take_in(self._facts.partitions)
        self._made: Consumer | None = None

    # what it holds

    @property
    def drained(self) -> bool:
        """Whether each partition is read to its end: that of the opening, or the one known last."""
        return not any(each.is_due for each in self._progress.values())

    @property
    def active(self) -> Collection[SourcePartition]:
        """Partitions that are behind their ends."""
        return [
            self._named(number)
            for number, each in self._progress.items()
            if each.expected < each.end
        ]

    def status(self) -> ReaderStatus:
        """Return how far each partition is behind the end known last."""
        lag = {
            self._named(number): max(0, each.end - each.expected)
            for number, each in self._progress.items()
        }
        return ReaderStatus(
            waiting=tuple(each for each, behind in lag.items() if behind),
            lag=lag,
            missing=None if lag else f"topic `{self._client.topic}` has no partition",
            next={self._named(number): each.expected for number, each in self._progress.items()},
            unreachable=self._unreachable,
            topic_id=self._facts.id,
        )

    # reading

    def poll(self, max_rows: int, *, max_s: float) -> Batch | None:
        """Return the next records, as many as come within `max_s`; see `Reader`.

        Raises:
            OffsetGapError: If records were deleted before they were read.
            RecordsSkippedError: If the client left out a record.
            LogTruncatedError: If the log lost records that were taken.
            TopicReplacedError: If the topic was created again.
            TopicDamagedError: If a record does not match its checksum.
            PartitionStalledError: If a partition stands still though it has more.
            TopicAccessError: If the brokers refuse.
            TopicNotFoundError: If the topic was deleted.
            TopicUnreachableError: If what has to be asked is not answered.
            ReaderProcessError: If another process opened the reader.
            ValueError: If the reader is closed.

        """
        self._usable()
        if self._failure is not None:
            raise self._failure
        if self.drained and not self._follow:
            return None
        self._look_again()
        fetched, self._held = self._held, {}
        failed: list[Message] = []
        self._fill(fetched, failed, max_rows, until_s=time.monotonic() + max_s)
        parts = self._parts(fetched)
        try:
            self._act_on(failed)
        except SourceError as error:
            if not parts:
                raise
            self._failure = error  # what came beside it is whole
        return Batch(parts=tuple(parts)) if parts else None

    def _fill(
        self,
        fetched: dict[int, Fetched],
        failed: list[Message],
        max_rows: int,
        *,
        until_s: float,
    ) -> None:
        """Fetch until there are enough rows or bytes, every end is reached, or the time is over."""
        rows, size = sum(map(len, fetched.values())), 0
        while rows < max_rows and size < _BYTES_MAX and not failed:
            left_s = until_s - time.monotonic()
            messages = self._consumer.consume(
                min(_MESSAGES, max_rows - rows), timeout=min(_WAIT_S, max(left_s, 0.0))
            )
            good = messages
            if any(map(Message.error, messages)):
                good = [each for each in messages if each.error() is None]
                failed += [each for each in messages if not self._is_end(each)]
            for number, some in by_partition(good) if good else ():
                self._rebuilt = False
                so_far = fetched.setdefault(number, Fetched())
                rows += self._progress[number].keep(some, so_far, follow=self._follow)
                size += some.bytes
            if not messages:
                self._note_positions()
            if left_s <= 0 or self._at_ends(fetched):
                break

    def _is_end(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        number = message.partition()
        if error.code() == KafkaError._PARTITION_EOF:
            if number in self._progress:
                each = self._progress[number]
                each.seen = max(each.seen, message.offset() or 0)
            return True
        return False

    def _note_positions(self) -> None:
        """Note where the consumer passed offsets without records, such as a transaction's marker."""
        behind = {number: 0 for number, each in self._progress.items() if each.seen < each.end}
        if behind:
            for found in self._consumer.position(at(self._client.topic, behind, {})):
                each = self._progress[found.partition]
                each.seen = max(each.seen, found.offset)

    def _at_ends(self, fetched: Mapping[int, Fetched]) -> bool:
        """Whether the consumer has passed every end; in a follower only once there is something."""
        at_ends = all(each.seen >= each.end for each in self._progress.values())
        return at_ends and (any(map(len, fetched.values())) or not self._follow)

    # what was read

    def _parts(self, fetched: dict[int, Fetched]) -> list[Records]:
        """Make records of messages, with every gap explained."""
        ends: dict[int, int] = {}
        gaps: dict[int, list[tuple[int, int]]] = {}
        found = {number: Messages.joined(each.parts) for number, each in fetched.items()}
        nothing = Messages.of([])
        for number, each in self._progress.items():
            some = found.get(number, nothing)
            count = one_type(some)
            if count < len(some):
                self._held[number] = Fetched([some.between(count, len(some))])
                some = found[number] = some.between(0, count)
            offsets = some.offsets
            last = int(offsets[-1]) + 1 if len(offsets) else each.expected
            seen = each.seen if self._follow else min(each.seen, each.end)
            end = last if number in self._held else max(last, seen)
            if end > each.expected or (each.is_due and each.expected >= each.end):
                ends[number] = end
                gaps[number] = gaps_of(each.expected, offsets, end)
        explained = self._explained(gaps)
        parts: list[Records] = []
        for number, end in ends.items():
            each = self._progress[number]
            some = found.get(number, nothing)
            holes = merged([*each.holes, *explained.get(number, ())])
            each.holes = []
            each.expected = end
            each.end = max(each.end, end)
            if len(some):
                each.mark = mark_of(some.messages[-1], topic_id=self._facts.id)
            position = Position(end, fingerprint=each.mark.text)
            records = records_of(self._named(number), some, end=position, holes=holes)
            parts.append(self._values.applied(records))
        return parts

    def _explained(self, gaps: Mapping[int, Sequence[tuple[int, int]]]) -> dict[int, list[Hole]]:
        try:
            return explain(self._client, gaps)
        except OffsetGapError as error:
            lost = Hole(error.first, error.end, HoleKind.LOST)
            if not accepts(self._accepted, error.partition, lost):
                raise
            rest = {number: list(each) for number, each in gaps.items()}
            accepted = [
                Hole(first, min(end, lost.end), HoleKind.LOST)
                for first, end in rest[error.partition]
                if first < lost.end
            ]
            rest[error.partition] = [
                (max(first, lost.end), end)
                for first, end in rest[error.partition]
                if end > lost.end
            ]
            found = self._explained(rest)
            found[error.partition] = sorted([*accepted, *found.get(error.partition, ())])
            return found

    # what else the client says

    def _act_on(self, failed: Iterable[Message]) -> None:
        for message in failed:
            error = message.error()
            number = message.partition()
            code = None if error is None else error.code()
            if error is None or code is None or number is None:
                continue
            if code == KafkaError._AUTO_OFFSET_RESET:
                self._out_of_range(number)
            elif code == KafkaError._LOG_TRUNCATION:
                raise LogTruncatedError(
                    self._client.topic,
                    partition=number,
                    offset=self._progress[number].expected,
                    detail=error.str(),
                )
            elif code in DAMAGED:
                raise TopicDamagedError(
                    self._client.topic,
                    partition=number,
                    offset=message.offset() or 0,
                    detail=error.str(),
                )
            elif code in _GONE:
                self._compare(self._client.facts())
            elif self._client.refused is not None or code in (
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
            ):
                self._client.fail(error)

    def _out_of_range(self, number: int) -> None:
        """Go on where the leader says that the offset is there; else name what is missing.

        Raises:
            LogTruncatedError: If the log ends before it.
            OffsetGapError: If the log begins after it, and the user did not accept that.

        """
        each, topic = self._progress[number], self._client.topic
        each.compare = None
        held = self._client.outside(number, each.expected)
        if held is not None and each.expected > held.high:
            raise LogTruncatedError(
                topic,
                partition=number,
                offset=each.expected,
                detail=f"the partition ends at offset {held.high}",
            )
        if held is not None:
            lost = Hole(each.expected, held.low, HoleKind.LOST)
            if not accepts(self._accepted, number, lost):
                raise OffsetGapError(topic, partition=number, first=lost.first, end=lost.end)
            each.holes.append(lost)
            each.expected = held.low
            each.end = max(each.end, held.low)
        self._consumer.incremental_unassign([TopicPartition(topic, number)])
        self._consumer.incremental_assign([TopicPartition(topic, number, each.expected)])

    # looking again

    def confirm(self) -> None:
        """Compare the topic's id, and take in partitions that were added.

        Brokers that do not answer confirm nothing and deny nothing: what was fetched was of the
        topic that they were asked for.

        Raises:
            TopicReplacedError: If the topic was created again.
            TopicNotFoundError: If it was deleted.
            ReaderProcessError: If another process opened the reader.

        """
        self._usable()
        try:
            self._compare(self._client.facts(timeout_s=_QUICK_S))
        except TopicUnreachableError:
            return

    def _compare(self, facts: TopicFacts) -> None:
        self._asked_facts_s = time.monotonic()
        known = self._facts
        if known.id and facts.id and known.id != facts.id:
            raise TopicReplacedError(self._client.topic, expected=known.id, found=facts.id)
        added = [each for each in facts.partitions if each not in self._progress]
        if added and self._follow:
            self._client.refresh(self._consumer, timeout_s=_QUICK_S)
            starts = self._take_in(added)
            self._facts = replace(facts, id=facts.id or known.id)
            self._consumer.incremental_assign(self._starts(starts))

    def _look_again(self) -> None:
        """Ask for new ends and partitions from time to time, and notice partitions that stand still."""
        now_s = time.monotonic()
        if now_s - self._asked_ends_s < ENDS_S:
            return
        self._asked_ends_s = now_s
        if self._files != (files := self._changed_files()):
            self._files = files
            self._rebuild()
        try:
            if now_s - self._asked_facts_s >= FACTS_S:
                self._compare(self._client.facts(timeout_s=_QUICK_S))
            stalled = self._update_ends(now_s)
        except TopicUnreachableError as error:
            self._unreachable = error
            for each in self._progress.values():
                each.moved_s = now_s  # it is the brokers that stand still
            return
        self._unreachable = None
        if stalled and self._rebuilt:
            raise PartitionStalledError(
                self._client.topic, partitions=tuple(stalled), stalled_s=self._stalled_s
            )
        if stalled:
            self._rebuild()
            self._rebuilt = True

    def _update_ends(self, now_s: float) -> list[int]:
        """Note how far the partitions reach, and return those that stand still."""
        held = self._client.ranges(self._progress.keys(), timeout_s=_QUICK_S)
        stalled: list[int] = []
        for number, each in self._progress.items():
            if self._follow:
                each.end = max(each.end, held[number].high)
            if each.expected >= each.end:
                each.moved_s = now_s
            elif now_s - each.moved_s > self._stalled_s:
                stalled.append(number)
        return stalled

    def _rebuild(self) -> None:
        """Make a new consumer, which goes on where this reader is."""
        self._consumer.close()
        give_back()
        now_s = time.monotonic()
        starts: dict[int, Start] = {}
        for number, each in self._progress.items():
            each.moved_s = now_s
            held = self._held.get(number)
            due = int(held.parts[-1].offsets[-1]) + 1 if held is not None else each.expected
            each.seen = due
            starts[number] = Start(expected=due, read_from=due, mark=each.mark)
        self._made = self._assigned(starts)

    def _changed_files(self) -> dict[str, int]:
        """When the certificates changed: the client reads them once."""
        named = (str(self._client.settings[key]) for key in _FILES if key in self._client.settings)
        return {name: Path(name).stat().st_mtime_ns for name in named if Path(name).exists()}

    # assigning

    def _take_in(self, numbers: Sequence[int]) -> dict[int, Start]:
        """Plan where to start reading partitions."""
        held = self._client.ranges(numbers)
        positions = self._positions([self._named(number) for number in numbers])
        starts: dict[int, Start] = {}
        for number in numbers:
            start = plan_start(
                self._client.topic,
                number,
                positions.get(self._named(number), Position()),
                held[number],
                topic_id=self._facts.id,
                accepted=self._accepted,
            )
            starts[number] = start
            self._progress[number] = Progress(
                topic=self._client.topic,
                expected=start.expected,
                end=held[number].high,
                mark=replace(start.mark, topic_id=self._facts.id)
                if start.mark is not None
                else Mark(topic_id=self._facts.id, partition=number),
                compare=start.mark if start.read_from < start.expected else None,
                holes=list(start.holes),
                seen=start.expected,
            )
        return starts

    @property
    def _consumer(self) -> Consumer:
        """The consumer, made for the first poll: a reader that is asked for its status alone fetches nothing."""
        self._made = self._made or self._assigned(self._begin)
        return self._made

    def _assigned(self, starts: Mapping[int, Start]) -> Consumer:
        consumer = self._client.consumer()
        consumer.assign(self._starts(starts))
        return consumer

    def _starts(self, starts: Mapping[int, Start]) -> list[TopicPartition]:
        epochs = {number: each.epoch for number, each in starts.items() if each.epoch is not None}
        return at(
            self._client.topic,
            {number: each.read_from for number, each in starts.items()},
            epochs,
        )

    def _named(self, number: int) -> SourcePartition:
        return SourcePartition(self._client.topic, number)

    def _usable(self) -> None:
        if self._closed:
            msg = "the reader is closed"
            raise ValueError(msg)
        if os.getpid() != self._pid:
            raise ReaderProcessError(self._client.topic, opened_by=self._pid, used_by=os.getpid())

    def close(self) -> None:
        """Close the connections; idempotent."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() == self._pid:
            try:
                if self._made is not None:
                    self._made.close()
            except (KafkaException, RuntimeError):
                return
            self._client.close()
            give_back()
