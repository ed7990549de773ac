"""Where a job begins each partition of its topic: the offsets that the table holds, checked by the topic."""

from contextlib import closing

from headrace.definitions.stream import Stream
from headrace.errors import OffsetGapError
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import SourcePartition
from headrace.ingest.sources.holes import AcceptedGap
from headrace.ingest.sources.open import open_source
from headrace.tables.lake import OpenLake

_ANY = 2**63 - 1


def starts_of(lake: OpenLake, stream: Stream, *, has_state: bool) -> dict[SourcePartition, int]:
    """Return the next offset of every partition of a stream's topic, of empty ones too.

    A job that `has_state` begins at the offsets in it, which may lie beyond those that were noted: of
    these the topic may lack some.

    Raises:
        SourceError: If the topic cannot be read, or lacks records at such an offset: it lies before the
            first or beyond the last one, or the topic was created again.

    """
    table = lake.table(stream.table)
    head = table.head()
    positions = Positions.read(table, head.properties, stream=stream.name, is_log=True)
    behind = [AcceptedGap(each.partition, 0, _ANY) for each in positions.open if has_state]
    source = open_source(stream, lake.settings, accepted=behind)
    try:
        with closing(source.open(positions.of, rows_per_commit=1)) as reader:
            return dict(reader.status().next)
    except OffsetGapError as error:
        if Owner.read(head.properties, stream=stream.name).by != FLINK:
            raise
        raise error.before_note(stream.name) from None
