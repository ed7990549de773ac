"""The job of a window view, which follows the table of its events and writes its feature table."""

from collections.abc import Sequence
from dataclasses import replace

from headrace.config import Settings
from headrace.definitions.window_rows import WindowRows
from headrace.errors import FlinkCannotViewError, StreamOwnedError
from headrace.flink.backfill import Missing, add_rows, feature_table, missing_rows
from headrace.flink.begin import Begin
from headrace.flink.behind import Followed
from headrace.flink.committed import begun
from headrace.flink.job_status import JobStatus
from headrace.flink.places import catalog_of, hidden
from headrace.flink.python import python_session, refuse_function, refuse_python
from headrace.flink.statements import JobSql
from headrace.flink.table_job import TableJob
from headrace.flink.tile_sql import needs_python
from headrace.flink.unread import upserted
from headrace.flink.view_limits import refuse_view
from headrace.flink.window_sql import NEWS, view_sql
from headrace.flink_access import FlinkAccess
from headrace.identifiers import TableName
from headrace.ingest.owner import BATCH, HEADRACE, Owner
from headrace.tables.lake import LakeTable, OpenLake


class ViewJob(TableJob):
    """The job of one window view at one Flink, by default that of the lake's profile.

    Raises:
        FlinkCannotViewError: If SQL cannot write the view's rows.

    """

    def __init__(
        self, lake: OpenLake, rows: WindowRows, *, access: FlinkAccess | None = None
    ) -> None:
        refuse_view(rows)
        super().__init__(lake, access=access)
        self.rows, self.subject, self.table_name = rows, rows.windows.view, rows.table
        self._is_ready = False

    def declared(self) -> LakeTable:
        """Create the feature table, or bring it in line."""
        return feature_table(self.lake, self.rows)

    @property
    def begin(self) -> Begin:
        """Where the job of this epoch began."""
        found = Begin.read(self.table.head().properties)
        assert found is not None  # `begin_again` says it before a job starts
        return found

    def followed(self) -> Sequence[Followed]:
        """Return the table of the events; nothing before a job of this table began."""
        if Begin.read(self.table.head().properties) is None:
            return ()
        windows = self.rows.windows
        keys = (*windows.entity, *(() if windows.key is None else (windows.key,)))
        return (
            Followed(
                table=windows.events,
                begin=self.begin,
                disorder=self.rows.disorder,
                source=NEWS,
                skew=self.rows.ahead + self.rows.skew,
                columns=frozenset((*keys, *windows.inputs)),
            ),
        )

    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        """Write the statements, from where the job of this epoch began."""
        _ = group  # it reads no topic
        begin = self.begin
        options = catalog_of(self.lake.settings, stream=self.subject)
        sql = view_sql(self.rows, hidden(options) if shown else options, begin=begin)
        return sql if shown else replace(sql, session=self.session("flink", "submit"))

    def sql_again(self, *, group: str) -> JobSql:
        """Write the same statements for a job that is restored."""
        self.session("flink", "restore")
        return self.sql(group=group)

    def session(self, *command: str) -> dict[str, str]:
        """Return the settings that the job of this view needs beside those of all jobs.

        Args:
            command: What is asked of the view; its name follows.

        Raises:
            FlinkPythonMissingError: If it calls Python, and Flink has none.

        """
        if not needs_python(self.rows):
            return {}
        refuse_python(self.access, view=self.subject, command=(*command, self.subject))
        return python_session(self.access)

    def refuse_unready(self, *command: str) -> None:
        """Ask Flink, before anything is changed, whether it can run what the job of this view calls.

        Raises:
            FlinkPythonMissingError: If it cannot.

        """
        if needs_python(self.rows) and not self._is_ready:
            refuse_function(self.access, view=self.subject, command=(*command, self.subject))
            self._is_ready = True

    def submit(self) -> JobStatus:
        """Start the job, unless it runs or ran already; raises what `begin_again` does.

        Raises:
            FlinkJobLostError: If the job started once, and does not run now.

        """
        self.refuse_unready("flink", "submit")  # before its table is made
        return super().submit()

    def begin_again(self) -> JobStatus:
        """Add the rows that are missing up to now, and start the job of a new epoch there.

        Raises:
            TwoOwnersError: If a job runs, whose rows would be there twice.
            StreamOwnedError: If another run begins a job or adds rows meanwhile, or Flink does as a batch;
                this one did neither.
            NothingToFollowError: If there are no events yet.
            FlinkCannotViewError: If their table replaces rows.
            FlinkPythonMissingError: If its job calls Python, and Flink has none.
            FlinkUnavailableError, FlinkRefusedError: If it did not start; submit it again.

        """
        self.refuse_unready("flink", "submit")
        self.declared()
        self._refuse_upserts()
        before = self.owner
        if before.by == BATCH:
            raise StreamOwnedError(self.subject, owner=BATCH, epoch=before.epoch, wanted=HEADRACE)
        self.refuse_running(before)
        # nobody's while rows are added: a job that is restored or submitted meanwhile is refused
        nobody = Owner(by=HEADRACE, epoch=before.epoch + 1)
        self.set_owner(before, nobody)
        missing = self._backfill(nobody)
        now = begun(self.table.iceberg().metadata, epoch=nobody.epoch)
        self.set_owner(nobody, now, more=missing.begin.note())
        return self.submit_owned()

    def _refuse_upserts(self) -> None:
        events = self.rows.windows.events
        head = self.lake.head_of(TableName.parse(events))
        found = "" if head is None else upserted(head.metadata)
        if found:
            what = f"`{events}` is no table of appends: {found}"
            raise FlinkCannotViewError(self.subject, what, key="events")

    def backfill(self) -> Missing:
        """Add the rows that are missing up to now; a second run adds nothing.

        Raises:
            StreamOwnedError: If a job writes them, or did and may be restored: it would write them again.
            TwoOwnersError: If a job runs that is not the owner.
            NothingToFollowError: If there are no events yet.
            FencedError: If another run added rows meanwhile; nothing was committed.
            FlinkUnavailableError: If Flink does not answer.

        """
        self.declared()
        return self._backfill(self.owner)

    def _backfill(self, owner: Owner) -> Missing:
        if owner.by != HEADRACE:
            raise StreamOwnedError(self.subject, owner=owner.by, epoch=owner.epoch, wanted=HEADRACE)
        self.refuse_running(owner)
        missing = missing_rows(self.lake, self.rows, self.table)
        add_rows(self.lake, missing, self.table, owner=owner)
        return missing


def printed(settings: Settings, rows: WindowRows) -> JobSql:
    """Write the statements of a view's job without secrets, as if its events' table were empty.

    Raises:
        FlinkCannotViewError: If SQL cannot write the view's rows.
        FlinkCannotReachError: If Flink cannot reach the catalog.

    """
    refuse_view(rows)
    options = hidden(catalog_of(settings, stream=rows.windows.view))
    sql = view_sql(rows, options, begin=Begin(after_us=0, snapshot_id=0, history_id=None))
    access = settings.flink
    if access is None or not access.python or not needs_python(rows):
        return sql
    return replace(sql, session=python_session(access))
