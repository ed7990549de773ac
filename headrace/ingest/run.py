"""One run: everything new of a stream's source becomes rows and dead letters, exactly once."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing

from headrace.allocator import give_back
from headrace.collector import many_objects
from headrace.definitions.stream import Stream
from headrace.errors import RecordsRefusedError, SourceStalledError
from headrace.ingest import watermark
from headrace.ingest.open_batch import OpenBatch
from headrace.ingest.sources.base import Batch, Reader, Source, SourcePartition
from headrace.ingest.sources.open import open_source
from headrace.ingest.status import IngestResult, Taken, most_first
from headrace.ingest.stream_tables import StreamTables
from headrace.ingest.whole_snapshots import batch_of
from headrace.tables.lake import OpenLake

ROWS_PER_COMMIT = 1_000_000
_ROWS_PER_POLL = 100_000
_POLL_S = 1.0
STALLED_S_MAX = 60.0  # without a record, though the source's end is not reached


def ingest(
    lake: OpenLake,
    stream: Stream,
    *,
    rows_per_commit: int = ROWS_PER_COMMIT,
    source: Source | None = None,
    progress: Callable[[Taken], None] | None = None,
    run_id: str | None = None,
) -> IngestResult:
    """Take everything new from a stream's source into its table and the dead letters.

    Reads up to the ends that the source has when the run starts. Safe to kill at any moment and to
    run again, from several processes too: a run resumes from the offsets in the table, and of two
    that took the same records one is refused. Without anything new it commits nothing.

    A commit holds one file, or `rows_per_commit` rows of any number of partitions (rounded up to what
    the source reads at once). Memory holds one poll and the open row groups.

    Args:
        lake: The lake that holds the table. Both tables are created or evolved first.
        stream: The contract.
        rows_per_commit: How many rows to commit at once.
        source: Where records come from; by default what the contract declares.
        progress: Called with what was taken of a partition when that has ended, or the run has.
        run_id: What the commits name as their run, as an orchestrator calls it; a new one if None.

    Raises:
        SourceError: If the source cannot be read, or is not what the contract says, as
            `SourceFileError` and `SourceChangedError` for files; earlier commits stay.
        UnknownFieldsError: If the contract refuses the fields of a file; earlier commits stay.
        SourceLedgerError: If the registry lost which sources were taken; nothing was changed.
        FencedError: If another ingester of the same stream was faster.
        ContractError: If the table cannot be brought in line with the contract.

    """
    source = source or open_source(stream, lake.settings)
    tables = StreamTables.open(
        lake, stream, run_id=run_id or uuid.uuid4().hex, is_log=source.is_log
    )
    with closing(source.open(tables.positions.of, rows_per_commit=rows_per_commit)) as reader:
        found = reader.status()
        tables.positions = tables.positions.noting(found.unchanged)
        tables.look_up(found.waiting)
        drain = _Drain(tables, reader, rows_per_commit=rows_per_commit, progress=progress)
        with many_objects():
            drain.finish()
        skipped = () if source.is_log else reader.status().skipped
    splits = tuple(drain.taken.values())
    return IngestResult(
        stream=stream.name,
        table=stream.table,
        splits=splits,
        commits=drain.commits,
        watermark=watermark.as_time(tables.watermark.reached_us),
        same_content=tables.positions.alike(tables.ends),
        undeclared_fields=tables.new_use.unknown(tables.stream),
        absent_fields=tables.field_use.absent(tables.stream),
        missing=found.missing,
        refusal=_refusal(stream, splits),
        skipped=skipped,
    )


class _Drain:
    """Polls a reader to the end, and commits whenever a file ends or there are enough rows."""

    def __init__(
        self,
        tables: StreamTables,
        reader: Reader,
        *,
        rows_per_commit: int,
        progress: Callable[[Taken], None] | None,
    ) -> None:
        self._tables, self._reader, self._progress = tables, reader, progress
        self._rows_per_commit = rows_per_commit
        self._reported: set[SourcePartition] = set()
        self.taken: dict[SourcePartition, Taken] = {}
        self.commits = 0

    def finish(self) -> None:
        """Take everything up to the end.

        Raises:
            SourceStalledError: If the reader returns nothing for `STALLED_S_MAX` seconds.

        """
        while not self._reader.drained:
            with batch_of(self._tables) as batch:
                ended = self._fill(batch)
                for partition, taken in self._commit(batch).items():
                    before = self.taken.get(partition)
                    self.taken[partition] = taken if before is None else before + taken
            self._report(ended)
        self._report(tuple(self.taken))

    def _fill(self, batch: OpenBatch) -> Sequence[SourcePartition]:
        """Poll until there is enough for a commit, and return which partitions have ended."""
        while not self._reader.drained:
            left = _ROWS_PER_POLL
            if self._tables.commits_within_a_file:
                left = max(1, min(left, self._rows_per_commit - batch.rows))
            polled = self._poll(left)
            for records in polled.parts:
                batch.add(records)
            if polled.ended:
                return polled.ended
            if batch.rows >= self._rows_per_commit and self._tables.commits_within_a_file:
                break
        return ()

    def _poll(self, max_rows: int) -> Batch:
        started_s = time.monotonic()
        while not self._reader.drained:
            polled = self._reader.poll(max_rows, max_s=_POLL_S)
            if polled is not None:
                return polled
            if time.monotonic() - started_s > STALLED_S_MAX:
                raise SourceStalledError(self._tables.stream.name, stalled_s=STALLED_S_MAX)
        return Batch()

    def _commit(self, batch: OpenBatch) -> Mapping[SourcePartition, Taken]:
        if not batch.partitions:
            return {}
        self._reader.confirm()
        self.commits += 1
        taken = batch.commit(active=self._reader.active).taken
        give_back()
        return taken

    def _report(self, partitions: Iterable[SourcePartition]) -> None:
        for partition in partitions:
            if partition in self._reported:
                continue
            self._reported.add(partition)
            taken = self.taken.setdefault(
                partition, Taken(source=partition.source, partition=partition.partition)
            )
            if self._progress is not None:
                self._progress(taken)


def _refusal(stream: Stream, done: Sequence[Taken]) -> RecordsRefusedError | None:
    reasons = most_first(split.reasons for split in done)
    refused_count = sum(reasons.values())
    records = refused_count + sum(split.rows for split in done)
    if not refused_count or refused_count < stream.refused_share_limit * records:
        return None
    return RecordsRefusedError(stream.name, records=records, reasons=reasons)
