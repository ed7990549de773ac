"""Reads the dead letters of a stream: grouped by reason, one by one, and as the records that they were."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.stream import COORDINATES, Stream
from headrace.definitions.types import TIMESTAMP
from headrace.ingest import dead_letters
from headrace.ingest.letter_values import named_now, row_of, rows_now
from headrace.ingest.sources.base import (
    RECORD_BYTES_MAX,
    Position,
    Records,
    SourcePartition,
    TimeType,
)
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.version import TableVersion

FIRST_BYTES = 80
_GROUP_COLUMNS = ("error_code", "field", "reason", *COORDINATES.names[:3], "recorded_at", "raw")


class Coordinates(NamedTuple):
    """Where a record comes from."""

    source: str
    partition: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which dead letters of a stream; all if nothing is given. `source` is a file or a topic."""

    code: str | None = None
    source: str | None = None
    partition: int | None = None
    offset: int | None = None

    def mask(self, letters: pa.RecordBatch) -> pa.Array:
        """Return which rows of a batch are meant."""
        mask = pa.array(np.ones(letters.num_rows, dtype=bool))
        wanted = (self.code, self.source, self.partition, self.offset)
        for name, value in zip(("error_code", *COORDINATES.names[:3]), wanted, strict=True):
            if value is not None:
                mask = pc.and_(mask, pc.equal(letters.column(name), value))
        return mask


EVERY = Choice()


_BY_COORDINATES = [(name, "ascending") for name in COORDINATES.names[:3]]


@dataclass(frozen=True, kw_only=True)
class LetterGroup:
    """The dead letters of a stream with one error code and field.

    `reason`, `first_bytes` and `example` are those of the newest one.
    """

    code: str
    field: str | None
    count: int
    first_seen: datetime
    last_seen: datetime
    reason: str
    first_bytes: bytes
    example: Coordinates


def streams_with_letters(lake: OpenLake) -> tuple[str, ...]:
    """Name the streams that have dead letters, declared or not; none if no record was ever refused."""
    found = lake.head_of(dead_letters.TABLE)
    return () if found is None else tuple(sorted(str(key[0]) for key in found.partitions))


def groups(lake: OpenLake, stream: Stream, *, choice: Choice = EVERY) -> tuple[LetterGroup, ...]:
    """Group the dead letters of a stream by error code and field, the most frequent first."""
    return groups_of(lake, stream.name, choice=choice)


def groups_of(lake: OpenLake, stream: str, *, choice: Choice = EVERY) -> tuple[LetterGroup, ...]:
    """Group as `groups` does; the stream need not be declared any more."""
    found: dict[tuple[str, str | None], LetterGroup] = {}
    for batch in _batches(head(lake), stream, columns=_GROUP_COLUMNS):
        chosen = batch.filter(choice.mask(batch))
        for row in _newest_of_each(chosen):
            key = (row["error_code"], row["field"])
            found[key] = _merged(found.get(key), row)
    return tuple(
        sorted(found.values(), key=lambda each: (-each.count, each.code, each.field or ""))
    )


def _newest_of_each(letters: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the newest letter of each group, with `count` and `first_seen` of the group."""
    if not letters.num_rows:
        return []
    at = pa.array(np.arange(letters.num_rows))
    table = pa.table(letters.drop_columns(["raw", "reason"])).append_column("at", at)
    counted = table.group_by(["error_code", "field"]).aggregate(
        [("recorded_at", "min"), ("recorded_at", "max"), ("at", "max"), ("at", "count")]
    )
    rows: list[dict[str, Any]] = []
    for group in counted.to_pylist():
        (row,) = letters.slice(group["at_max"], 1).to_pylist()
        row |= {"count": group["at_count"], "first_seen": group["recorded_at_min"]}
        rows.append(row | {"recorded_at": group["recorded_at_max"]})
    return rows


def _merged(before: LetterGroup | None, row: dict[str, Any]) -> LetterGroup:
    group = LetterGroup(
        code=row["error_code"],
        field=row["field"],
        count=row["count"] + (before.count if before else 0),
        first_seen=min(row["first_seen"], before.first_seen) if before else row["first_seen"],
        last_seen=row["recorded_at"],
        reason=row["reason"],
        first_bytes=row["raw"][:FIRST_BYTES],
        example=Coordinates(*(row[name] for name in COORDINATES.names[:3])),
    )
    if before is None or before.last_seen < group.last_seen:
        return group
    return replace(before, count=group.count, first_seen=group.first_seen)


def letters(
    lake: OpenLake, stream: Stream, *, choice: Choice = EVERY, limit: int = 100
) -> list[dict[str, Any]]:
    """Return the newest dead letters of a stream as rows, at most `limit`, the newest first.

    Those that were recorded at the same time come in the order of their coordinates.
    """
    found: list[dict[str, Any]] = []
    for batch in _batches(head(lake), stream.name):
        chosen = batch.filter(choice.mask(batch))
        if not chosen.num_rows:
            continue
        newest = pc.select_k_unstable(
            chosen, min(limit, chosen.num_rows), [("recorded_at", "descending"), *_BY_COORDINATES]
        )
        found += chosen.take(newest).to_pylist()
        found.sort(key=lambda row: tuple(row[name] for name in COORDINATES.names[:3]))
        found.sort(key=lambda row: row["recorded_at"], reverse=True)
        del found[limit:]
    return found


def head(lake: OpenLake) -> TableVersion:
    """Pin the newest version of the dead-letter table.

    Raises:
        TableNotFoundError: If no record was ever refused.

    """
    return lake.table(dead_letters.TABLE).head()


def dead_table(lake: OpenLake) -> LakeTable:
    """Return the dead-letter table, which exists."""
    return lake.table(dead_letters.TABLE)


def _batches(
    version: TableVersion, stream: str, *, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    return version.batches(columns=columns, partitions=[(stream,)])


def records(
    version: TableVersion,
    stream: Stream,
    *,
    choice: Choice = EVERY,
    is_taken: Callable[[SourcePartition, int], bool],
) -> Iterator[Records]:
    """Yield dead letters as the records that they were, with their own coordinates and times.

    Letters that do not hold their whole record are left out, as are those that `is_taken` denies
    by partition and offset. Those of one batch come by partition, in the order of their offsets.
    """
    for batch in _batches(version, stream.name):
        chosen = batch.filter(pc.and_(choice.mask(batch), _whole(batch, stream)))
        rows = [
            row
            for row in chosen.to_pylist()
            if is_taken(
                SourcePartition(row["_source"], row["_source_partition"]), row["_source_offset"]
            )
        ]
        rows.sort(key=lambda row: (*_alike(row), row["_source_offset"]))
        for _, alike in groupby(rows, key=_alike):
            yield from _as_records(list(alike), stream)


def _whole(letters: pa.RecordBatch, stream: Stream) -> pa.Array:
    """Return which letters hold their whole record; older ones do not say so."""
    fits = pc.less(pc.binary_length(letters.column("raw")), RECORD_BYTES_MAX)
    older = fits if stream.format == "json" else pc.fill_null(pc.and_(fits, False), False)
    return pc.coalesce(letters.column("is_whole"), older)


def _alike(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        row["_source"],
        row["_source_partition"],
        row["source_time_type"] or "",
        tuple(row["csv_header"] or ()),
        row["row_ipc"] is not None,
    )


def _as_records(rows: list[dict[str, Any]], stream: Stream) -> Iterator[Records]:
    first = rows[0]
    if first["row_ipc"] is not None:
        whole = [row_of(row["row_ipc"]) for row in rows]
        for _, pairs in groupby(zip(rows, whole, strict=True), key=lambda pair: pair[1].schema):
            of, parts = zip(*pairs, strict=True)
            table = pa.Table.from_batches(parts).combine_chunks()
            yield _records(list(of), stream, rows=rows_now(table.to_batches()[0], stream))
        return
    yield _records(rows, stream, lines=[row["raw"] for row in rows])


def _records(found: list[dict[str, Any]], stream: Stream, **values: Any) -> Records:  # noqa: ANN401  (of `Records`)
    first = found[0]
    headers = None
    if first["headers"] is not None:
        headers = [
            [(each["name"], each["value"]) for each in row["headers"] or ()] for row in found
        ]
    offsets = np.array([row["_source_offset"] for row in found], dtype=np.int64)
    return Records(
        partition=SourcePartition(first["_source"], first["_source_partition"]),
        offsets=offsets,
        end=Position(int(offsets[-1]) + 1),
        times=pa.array([row["_source_time"] for row in found], TIMESTAMP),
        time_type=TimeType(first["source_time_type"] or TimeType.MODIFIED.value),
        header=tuple(named_now(first["csv_header"] or (), stream)),
        tombstones=[at for at, row in enumerate(found) if row["is_tombstone"]],
        keys=[row["key"] for row in found],
        headers=headers,
        **values,
    )


def readable(value: bytes) -> str:
    """Write bytes of a source as text on one line, whatever they are: no terminal or page obeys them."""
    text = value.decode(errors="backslashreplace")
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
