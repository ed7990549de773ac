"""Row coordinates: where each row comes from, and which records are dead letters already."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT, REMOVED, Stream
from headrace.definitions.types import TIMESTAMP
from headrace.ingest.contract import Checked
from headrace.ingest.sources.base import Records


def with_coordinates(checked: Checked, records: Records, stream: Stream) -> pa.Table:
    """Complete typed rows with `known_at`, unless a field holds it, and with their coordinates."""
    rows, count = checked.rows, len(checked.index)
    if stream.known_at.ingested:
        known = pa.repeat(pa.scalar(datetime.now(UTC), TIMESTAMP), count)
        rows = rows.append_column(KNOWN_AT, known)
    elif stream.known_at.after_event is not None:
        delay = pa.scalar(stream.known_at.after_event, pa.duration("us"))
        rows = rows.append_column(KNOWN_AT, pc.add(rows.column(EVENT_TIME), delay))
    values = coordinates_of(records, checked.index)
    for coordinate in COORDINATES:
        rows = rows.append_column(coordinate, values[coordinate.name])
    return rows.append_column(REMOVED, pa.repeat(False, count)) if stream.full_snapshot else rows


def coordinates_of(records: Records, at: np.ndarray) -> dict[str, pa.Array]:
    """Return the coordinate columns of the records at these places of a batch."""
    source, partition = records.partition
    return {
        "_source": pa.repeat(source, len(at)),
        "_source_partition": pa.repeat(pa.scalar(partition, pa.int32()), len(at)),
        "_source_offset": pa.array(records.offsets[at], pa.int64()),
        "_source_time": records.times_of(at),
    }


def without_known_dead(checked: Checked, records: Records, known: Collection[int]) -> Checked:
    """Leave out records whose offsets are `known` dead letters.

    A changed contract may accept now what is a dead letter already: it stays one.
    """
    if not known:
        return checked
    is_known = np.isin(records.offsets, list(known))
    violations = {at: each for at, each in checked.violations.items() if not is_known[at]}
    keep = np.flatnonzero(~is_known[checked.index])
    if len(keep) == len(checked.index):
        return replace(checked, violations=violations)
    return Checked(
        index=checked.index[keep],
        rows=checked.rows.take(pa.array(keep, pa.int64())),
        violations=violations,
    )
