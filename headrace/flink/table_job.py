"""A job that follows tables of the lake and writes one: begun, stopped, watched for rows that it left out."""

import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from headrace import clock
from headrace.clock import EPOCH, ONE_US
from headrace.errors import (
    DatabaseUnavailableError,
    FlinkRefusedError,
    FlinkStopError,
    FollowedTableChangedError,
    TwoOwnersError,
)
from headrace.flink.behind import Followed, behind, newest_known
from headrace.flink.client import JobOverview
from headrace.flink.health import (
    MADE_AGAIN,
    REGISTRY,
    RESTARTS,
    WIDENED,
    Health,
    health,
    out_of_order,
)
from headrace.flink.job import FlinkJob
from headrace.flink.job_status import JobStatus
from headrace.flink.late import late_rows
from headrace.flink.recovery import stop_job
from headrace.flink.unread import unread_since, upserted
from headrace.flink.widened import widened
from headrace.ingest.owner import BATCH, FLINK, HEADRACE, Owner
from headrace.tables.lake import LakeTable

LATE, UNREAD, BEHIND = "late-events", "rows-not-read", "falls-behind"
BEHIND_S_MAX = 300.0  # a job that starts is planned, and reads what was there, for a minute or two
CANCELLED_S_MAX = 60.0
_POLL_S = 0.5


class TableJob(FlinkJob):
    """A job whose table nobody writes while it does not run."""

    @abstractmethod
    def declared(self) -> LakeTable:
        """Create the table, or bring it in line."""

    @abstractmethod
    def begin_again(self) -> JobStatus:
        """Start the job of a new epoch at what is in its table."""

    def followed(self) -> Sequence[Followed]:
        """Return the tables whose appends the job of this epoch reads, each by one of its sources."""
        return ()

    def submit(self) -> JobStatus:
        """Start the job, unless it runs or ran already; raises what `begin_again` does.

        Raises:
            FlinkJobLostError: If the job started once, and does not run now.
            FlinkUnavailableError, FlinkRefusedError: If it did not start; submit it again.

        """
        self.declared()
        if self.owner.by != FLINK:
            return self.hand_over()
        return self.submit_owned()

    def unfit(self) -> dict[str, str]:
        """Name why the job of this epoch cannot read a table that it follows any more; empty if it can."""
        for each in self.followed():
            metadata, begin = self.lake.table(each.table).iceberg().metadata, each.begin
            if begin.table_uuid not in ("", str(metadata.table_uuid)):
                what = f"`{each.table}` was dropped and made again since its job began"
                return {MADE_AGAIN: f"{what}, which can go on with the former one only"}
            found = widened(
                metadata,
                table=each.table,
                schema_id=begin.schema_id,
                snapshot_id=begin.snapshot_id,
                columns=each.columns,
            )
            if found:
                return {WIDENED: found}
        return {}

    def refuse_outgrown(self) -> None:
        """Refuse to restore a state that is of another table, or of narrower columns.

        Raises:
            FollowedTableChangedError: If it is.

        """
        for what in self.unfit().values():
            raise FollowedTableChangedError(self.subject, what=what)

    def refuse_begin(self) -> None:
        """Refuse where no other job could begin, before the one that runs is cancelled for it."""
        self.declared()  # lists become no wider

    def hand_over(self) -> JobStatus:
        """Begin the job of a new epoch if the gateway is there; raises what `begin_again` does.

        One that cannot read a table any more is cancelled before: another one goes on after its rows.

        Raises:
            FlinkUnavailableError, FlinkRefusedError: If it is not there, and nothing was changed; or if the
                job did not start: submit it again.

        """
        self.gateway.check()
        owner = self.owner
        if owner.by == FLINK and self.unfit():
            self.refuse_begin()
            self._cancel(owner)
        return self.begin_again()

    def stop(self) -> Owner:
        """Stop the job with a savepoint; idempotent.

        Raises:
            FlinkJobLostError: If it does not run, and was not stopped.
            FlinkStopError: If it ended otherwise than by its savepoint.

        """
        return stop_job(self)

    def release(self) -> None:
        """Stop the job if it runs, and let nobody write the rows until a job begins again.

        A batch is cancelled: it has no savepoint, and has committed all or nothing. So is a job that cannot
        read a table any more, or fails again and again: it may fail before a savepoint is written, and what
        it lacks is added when another one begins.

        Raises:
            FlinkStopError: If it ended otherwise than by its savepoint, or did not end; it is still the writer.

        """
        owner = self.owner
        if owner.by == HEADRACE:
            return
        found = None if owner.by == BATCH else self.running(owner)
        if owner.by == BATCH or self.unfit() or (found and self._fails_again(found)):
            self._cancel(owner)
        elif found is not None:
            owner = self.stop()
        self.set_owner(owner, Owner(by=HEADRACE, epoch=owner.epoch + 1))

    def _fails_again(self, job: JobOverview) -> bool:
        exceptions = self.manager.ask(f"/jobs/{job.id}/exceptions")
        now_ms = clock.now_ms()
        found = health(job.state, exceptions=exceptions, checkpoints={}, committed=0, now_ms=now_ms)
        return RESTARTS in found.faults

    def _cancel(self, owner: Owner) -> None:
        found, until_s = self.running(owner), time.monotonic() + CANCELLED_S_MAX
        if found is not None:
            with suppress(FlinkRefusedError):  # it ended meanwhile, else it runs on
                self.manager.cancel(found.id)
        while self.running(owner) is not None:
            if time.monotonic() > until_s:
                detail = f"it was cancelled, and runs still after {CANCELLED_S_MAX:.0f} s"
                raise FlinkStopError(self.subject, job=self.name(owner), detail=detail)
            time.sleep(_POLL_S)

    def refuse_running(self, owner: Owner) -> None:
        """Refuse to begin beside a job.

        Raises:
            TwoOwnersError: If one runs.

        """
        running = self.running(owner)
        if running is not None:
            raise TwoOwnersError(self.subject, owner=owner.by, others=(running.name,))

    def _unread(self) -> dict[str, str]:
        """Name why the job does not read all rows of a table that it follows, or why that is not known."""
        for each in self.followed():
            table = self.lake.table(each.table)
            try:
                found = upserted(table.iceberg().metadata) or unread_since(
                    table, each.begin.snapshot_id
                )
            except DatabaseUnavailableError as error:
                what = f"whether rows of `{each.table}` were replaced is not known: {error}"
                return {REGISTRY: what}
            if found:
                return {UNREAD: f"{found}; its job reads what is appended, and nothing else"}
        return {}

    def _behind(self, job: JobOverview) -> dict[str, str]:
        """Name a table of which rows have waited for the job for some minutes."""
        before_ms = clock.now_ms() - round(BEHIND_S_MAX * 1000)
        for each in self.followed():
            table = self.lake.table(each.table)
            newest = newest_known(
                table, since=each.begin.snapshot_id, before_ms=before_ms, skew=each.skew
            )
            found = "" if newest is None else behind(self.manager, job.id, each, newest)
            if found:
                return {BEHIND: f"{found}, and came {BEHIND_S_MAX / 60:.0f} minutes ago or before"}
        return {}

    def health_of(self, job: JobOverview, owner: Owner) -> Health:
        """Judge a job that runs: also by the events that it left out, and by how it recovers."""
        found = super().health_of(job, owner)
        late = late_rows(self.manager, job.id)
        faults = dict(found.faults)
        if late.rows:
            since = f"{EPOCH + late.since_ms * ONE_US * 1000:%Y-%m-%d %H:%M:%S}"
            faults[LATE] = (
                f"{late.rows} came into the table later than its stream allows, and are in no row; "
                f"they are counted since {since}, when its tasks started: those of before are named no more"
            )
        faults |= (
            self.unfit()
            | out_of_order(self.manager.settings())
            | self._unread()
            | self._behind(job)
        )
        return replace(found, faults=faults, late_repeats=late.repeats)
