"""The job of a stream's keyed table, which follows the stream's table and writes one of Paimon."""

from dataclasses import replace
from urllib.parse import urlsplit

from headrace.config import Settings
from headrace.definitions.properties import KEYED_BEGIN
from headrace.definitions.stream import Stream
from headrace.errors import FlinkCannotError, PaimonWarehouseError, TableNotFoundError
from headrace.flink.begin import Begin
from headrace.flink.client import JobOverview
from headrace.flink.health import NO_COMMIT, ORDER, Health
from headrace.flink.job import JobStatus
from headrace.flink.keyed_sql import keyed_sql, keyed_table
from headrace.flink.places import catalog_of, hidden
from headrace.flink.statements import JobSql
from headrace.flink.table_job import TableJob
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import FLINK, Owner
from headrace.tables.lake import LakeTable, OpenLake

PREFIX = "paimon:"


def subject_of(stream: Stream) -> str:
    """Return by which name commands know the job of a stream's keyed table."""
    return f"{PREFIX}{keyed_table(stream)}"


class KeyedJob(TableJob):
    """The job of one keyed table at one Flink, by default that of the lake's profile.

    Its owner is an entry of the stream's table. A job that begins again writes rows again, which changes
    nothing, so no commit has to be looked for and no checkpoint is too old.

    Raises:
        FlinkCannotError: If the contract declares none.
        PaimonWarehouseError: If nothing says where the warehouse is.

    """

    def __init__(
        self, lake: OpenLake, stream: Stream, *, access: FlinkAccess | None = None
    ) -> None:
        refuse_unkeyed(stream)
        self.warehouse = paimon_options(lake.settings)
        super().__init__(lake, access=access)
        self.stream, self.subject, self.table_name = stream, subject_of(stream), stream.table

    def declared(self) -> LakeTable:
        """Return the stream's table.

        Raises:
            TableNotFoundError: If nothing was ingested yet.

        """
        return self.table

    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        """Write the statements, from where the job of this epoch began."""
        _ = group  # it reads no topic
        begin = Begin.read(self.table.head().properties, entry=KEYED_BEGIN)
        assert begin is not None  # `begin_again` says it before a job starts
        return _sql(self.lake.settings, self.stream, self.warehouse, begin=begin, shown=shown)

    def begin_again(self) -> JobStatus:
        """Start the job of a new epoch, with all rows that are there.

        Raises:
            TwoOwnersError: If a job runs.
            TableNotFoundError: If the stream's table has no rows yet.
            StreamOwnedError: If another run begins a job meanwhile; this one did not.
            FlinkUnavailableError, FlinkRefusedError: If it did not start; submit it again.

        """
        before = self.owner
        self.refuse_running(before)
        head = self.table.head()
        if head.snapshot is None:
            raise TableNotFoundError(str(self.table_name), known=())
        begin = Begin(
            after_us=0,
            snapshot_id=head.snapshot.snapshot_id,
            history_id=head.snapshot.parent_snapshot_id,
        )
        now = Owner(by=FLINK, epoch=before.epoch + 1, since_snapshot_id=head.snapshot_id)
        self.set_owner(before, now, more=begin.note(entry=KEYED_BEGIN))
        return self.submit_owned()

    def wrote(self, owner: Owner) -> bool:
        """Whether a job of an epoch may have written something."""
        return bool(owner.jobs)

    def committed(self, owner: Owner) -> int:
        """Return 0: a checkpoint of any age may be restored."""
        _ = owner
        return 0

    def health_of(self, job: JobOverview, owner: Owner) -> Health:
        """Judge a job that runs: in Paimon it commits nothing where nothing came, and rows come in any order."""
        found = super().health_of(job, owner)
        no_fault = (NO_COMMIT, ORDER)
        faults = {name: what for name, what in found.faults.items() if name not in no_fault}
        return replace(found, committed=found.checkpoint, faults=faults)

    def refuse_writers(self, owner: Owner) -> None:
        """Let others write the stream's table: this job writes another one."""


def refuse_unkeyed(stream: Stream) -> None:
    """Refuse a contract without a keyed table.

    Raises:
        FlinkCannotError: If it is one.

    """
    if stream.keyed is None:
        raise FlinkCannotError(stream.name, "its contract does not say `keyed: paimon`")


def printed(settings: Settings, stream: Stream) -> JobSql:
    """Write the statements without secrets, as if the stream's table had one snapshot.

    Raises:
        FlinkCannotError: If the contract declares no keyed table, or Flink cannot reach the catalog.
        PaimonWarehouseError: If nothing says where the warehouse is.

    """
    refuse_unkeyed(stream)
    begin = Begin(after_us=0, snapshot_id=0, history_id=None)
    return _sql(settings, stream, paimon_options(settings), begin=begin, shown=True)


def _sql(
    settings: Settings, stream: Stream, warehouse: dict[str, str], *, begin: Begin, shown: bool
) -> JobSql:
    lake = catalog_of(settings, stream=stream.name)
    if shown:
        return keyed_sql(stream, hidden(lake), hidden(warehouse), begin=begin)
    return keyed_sql(stream, lake, warehouse, begin=begin)


def paimon_options(settings: Settings) -> dict[str, str]:
    """Return the options of the Paimon catalog.

    Raises:
        PaimonWarehouseError: If nothing says where the warehouse is.

    """
    uri = settings.paimon_warehouse
    if not uri:
        raise PaimonWarehouseError(uri, "nothing says where it is")
    if not urlsplit(uri).scheme:
        uri = f"file://{(settings.root / uri).resolve()}"
    found = {"type": "paimon", "warehouse": uri}
    s3 = settings.s3
    if uri.startswith("s3://") and s3 is not None:
        if s3.endpoint:
            found |= {"s3.endpoint": s3.endpoint, "s3.path.style.access": "true"}
        if s3.access_key is not None and s3.secret_key is not None:
            found["s3.access-key"] = s3.access_key.get_secret_value()
            found["s3.secret-key"] = s3.secret_key.get_secret_value()
    return found
