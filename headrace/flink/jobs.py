"""The job of a stream, which takes its topic into its table."""

from collections.abc import Mapping
from dataclasses import replace

from headrace.definitions.properties import LETTERS_SINCE_PREFIX
from headrace.definitions.stream import Stream
from headrace.errors import FlinkCannotError, StreamOwnedError, TwoOwnersError
from headrace.flink.client import JobOverview
from headrace.flink.committed import committed_checkpoint
from headrace.flink.health import Health, not_committed
from headrace.flink.ingest_sql import ingest_sql
from headrace.flink.job import FlinkJob
from headrace.flink.job_status import JobStatus
from headrace.flink.letter_writers import letter_writers
from headrace.flink.places import places_of
from headrace.flink.starts import starts_of
from headrace.flink.statements import JobSql
from headrace.flink.unread import upserted
from headrace.flink.writers import writers_of
from headrace.flink_access import FlinkAccess
from headrace.ingest import dead_letters
from headrace.ingest.owner import FLINK, HEADRACE, Owner
from headrace.ingest.stream_tables import open_tables
from headrace.tables.lake import LakeTable, OpenLake


class StreamJob(FlinkJob):
    """The job of one stream at one Flink, by default that of the lake's profile."""

    def __init__(
        self, lake: OpenLake, stream: Stream, *, access: FlinkAccess | None = None
    ) -> None:
        super().__init__(lake, access=access)
        self.stream, self.subject, self.table_name = stream, stream.name, stream.table
        self._note: Mapping[str, str] = {}

    @property
    def tables(self) -> tuple[LakeTable, ...]:
        """The stream's table, and that of dead letters."""
        if not self.lake.exists(dead_letters.TABLE):
            return (self.table,)
        return (self.table, self.lake.table(dead_letters.TABLE))

    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        """Write the statements, from the offsets that the table holds."""
        return self._sql(group=group, shown=shown, only_known=False)

    def sql_again(self, *, group: str) -> JobSql:
        """Write the statements by the schemas with which the job began, whatever was registered since.

        Where it goes on is in its state: the topic may lack what was not noted yet.
        """
        return self._sql(group=group, shown=False, only_known=True)

    def start_note(self) -> Mapping[str, str]:
        """Return the schemas of the statements that were written last, for the table to know them."""
        return self._note

    def _sql(self, *, group: str, shown: bool, only_known: bool) -> JobSql:
        head = self.table.head()
        found = upserted(head.metadata)
        if found:
            raise FlinkCannotError(self.stream.name, found)
        places = places_of(self.lake.settings, stream=self.stream.name)
        writers = writers_of(self.stream, self.lake.settings, head=head, only_known=only_known)
        starts = starts_of(self.lake, self.stream, has_state=only_known)
        self._note, self.topic_id = writers.note, starts.topic_id
        return ingest_sql(
            self.stream,
            places.shown() if shown else places,
            starts=starts.offsets,
            group=group,
            writers=writers.by_id,
        )

    def health_of(self, job: JobOverview, owner: Owner) -> Health:
        """Judge a job that runs by each of its tables: one sink may commit, and the other not any more.

        Snapshots of dead letters of this job may have expired among those of others: none says nothing.
        """
        found = super().health_of(job, owner)
        faults = dict(found.faults)
        for each in self.tables:
            committed = committed_checkpoint(each.iceberg().metadata, jobs=owner.jobs)
            if committed:
                name = f"`{each.name}`"
                faults |= not_committed(found.checkpoint, committed=committed, table=name)
        return replace(found, faults=faults)

    def wrote(self, owner: Owner) -> bool:
        """Whether a job of an epoch committed rows or dead letters."""
        return super().wrote(owner) or bool(self._letter_writers(owner))

    def refuse_lost(self, owner: Owner) -> None:
        """Refuse what was written by a job that was lost before it was written down, dead letters too.

        Raises:
            TwoOwnersError: If there is something.

        """
        super().refuse_lost(owner)
        others = self._letter_writers(owner)
        if others:
            raise TwoOwnersError(self.subject, owner=self.name(owner), others=others)

    def sinks(self, owner: Owner) -> tuple[tuple[LakeTable, int], ...]:
        """Return the stream's table and that of dead letters, with their sequence numbers when its epoch began."""
        if not self.lake.exists(dead_letters.TABLE):
            return super().sinks(owner)
        dead = self.lake.table(dead_letters.TABLE)
        since = dead.head().properties.get(LETTERS_SINCE_PREFIX + self.subject, "0")
        return (*super().sinks(owner), (dead, int(since)))

    def _letter_writers(self, owner: Owner) -> tuple[str, ...]:
        return letter_writers(self.lake, stream=self.subject, known=owner.jobs)

    def submit(self) -> JobStatus:
        """Start the job of an epoch that Flink owns, unless it runs or ran already.

        Raises:
            StreamOwnedError: If headrace owns the stream; `handover` changes that.
            FlinkJobLostError: If the job started once, and does not run now.

        """
        if not self.lake.exists(self.table_name):  # it would be made for nothing
            raise StreamOwnedError(self.subject, owner=HEADRACE, epoch=0, wanted=FLINK)
        open_tables(self.lake, self.stream)
        return self.submit_owned()

    def refuse_contract(self) -> None:
        """Refuse a contract that SQL cannot say, before there is a table of it.

        Raises:
            FlinkCannotError: If it cannot; it names the field.
            FlinkCannotReachError: If Flink cannot reach topic or tables as headrace does.

        """
        settings = self.lake.settings
        ingest_sql(
            self.stream,
            places_of(settings, stream=self.subject).shown(),
            starts={},
            group="",
            writers=writers_of(self.stream, settings).by_id,
        )
