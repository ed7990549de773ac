"""A stream that another writer filled, without a note of it."""

import json

from headrace.api import Lake
from headrace.definitions.properties import ABSENT_PREFIX, OFFSETS_PREFIX, WATERMARK
from headrace.definitions.stream import Stream
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import Source
from headrace.tables.commits.operations import move_properties


def value(number: int) -> bytes:
    if number % 5 == 0:
        return b"not JSON"
    return json.dumps({"id": str(number), "at": f"2026-01-01T00:{number % 60:02}:00Z"}).encode()


def written_by_another(lake: Lake, stream: Stream, topic: Source) -> dict[str, str]:
    """Write rows and letters of a topic, and forget how far; return what was said of it."""
    ingest(lake, stream, source=topic)
    table = lake.table(stream.table)
    said = dict(table.head().properties)
    keys = [OFFSETS_PREFIX + stream.name, ABSENT_PREFIX + stream.name, WATERMARK]
    keys += [each for each in said if each.startswith("headrace.source_files.")]
    keys += ["headrace.event_times"]
    owner = Owner(by=FLINK, epoch=1).note(stream=stream.name)
    there = [each for each in keys if each in said]
    move_properties(table, lambda _: {**dict.fromkeys(there), **owner})
    return said
