"""The job of a sample set, which follows the tables of exposures and actions and writes its live table."""

from collections.abc import Sequence

from headrace.config import Settings
from headrace.definitions.window_rows import ahead_of, disorder_of
from headrace.errors import FlinkCannotSamplesError
from headrace.flink.begin import Begin
from headrace.flink.behind import Followed
from headrace.flink.committed import begun
from headrace.flink.job_status import JobStatus
from headrace.flink.live_samples import LiveSamples
from headrace.flink.places import catalog_of, hidden
from headrace.flink.sample_begin import begins_now, begins_of, noted
from headrace.flink.sample_sql import followed_by, samples_sql
from headrace.flink.statements import JobSql
from headrace.flink.table_job import TableJob
from headrace.flink.unread import upserted
from headrace.flink_access import FlinkAccess
from headrace.tables.declare import declare_table
from headrace.tables.lake import LakeTable, OpenLake


class SampleJob(TableJob):
    """The job of one sample set at one Flink, by default that of the lake's profile."""

    def __init__(
        self, lake: OpenLake, live: LiveSamples, *, access: FlinkAccess | None = None
    ) -> None:
        super().__init__(lake, access=access)
        self.live, self.subject, self.table_name = live, live.recipe.table, live.table

    def declared(self) -> LakeTable:
        """Create the live table, or bring it in line."""
        return declare_table(
            self.lake, self.live.table, self.live.schema, partition_by=("day(event_time)",)
        )

    def followed(self) -> Sequence[Followed]:
        """Return the tables of exposures and actions; nothing before a job of this table began."""
        begins = begins_of(self.table.head().properties)
        return [
            Followed(
                table=str(stream.table),
                begin=begins[str(stream.table)],
                disorder=disorder_of(stream),
                source=source,
                skew=ahead_of(stream) + stream.allowed_clock_skew,
                columns=self.live.columns_of(stream),
            )
            for source, stream in followed_by(self.live).items()
            if str(stream.table) in begins
        ]

    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        """Write the statements, from where the job of this epoch began."""
        _ = group  # it reads no topic
        begins = begins_of(self.table.head().properties)
        options = catalog_of(self.lake.settings, stream=self.subject)
        return samples_sql(self.live, hidden(options) if shown else options, begins=begins)

    def begin_again(self) -> JobStatus:
        """Start the job of a new epoch after the newest revision that is there.

        Raises:
            TwoOwnersError: If a job runs.
            NothingToFollowError: If a table has no rows yet.
            FlinkCannotSamplesError: If a table replaces rows.
            StreamOwnedError: If another run begins a job meanwhile; this one did not.
            FlinkUnavailableError, FlinkRefusedError: If it did not start; submit it again.

        """
        self.declared()
        self._refuse_upserts()
        before = self.owner
        self.refuse_running(before)
        begins = begins_now(self.lake, self.live)
        now = begun(self.table.iceberg().metadata, epoch=before.epoch + 1)
        self.set_owner(before, now, more=noted(begins))
        return self.submit_owned()

    def _refuse_upserts(self) -> None:
        for stream in (self.live.exposures, *self.live.labels):
            found = upserted(self.lake.table(stream.table).head().metadata)
            if found:
                key = "exposures" if stream is self.live.exposures else "labels"
                what = f"`{stream.table}` is no table of appends: {found}"
                raise FlinkCannotSamplesError(self.live.recipe.name, what, key=key)


def printed(settings: Settings, live: LiveSamples) -> JobSql:
    """Write the statements of a job without secrets, as if the tables had one snapshot.

    Raises:
        FlinkCannotReachError: If Flink cannot reach the catalog.

    """
    options = hidden(catalog_of(settings, stream=live.recipe.table))
    nothing = Begin(after_us=0, snapshot_id=0, history_id=None)
    tables = (live.recipe.exposures, *(each.table for each in live.recipe.labels))
    return samples_sql(live, options, begins=dict.fromkeys(tables, nothing))
