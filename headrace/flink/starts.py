"""Where a job begins each partition of its topic: the offsets that the table holds, checked by the topic."""

from contextlib import closing

from headrace.definitions.stream import Stream
from headrace.ingest.positions import Positions
from headrace.ingest.sources.base import SourcePartition
from headrace.ingest.sources.open import open_source
from headrace.tables.lake import OpenLake


def starts_of(lake: OpenLake, stream: Stream) -> dict[SourcePartition, int]:
    """Return the next offset of every partition of a stream's topic, of empty ones too.

    Raises:
        SourceError: If the topic cannot be read, or lacks records at such an offset: it lies before the
            first or beyond the last one, or the topic was created again.

    """
    table = lake.table(stream.table)
    head = table.head()
    positions = Positions.read(table, head.properties, stream=stream.name, is_log=True)
    source = open_source(stream, lake.settings)
    with closing(source.open(positions.of, rows_per_commit=1)) as reader:
        return dict(reader.status().next)
