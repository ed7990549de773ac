"""Files that are whole snapshots: what the one before had and this one lacks gets a row that says so.

All rows of a file, and those of the keys that are gone, are one commit, so that no reader sees a part. The
rows of removals have the file's coordinates after its records, null values and `_removed`. Memory holds
the keys of two snapshots.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, REMOVED
from headrace.definitions.types import TIMESTAMP
from headrace.errors import SourceFileError
from headrace.ingest.contract import Checked
from headrace.ingest.decoding.decoded import Decoded
from headrace.ingest.newest_snapshot import NewestSnapshot
from headrace.ingest.open_batch import Committed, OpenBatch
from headrace.ingest.sources.base import Records, SourcePartition
from headrace.ingest.stream_tables import StreamTables

_SHOWN_MAX = 3


def batch_of(tables: StreamTables) -> OpenBatch:
    """Return an empty batch for the records of a stream."""
    return SnapshotBatch(tables) if tables.stream.full_snapshot else OpenBatch(tables)


class SnapshotBatch(OpenBatch):
    """One whole snapshot: all records of one file."""

    def __init__(self, tables: StreamTables) -> None:
        super().__init__(tables)
        self._key = tables.stream.column_of(tables.stream.key or "")
        self._keys: list[pa.ChunkedArray] = []
        self._since = datetime.now(UTC)
        self._last: Records | None = None

    def _check(self, records: Records) -> tuple[Decoded, Checked]:
        """Check records as ever; one that is refused refuses the file, as its key would seem to be gone."""
        source, newest = records.partition.source, self._tables.whole.source
        if source <= newest:
            detail = (
                f"its name comes before that of `{newest}`, the newest snapshot that was taken; what "
                "it has is older"
            )
            raise SourceFileError(source, detail)
        decoded, checked = super()._check(records)
        if checked.violations:
            found = list(checked.violations.items())
            shown = "; ".join(
                f"record {records.offsets[at]}: {each.reason}" for at, each in found[:_SHOWN_MAX]
            )
            detail = f"{len(found)} of its records are refused, and would seem to be gone: {shown}"
            raise SourceFileError(source, detail)
        self._keys.append(checked.rows.column(self._key))
        self._last = records
        return decoded, checked

    def commit(self, *, active: Collection[SourcePartition]) -> Committed:
        """Add a row for each key that is gone, and commit; see `OpenBatch.commit`.

        Raises:
            FencedError: If another ingester of the stream was faster; nothing of it is visible.
            SourceFileError: If no key is left, and the contract does not allow that.

        """
        tables, last = self._tables, self._last
        if last is None:
            return super().commit(active=active)
        part = self._parts[last.partition]
        gone = self._gone()
        if len(gone) and not part.rows and not tables.stream.allow_empty:
            detail = (
                f"it has no record, so that all {len(gone):,} keys of `{tables.whole.source}` would "
                "seem to be gone; if they are, declare `allow_empty: true` in the contract of "
                f"`{tables.stream.name}`"
            )
            raise SourceFileError(last.partition.source, detail)
        if len(gone):
            for each in self._removals(gone, last, first=part.end.offset).to_batches():
                self._rows.write(each)
            part.end = replace(part.end, offset=part.end.offset + len(gone))
            part.rows += len(gone)
            part.records += len(gone)
        newest = NewestSnapshot(
            source=last.partition.source, since_us=(self._since - EPOCH) // ONE_US
        )
        self._note = newest.note(stream=tables.stream.name)
        done = super().commit(active=active)
        tables.whole = newest
        return done

    def _gone(self) -> pa.Array:
        """Return the keys of the newest snapshot that this one lacks, sorted."""
        tables = self._tables
        head, newest = tables.table.head(), tables.whole
        kind = head.schema.field(self._key).type
        found: list[pa.Array] = []
        if newest.source:
            first = (EPOCH + newest.since_us * ONE_US).date()
            by_day = head.partition_by == (f"day({EVENT_TIME})",)
            days = [
                key for key in head.partitions if not isinstance(key[0], date) or key[0] >= first
            ]
            columns = [self._key, "_source", REMOVED]
            for batch in head.batches(columns=columns, partitions=days if by_day else None):
                there = pc.and_(
                    pc.equal(batch.column("_source"), newest.source),
                    pc.invert(pc.fill_null(batch.column(REMOVED), fill_value=False)),
                )
                found.append(batch.column(self._key).filter(there))
        before = pa.chunked_array(found, kind).unique()
        now = pa.chunked_array([c for keys in self._keys for c in keys.chunks], kind)
        gone = before.filter(pc.invert(pc.is_in(before, value_set=now.combine_chunks())))
        return gone.take(pc.array_sort_indices(gone))

    def _removals(self, gone: pa.Array, last: Records, *, first: int) -> pa.Table:
        """Return the rows of keys that are gone, with offsets from `first` on."""
        count, (source, partition) = len(gone), last.partition
        now = pa.repeat(pa.scalar(datetime.now(UTC), TIMESTAMP), count)
        values = {
            self._key: gone,
            EVENT_TIME: now,
            KNOWN_AT: now,
            REMOVED: pa.repeat(True, count),
            "_source": pa.repeat(source, count),
            "_source_partition": pa.repeat(pa.scalar(partition, pa.int32()), count),
            "_source_offset": pa.array(range(first, first + count), pa.int64()),
            "_source_time": last.times_of([0] * count),
        }
        schema = self._tables.stream.table_schema()
        columns = [values.get(each.name, pa.nulls(count, each.type)) for each in schema]
        return pa.table(columns, schema=schema)
