"""One run: everything new of a stream's source becomes rows and dead letters, exactly once."""

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace

from headrace.allocator import give_back
from headrace.collector import many_objects
from headrace.definitions.stream import Stream
from headrace.errors import LakeError, RecordsRefusedError, SourceStalledError
from headrace.ingest import positions, watermark
from headrace.ingest.open_batch import OpenBatch
from headrace.ingest.sources.base import Batch, Reader, ReaderStatus, Source, SourcePartition
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

    A commit holds `rows_per_commit` rows of any number of partitions (rounded up to what the source
    reads at once, and to the end of a file of fewer rows), or fewer of as many files as a table names.
    A file that may be refused whole is a commit of its own. Memory holds one poll and the open row groups.

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
    drain = _Drain(tables, source, rows_per_commit=rows_per_commit, progress=progress)
    try:
        drain.take()
    except LakeError as error:
        error.of_stream(stream.name)
        raise
    found = drain.found
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
        skipped=() if source.is_log else found.skipped,
    )


class _Drain:
    """Reads a source to its end, and commits whenever there is enough.

    `held` are partitions that ended and are not committed, `found` is what the source had.
    """

    def __init__(
        self,
        tables: StreamTables,
        source: Source,
        *,
        rows_per_commit: int,
        progress: Callable[[Taken], None] | None,
    ) -> None:
        self._tables, self._source, self._progress = tables, source, progress
        self._rows_per_commit = rows_per_commit
        self._reported: set[SourcePartition] = set()
        self.taken: dict[SourcePartition, Taken] = {}
        self.held: list[SourcePartition] = []
        self.found = ReaderStatus()
        self.commits = 0

    def take(self) -> None:
        """Take everything up to the end that the source has now.

        Files that were read before one at fault are not lost with it: they are read again, a commit each.

        Raises:
            SourceError: If the source cannot be read, is not what the contract says, or returns
                nothing for `STALLED_S_MAX` seconds.
            UnknownFieldsError: If the contract refuses the fields of a file.
            FencedError: If another ingester was faster.

        """
        alone = 0
        while True:
            try:
                self._take(alone)
            except Exception:  # also a fault of a library that no one knew: the file is at fault
                if not self.held:
                    raise
                alone, self.held = len(self.held), []
            else:
                return

    def _take(self, alone: int) -> None:
        """Take everything, each of the first `alone` files in a commit of its own."""
        tables = self._tables
        with closing(
            self._source.open(tables.positions.of, rows_per_commit=self._rows_per_commit)
        ) as reader:
            self.found = reader.status()
            tables.positions = tables.positions.noting(self.found.unchanged)
            tables.look_up(self.found.waiting)
            if not tables.is_log:
                tables.half_read = tables.watermark.begun(self.found.waiting)
            with many_objects():
                while not reader.drained:
                    alone -= self._one_commit(reader, 1 if alone > 0 else positions.OPEN_MAX)
            self.found = replace(self.found, skipped=reader.status().skipped)
        self._report(self.taken)

    def _one_commit(self, reader: Reader, files: int) -> int:
        """Take as many files at most, and return how many ended."""
        with batch_of(self._tables) as batch:
            self.held = []
            self._fill(batch, reader, files)
            ended, self.held = self.held, []
            if batch.partitions:
                reader.confirm()
                self.commits += 1
                for partition, taken in batch.commit(active=reader.active).taken.items():
                    before = self.taken.get(partition)
                    self.taken[partition] = taken if before is None else before + taken
                give_back()
        self._report(ended)
        return len(ended)

    def _fill(self, batch: OpenBatch, reader: Reader, files: int) -> None:
        """Poll until there is enough for a commit.

        A file of fewer rows than a commit is never cut, whatever was read before it: what is late in it,
        and that nothing of it is taken if it is damaged, does not depend on the files beside it.
        """
        may_hold_more, limit = self._tables.commits_within_a_file, self._rows_per_commit
        whole = 0  # rows of files that ended
        while not reader.drained:
            left = _ROWS_PER_POLL
            if may_hold_more:
                left = max(1, min(left, limit - batch.rows))
            polled = self._poll(reader, left)
            batch.leave_out(polled.left_out)
            for records in polled.parts:
                batch.add(records)
            if polled.ended:
                self.held += polled.ended
                whole = batch.rows
                if len(self.held) >= files or whole >= limit or not may_hold_more:
                    return
            if batch.rows - whole >= limit and may_hold_more:
                return

    def _poll(self, reader: Reader, max_rows: int) -> Batch:
        started_s = time.monotonic()
        while not reader.drained:
            polled = reader.poll(max_rows, max_s=_POLL_S)
            if polled is not None:
                return polled
            if time.monotonic() - started_s > STALLED_S_MAX:
                raise SourceStalledError(self._tables.stream.name, stalled_s=STALLED_S_MAX)
        return Batch()

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
