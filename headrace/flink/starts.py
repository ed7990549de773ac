"""Where a job begins each partition of its topic: the offsets that the table holds, checked by the topic."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from headrace.definitions.stream import Stream
from headrace.errors import OffsetGapError, TopicReplacedError
from headrace.flink.limits import source_of
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import SourcePartition
from headrace.ingest.sources.holes import AcceptedGap
from headrace.ingest.sources.open import open_source
from headrace.tables.lake import OpenLake

_ANY = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Starts:
    """The next offset of every partition of a topic, of empty ones too, and the topic's id."""

    offsets: Mapping[SourcePartition, int]
    topic_id: str


def starts_of(lake: OpenLake, stream: Stream, *, has_state: bool) -> Starts:
    """Return where the job of a stream begins.

    A job that `has_state` begins at the offsets in it, which may lie beyond those that were noted: of
    these the topic may lack some.

    Raises:
        SourceError: If the topic cannot be read, or lacks records at such an offset: it lies before the
            first or beyond the last one, or the topic was created again.

    """
    table = lake.table(stream.table)
    head = table.head()
    owner = Owner.read(head.properties, stream=stream.name)
    positions = Positions.read(table, head.properties, stream=stream.name, is_log=True)
    behind = [AcceptedGap(each.partition, 0, _ANY) for each in positions.open if has_state]
    source = open_source(stream, lake.settings, accepted=behind)
    try:
        with closing(source.open(positions.of, rows_per_commit=1)) as reader:
            found = reader.status()
    except OffsetGapError as error:
        if owner.by != FLINK:
            raise error.of_stream(stream.name) from None
        raise error.before_note(stream.name) from None
    refuse_replaced(owner, source_of(stream).kafka.topic, found.topic_id)
    return Starts(offsets=dict(found.next), topic_id=found.topic_id)


def refuse_replaced(owner: Owner, topic: str, found: str) -> None:
    """Refuse a topic that was created again since the epoch of a job began.

    What was noted of each partition tells it too, but not before the first note.

    Raises:
        TopicReplacedError: If its id is another one.

    """
    if owner.topic_id and found and owner.topic_id != found:
        raise TopicReplacedError(topic, expected=owner.topic_id, found=found)
