"""A job of Flink: submitted once, watched, stopped with a savepoint, and started again from one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from pyiceberg.table.metadata import TableMetadata

from headrace import clock
from headrace.errors import LakeError, SchemaUnavailableError, StreamOwnedError, TwoOwnersError
from headrace.flink import ended
from headrace.flink.checkpoints import STATE_PATH, refuse_foreign
from headrace.flink.client import Gateway, JobManager, JobOverview
from headrace.flink.committed import all_writers, committed_checkpoint, writers_in
from headrace.flink.health import SCHEMAS, WAITING, Health, changed, health, no_slots
from headrace.flink.job_status import JobStatus
from headrace.flink.places import access_of
from headrace.flink.session import SESSION
from headrace.flink.statements import JobSql
from headrace.flink.stopping import silent
from headrace.flink.turns import turn
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.owner import BATCH, FLINK, Owner
from headrace.tables.commits.operations import move_properties
from headrace.tables.lake import LakeTable, OpenLake


class FlinkJob(ABC):
    """The job of one stream or view at one Flink, by default that of the lake's profile.

    `subject` is its name: that of a view has a namespace, which a stream has not.
    """

    topic_id: str = ""  # as of the statements written last
    subject: str
    table_name: TableName
    say: Callable[[str], None] = staticmethod(silent)  # is told what a command waits for

    def __init__(self, lake: OpenLake, *, access: FlinkAccess | None = None) -> None:
        self.lake = lake
        self.access = access or access_of(lake.settings)
        self.gateway, self.manager = Gateway(self.access), JobManager(self.access)

    @abstractmethod
    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        """Write the statements; `group` names the consumers of one start, `shown` leaves out secrets."""

    def sql_again(self, *, group: str) -> JobSql:
        """Write the statements of a job that starts again from a savepoint or a checkpoint."""
        return self.sql(group=group)

    def start_note(self) -> Mapping[str, str]:
        """Return what the table should know of a job that starts by the statements written last."""
        return {}

    @property
    def table(self) -> LakeTable:
        """The table that the job writes."""
        return self.lake.table(self.table_name)

    @property
    def tables(self) -> tuple[LakeTable, ...]:
        """All tables that the job commits to."""
        return (self.table,)

    @property
    def owner(self) -> Owner:
        """Who the table says writes it now."""
        return Owner.read(self.table.head().properties, stream=self.subject)

    def kin(self) -> str:
        """Return what the names of all jobs of a table of this name begin with, in any lake."""
        return f"headrace {self.subject}"

    def family(self) -> str:
        """Return what the names of all jobs of this table begin with."""
        uuid = str(self.table.iceberg().metadata.table_uuid)
        return f"{self.kin()} {uuid[:8]} epoch "

    def name(self, owner: Owner) -> str:
        """Return the name of the job of an epoch."""
        return f"{self.family()}{owner.epoch}"

    def owned(self) -> Owner:
        """Return the owner, which is Flink.

        Raises:
            StreamOwnedError: If it is headrace.

        """
        owner = self.owner
        if owner.by != FLINK:
            raise StreamOwnedError(self.subject, owner=owner.by, epoch=owner.epoch, wanted=FLINK)
        return owner

    def running(self, owner: Owner) -> JobOverview | None:
        """Return the job of an epoch if it runs.

        Raises:
            TwoOwnersError: If two jobs of the stream run.

        """
        found = [each for each in self.manager.jobs(name=self.family()) if each.is_running]
        ours = next((each for each in found if each.name == self.name(owner)), None)
        if others := tuple(f"{each.name} ({each.id})" for each in found if each is not ours):
            raise TwoOwnersError(self.subject, owner=self.name(owner), others=others)
        return ours

    def submit_owned(self) -> JobStatus:
        """Start the job of an epoch that Flink owns, unless it runs or ran already.

        Raises:
            StreamOwnedError: If headrace is the owner.
            FlinkJobLostError: If the job started once, and does not run now.
            JobStartsError: If another command starts it, and does not end in time.

        """
        with turn(self.lake, self.subject):
            found = self.running(owner := self.owned())
            if found is not None:
                self.adopt(owner, found)
            elif owner.jobs or self.wrote(owner):
                raise self.lost(owner)
            else:
                self.start(owner, self.sql(group=self.group(owner, attempt=0)), {})
        return self.status()

    def adopt(self, owner: Owner, found: JobOverview) -> None:
        """Write down the id of a job that runs, if its submission had no answer: the rest is in the table."""
        if found.id not in owner.jobs:
            self.set_owner(owner, owner.started(found.id))

    def group(self, owner: Owner, *, attempt: int) -> str:
        """Name the group of consumers of one start: each has its own."""
        return f"{self.name(owner).replace(' ', '-')}-{attempt}"

    def start(self, owner: Owner, sql: JobSql, more: Mapping[str, str]) -> None:
        """Submit a job, and write down its id; what it begins by before, since its answer may be lost.

        Raises:
            NoCheckpointError: If its state is that of a job of an earlier epoch.
            StreamOwnedError: If the owner changed meanwhile; the job was cancelled.
            FlinkUnavailableError, FlinkRefusedError: If it did not start.

        """
        refuse_foreign(more.get(STATE_PATH, owner.savepoint), owner, stream=self.subject)
        properties = {**SESSION, **sql.session, "pipeline.name": self.name(owner), **more}
        starting = replace(owner, plan=sql.plan, topic_id=owner.topic_id or self.topic_id)
        self.set_owner(owner, starting, more=self.start_note())
        job_id = self.gateway.submit((*sql.setup, sql.insert), properties=properties)
        try:
            self.set_owner(starting, starting.started(job_id))
        except StreamOwnedError:
            self.manager.cancel(job_id)
            raise

    def wrote(self, owner: Owner) -> bool:
        """Whether a job of an epoch committed something."""
        return bool(writers_in(self.table.iceberg().metadata, owner))

    def ended(self, owner: Owner) -> str:
        """Say what became of the job of an epoch that does not run."""
        return ended.ended(self.manager, self.name(owner))

    def lost(self, owner: Owner) -> LakeError:
        """Return the error that says what became of the job of an epoch that should run."""
        known, name = bool(owner.jobs) or self.wrote(owner), self.name(owner)
        return ended.lost(self.subject, owner, name=name, is_known=known, manager=self.manager)

    def set_owner(
        self, before: Owner, now: Owner, *, more: Mapping[str, str] | None = None
    ) -> None:
        """Write who owns the stream, and `more` properties with it.

        Raises:
            StreamOwnedError: If the owner changed meanwhile.

        """

        def changes_of(metadata: TableMetadata) -> dict[str, str | None]:
            said = metadata.properties
            found = Owner.read(said, stream=self.subject)
            if found == now:  # the answer of an attempt was lost, or there is nothing but `more`
                return {key: value for key, value in (more or {}).items() if said.get(key) != value}
            if found != before:
                by, epoch = found.by, found.epoch
                raise StreamOwnedError(self.subject, owner=by, epoch=epoch, wanted=now.by)
            return {**now.note(stream=self.subject), **(more or {})}

        move_properties(self.table, changes_of)

    def committed(self, owner: Owner) -> int:
        """Return the newest checkpoint of an epoch of which rows or dead letters are in a table."""
        tables = (each.iceberg().metadata for each in self.tables)
        return max(committed_checkpoint(each, jobs=owner.jobs) for each in tables)

    def sinks(self, owner: Owner) -> tuple[tuple[LakeTable, int], ...]:
        """Return the tables of Iceberg that the job commits to, and their sequence numbers when its epoch began."""
        return ((self.table, owner.since_sequence or 0),)

    def status(self) -> JobStatus:
        """Look at the job; changes nothing.

        Raises:
            FlinkJobLostError: If it does not run, though it was not stopped.
            JobNotStartedError: If no start of it is known.
            TwoOwnersError: If another job writes the stream.

        """
        owner = self.owner
        if owner.by != FLINK:
            if others := tuple(f"{each.name} ({each.id})" for each in self._others(owner)):
                raise TwoOwnersError(self.subject, owner=owner.by, others=others)
            return self._status(owner, "", None)
        found = self.running(owner)
        self.refuse_writers(owner)
        if found is not None:
            judged = self._with_change(self.health_of(found, owner), owner)
            return self._status(owner, found.id, judged)
        if owner.savepoint:
            stopped = ended.stopped(owner, committed=self.committed(owner))
            return self._status(owner, owner.jobs[-1] if owner.jobs else "", stopped)
        raise self.lost(owner)

    def _others(self, owner: Owner) -> Iterator[JobOverview]:
        """Yield the jobs that run though Flink is not the owner.

        Those of a table of this name that was dropped write this one, once they started again; those of
        another lake, whose names are like theirs, never do.
        """
        ours = self.name(owner) if owner.by == BATCH else ""
        wrote = all_writers(self.table.iceberg().metadata)
        for each in self.manager.jobs(name=f"{self.kin()} "):
            is_one = each.name.startswith(self.family()) or each.id in wrote
            if each.is_running and is_one and each.name != ours:
                yield each

    def plan(self) -> str:
        """Return the plan of the statements as they are declared now."""
        return self.sql(group="", shown=True).plan

    def _with_change(self, found: Health, owner: Owner) -> Health:
        """Name a job that goes on by an older declaration, as its sink does with older columns."""
        try:
            plan = self.plan()
        except SchemaUnavailableError as error:
            return replace(found, faults={**found.faults, SCHEMAS: str(error)})
        return replace(found, faults={**found.faults, **changed(owner.plan, plan)})

    def refuse_lost(self, owner: Owner) -> None:
        """Refuse what a job that is not known wrote, and another would write again; see `refuse_writers`."""
        self.refuse_writers(owner)

    def refuse_outgrown(self) -> None:
        """Refuse to restore a state that no longer fits what the job reads; see `TableJob`."""

    def refuse_writers(self, owner: Owner) -> None:
        """Refuse what was committed to the table by others than the jobs of an epoch.

        Raises:
            TwoOwnersError: If there is something.

        """
        wrote = writers_in(self.table.iceberg().metadata, owner)
        if others := tuple(each for each in wrote if each not in owner.jobs):
            raise TwoOwnersError(self.subject, owner=self.name(owner), others=others)

    def _status(self, owner: Owner, job_id: str, found: Health | None) -> JobStatus:
        return JobStatus(
            stream=self.subject,
            owner=owner.by,
            epoch=owner.epoch,
            job=self.name(owner) if owner.by == FLINK else "",
            job_id=job_id,
            health=found,
        )

    def health_of(self, job: JobOverview, owner: Owner) -> Health:
        """Judge a job that runs, or waits for a worker to do so."""
        found = health(
            job.state,
            exceptions=self.manager.ask(f"/jobs/{job.id}/exceptions"),
            checkpoints=self.manager.ask(f"/jobs/{job.id}/checkpoints"),
            committed=self.committed(owner),
            now_ms=clock.now_ms(),
        )
        if job.state != WAITING:
            return found
        return replace(found, faults={**found.faults, **no_slots(self.manager.ask("/overview"))})

    def check(self) -> JobStatus:
        """Look at the job, and refuse one that is not well; raises what `status` does.

        Raises:
            FlinkJobUnwellError: Naming each fault and the root exception.

        """
        (found := self.status()).refuse_unwell()
        return found
