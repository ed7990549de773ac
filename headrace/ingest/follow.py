"""Follows one stream: takes what comes until it is asked to stop, in commits of a given cadence.

An error that may pass ends a session: the next one resumes from the table, so nothing is lost or taken
twice whatever the error left undone.
"""

import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from headrace import clock
from headrace.definitions.stream import Stream
from headrace.errors import LakeError, RecordsRefusedError, SourceError, SourceStalledError
from headrace.ingest import progress as reports
from headrace.ingest.cadence import Cadence, Pressure
from headrace.ingest.open_batch import Committed, OpenBatch
from headrace.ingest.progress import Listener, Phase, Progress
from headrace.ingest.recent import ACKNOWLEDGED_MS
from headrace.ingest.sources.base import Reader, Source
from headrace.ingest.sources.open import open_source
from headrace.ingest.stream_tables import StreamTables
from headrace.registry.measures import MAINTENANCE_ASKED_MS
from headrace.tables.lake import OpenLake

STALLED_S_MAX = 60.0
FIRST_COMMIT_S = 1.0  # of a service whose table had no commit for longer than its cadence
_ROWS_PER_POLL = 100_000
_POLL_S = 0.2  # also how long a stop waits at most before the final commit
_REPORT_S = 1.0
_LOOK_AGAIN_S = 1.0  # between two listings of files
_PRESSURE_COMMITS = 10  # between two looks at the table
_RETRY_S_MAX = 30.0


def follow(
    lake: OpenLake,
    stream: Stream,
    *,
    stop: threading.Event,
    cadence: Cadence,
    listeners: Sequence[Listener] = (),
    source: Source | None = None,
    run_id: str | None = None,
) -> Progress:
    """Take what a stream's source has and what comes, until `stop` is set; then commit the rest.

    Errors that may pass are retried for ever, each time after a longer wait. The partitions of the
    source share each commit. Memory holds one poll and the open row groups.

    Raises:
        FencedError: If another ingester of the same stream is at work; nothing of the last batch is
            visible.
        RecordsRefusedError: If a share of the newest records that the contract names was refused, and
            was not acknowledged since; they are dead letters.
        LakeError: Others that retrying does not help; what was committed stays.
        ValueError: If the stream is one of whole snapshots, which runs take.

    """
    if stream.full_snapshot:
        msg = f"`{stream.name}` has whole snapshots, each of which a run takes at once"
        raise ValueError(msg)
    source = source or open_source(stream, lake.settings)
    following = _Following(
        lake, stream, source, stop=stop, cadence=cadence, listeners=listeners, run_id=run_id
    )
    while not stop.is_set():
        try:
            following.session()
        except LakeError as error:
            error.of_stream(stream.name)
            if not error.retryable or stop.is_set():
                following.say(Phase.FAILED, error)
                raise
            following.say(Phase.RETRYING, error)
            stop.wait(following.next_wait_s())
    following.say(Phase.STOPPED)
    return following.progress


@dataclass(kw_only=True)
class _Since:
    """Moments of this process's monotonic clock, in seconds."""

    commit_s: float
    report_s: float = 0.0
    at_end_s: float
    record_s: float


class _Following:
    """What lives as long as the stream is followed, and one session after the other."""

    def __init__(
        self,
        lake: OpenLake,
        stream: Stream,
        source: Source,
        *,
        stop: threading.Event,
        cadence: Cadence,
        listeners: Sequence[Listener],
        run_id: str | None,
    ) -> None:
        self._lake, self._stream, self._source, self._stop = lake, stream, source, stop
        self._wished, self._cadence, self._listeners = cadence, cadence, listeners
        self._run_id = run_id or uuid.uuid4().hex
        self._failures, self._waited_s = 0, 0.0
        now_s = time.monotonic()
        self._since = _Since(commit_s=now_s, at_end_s=now_s, record_s=now_s)
        self.progress = Progress(stream=stream.name)

    def next_wait_s(self) -> float:
        """Return how long to wait before the next session; longer after each failure in a row."""
        self._failures += 1
        return min(_RETRY_S_MAX, 0.5 * 2**self._failures)

    def session(self) -> None:
        """Follow until asked to stop, or until the listed files are read; then look at files again.

        Raises:
            LakeError: What ends the session; nothing of the open batch is visible.

        """
        tables = StreamTables.open(
            self._lake, self._stream, run_id=self._run_id, is_log=self._source.is_log
        )
        self.progress = replace(self.progress, watermark_us=tables.watermark.reached_us)
        self._refuse_flood(tables)
        if not self.progress.commits:
            self._waited_s = self._waiting_s(tables)
            self._since.commit_s = time.monotonic() - self._waited_s
        reader = self._source.open(
            tables.positions.of, rows_per_commit=self._cadence.rows, follow=True
        )
        with closing(reader):
            tables.positions = tables.positions.noting(reader.status().unchanged)
            if not tables.is_log:
                tables.half_read = tables.watermark.begun(reader.status().waiting)
            self._since.record_s = time.monotonic()
            while not self._stop.is_set() and (self._source.is_log or not reader.drained):
                self._one_commit(tables, reader)
            self._report(reader, force=True)
            if not self._source.is_log:
                self._note(reader.status().skipped)
        if not self._source.is_log:
            self._stop.wait(_LOOK_AGAIN_S)

    def _waiting_s(self, tables: StreamTables) -> float:
        """How long the cadence counts already: from the last commit on, as of a service that was killed."""
        at_ms = tables.table.head().committed_at_ms
        age_s = 0.0 if at_ms is None else (clock.now_ms() - at_ms) / 1e3
        return max(0.0, min(age_s, self._cadence.seconds - FIRST_COMMIT_S))

    def _note(self, skipped: Sequence[SourceError]) -> None:
        """Show the first of the files that were left out, as long as they are."""
        error = skipped[0] if skipped else None
        self.progress = replace(
            self.progress,
            error_code="" if error is None else error.code,
            error="" if error is None else str(error),
        )

    def _one_commit(self, tables: StreamTables, reader: Reader) -> None:
        with OpenBatch(tables) as batch:
            if not self._fill(batch, reader):
                return  # what was read of the file is read again
            if batch.partitions or self._moves_watermark(tables, reader):
                reader.confirm()
                started_s = time.monotonic()
                done = batch.commit(active=reader.active)
                self._committed(tables, done, seconds=time.monotonic() - started_s)
            # also where nothing came yet of what waits for this service: brokers may be slow
            self._since.commit_s = time.monotonic() - self._waited_s

    def _fill(self, batch: OpenBatch, reader: Reader) -> bool:
        """Poll until a commit is due, a file ended, or a stop is asked for.

        Returns whether what was read may be committed: not a part of a file that may still be refused.
        """
        while not self._stop.is_set():
            waited_s = time.monotonic() - self._since.commit_s
            due = self._cadence.is_due(seconds=waited_s, records=batch.records, bytes_=batch.bytes)
            if not self._source.is_log and reader.drained:
                return True
            if due and batch.may_be_committed:
                return True
            room = max(1, self._cadence.rows - batch.records)
            wait_s = max(0.0, min(_POLL_S, self._cadence.seconds - waited_s))
            polled = reader.poll(min(_ROWS_PER_POLL, room), max_s=wait_s)
            self._report(reader)
            if polled is None:
                self._refuse_stall(reader)
                continue
            self._since.record_s = time.monotonic()
            batch.leave_out(polled.left_out)
            for records in polled.parts:
                batch.add(records)
            if polled.ended and batch.partitions:
                return True
        return batch.may_be_committed

    def _moves_watermark(self, tables: StreamTables, reader: Reader) -> bool:
        """Whether a commit without records would move the watermark: a partition became idle."""
        if not tables.watermark.times:
            return False
        moved = tables.watermark.advanced(
            {},
            active={*reader.active, *tables.half_read},
            now_ms=clock.now_ms(),
            allowed_lateness=tables.stream.allowed_lateness,
            idle_after=tables.stream.idle_after,
        )
        return moved.reached_us != tables.watermark.reached_us

    def _committed(self, tables: StreamTables, done: Committed, *, seconds: float) -> None:
        self._failures, self._waited_s = 0, 0.0
        taken, before = done.taken.values(), self.progress
        self.progress = replace(
            before,
            commits=before.commits + 1,
            rows=before.rows + sum(each.rows for each in taken),
            dead_letters=before.dead_letters + sum(each.dead_letters for each in taken),
            late_rows=before.late_rows + sum(each.late_rows for each in taken),
            committed_ms=clock.now_ms(),
            watermark_us=tables.watermark.reached_us,
            refused_share=tables.refused.refused / max(1, tables.refused.records),
        )
        for each in self._listeners:
            each.committed(self._stream.name, done, seconds=seconds)
        if self.progress.commits % _PRESSURE_COMMITS == 0:
            self._yield_to_maintenance(tables)
        self._refuse_flood(tables)

    def _yield_to_maintenance(self, tables: StreamTables) -> None:
        """Commit more rarely while small files or snapshots pile up, and ask for maintenance."""
        found = Pressure.of(
            tables.table.iceberg().metadata,
            target_bytes=tables.table.target_file_bytes(),
            snapshots_kept=self._lake.settings.snapshots_kept,
        )
        self._cadence = self._wished.stretched(found.stretch)
        self.progress = replace(self.progress, stretch=found.stretch, stretch_reason=found.reason)
        if found.stretch > 1:
            now_ms = clock.now_ms()
            self._lake.registry.record_measure(
                str(tables.table.name), MAINTENANCE_ASKED_MS, now_ms, measured_at_ms=now_ms
            )

    def _refuse_flood(self, tables: StreamTables) -> None:
        """Stop a stream of which too much was refused lately, also before this process."""
        limit = self._stream.refused_share_limit
        if not tables.refused.exceeds(limit):
            return
        measure = self._lake.registry.measures(str(tables.table.name)).get(ACKNOWLEDGED_MS)
        window = tables.refused if measure is None else tables.refused.since(measure.value)
        if window.exceeds(limit):
            raise RecordsRefusedError.lately(
                self._stream.name, records=window.records, refused=window.refused
            )

    def _refuse_stall(self, reader: Reader) -> None:
        silent_s = time.monotonic() - self._since.record_s
        if silent_s > STALLED_S_MAX and not reader.drained:
            raise SourceStalledError(self._stream.name, stalled_s=STALLED_S_MAX)

    def say(self, phase: Phase, error: LakeError | None = None) -> None:
        """Report a change of phase, and the error behind it."""
        code, text = ("", "") if error is None else (error.code, str(error))
        self.progress = replace(self.progress, phase=phase, error_code=code, error=text)
        if error is not None:
            for each in self._listeners:
                each.failed(self._stream.name, error.code)
        self._send()

    def _report(self, reader: Reader, *, force: bool = False) -> None:
        now_s = time.monotonic()
        if now_s - self._since.report_s < _REPORT_S and not force:
            return
        self._since.report_s = now_s
        found = reader.status()
        if reader.drained and found.unreachable is None:  # an end that nobody tells may have moved
            self._since.at_end_s = now_s
        self.progress = replace(
            self.progress,
            lag={each.key: behind for each, behind in found.lag.items()},
            behind_s=round(now_s - self._since.at_end_s, 3),
        )
        phase = Phase.FOLLOWING if found.unreachable is None else Phase.RETRYING
        if self.progress.phase is phase:
            self._send()
        else:
            self.say(phase, found.unreachable)

    def _send(self) -> None:
        self.progress = reports.report(self._lake.settings, self.progress)
        for each in self._listeners:
            each.changed(self.progress)
