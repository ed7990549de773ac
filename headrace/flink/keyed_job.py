"""The job of a stream's keyed table, which follows the stream's table and writes one of Paimon."""

from collections.abc import Mapping
from dataclasses import replace

from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import (
    DatabaseUnavailableError,
    FlinkCannotError,
    PaimonMissingError,
    PaimonReadError,
    PaimonTableDiffersError,
    PaimonTableNotFoundError,
    PaimonWarehouseError,
    TableNotFoundError,
)
from headrace.flink.client import JobOverview
from headrace.flink.committed import begun
from headrace.flink.health import NO_COMMIT, ORDER, REGISTRY, WIDENED, Health, changed
from headrace.flink.job_status import JobStatus
from headrace.flink.keyed_begin import (
    KeyedBegin,
    opened,
    refuse_made_again,
    refuse_unfit,
    removed_since,
)
from headrace.flink.keyed_sql import keyed_shape, keyed_sql, keyed_table_sql, subject_of
from headrace.flink.places import catalog_of, hidden, paimon_options
from headrace.flink.session import SESSION
from headrace.flink.statements import JobSql
from headrace.flink.table_job import TableJob
from headrace.flink.unread import upserted
from headrace.flink.widened import widened
from headrace.flink_access import FlinkAccess
from headrace.ingest.owner import Owner
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.facts import Kind
from headrace.interop.paimon.lakes import refuse_other_lake
from headrace.interop.paimon.shape import refuse_other_shape
from headrace.interop.paimon.table import PaimonTable
from headrace.tables.lake import LakeTable, OpenLake

REMOVED, BATCH, ALTERED = "rows-removed", "batch-wrote", "table-altered"
UNREADABLE = "warehouse-unavailable"


class KeyedJob(TableJob):
    """The job of one keyed table at one Flink, by default that of the lake's profile.

    Its owner is an entry of the stream's table. Rows that are written again change nothing, so no commit has
    to be looked for and no checkpoint of this epoch is too old.

    Raises:
        FlinkCannotError: If the contract declares none.
        PaimonWarehouseError: If nothing says where the warehouse is.

    """

    def __init__(
        self, lake: OpenLake, stream: Stream, *, access: FlinkAccess | None = None
    ) -> None:
        self.stream, self.subject, self.table_name = stream, subject_of(stream), stream.table
        self.shape, self.warehouse = keyed_shape(stream), paimon_options(lake.settings)
        super().__init__(lake, access=access)

    @property
    def begin(self) -> KeyedBegin:
        """What the job of this epoch began with."""
        found = KeyedBegin.read(self.table.head().properties, table=self.shape.name)
        assert found is not None  # `begin_again` says it before a job starts
        return found

    @property
    def table_uuid(self) -> str:
        """The uuid of the stream's table: of no other lake's, whatever its name."""
        return str(self.table.iceberg().metadata.table_uuid)

    def declared(self) -> LakeTable:
        """Return the stream's table: the keyed table is created where its job begins.

        Raises:
            TableNotFoundError: If nothing was ingested yet.

        """
        if self.table.head().snapshot is None:
            raise TableNotFoundError(str(self.table_name), known=())
        return self.table

    def sql(self, *, group: str, shown: bool = False) -> JobSql:
        """Write the statements, from where the job of this epoch began."""
        _ = group  # it reads no topic
        options = catalog_of(self.lake.settings, stream=self.stream.name)
        paimon = self.warehouse
        if shown:
            options, paimon = hidden(options), hidden(paimon)
        return keyed_sql(
            self.stream,
            options,
            paimon,
            snapshot_id=self.begin.snapshot_id,
            table_uuid=self.table_uuid,
        )

    def begin_again(self) -> JobStatus:
        """Create the keyed table, and start the job of a new epoch with all rows that are there.

        Raises:
            TwoOwnersError: If a job runs.
            TableNotFoundError: If the stream's table has no rows yet.
            FlinkCannotError: If its rows replace others.
            PaimonOtherLakeError: If a table of that name is there, and keeps rows of another lake.
            PaimonTableDiffersError: If it is not the declared one.
            PaimonTableStaleError: If it has rows.
            StreamOwnedError: If another run begins a job meanwhile; this one did not.
            FlinkUnavailableError, FlinkRefusedError: If it did not start; submit it again.

        """
        head = self.declared().head()
        found = upserted(head.metadata)
        if found:
            raise FlinkCannotError(self.stream.name, found)
        before = self.owner
        self.refuse_running(before)
        begin = KeyedBegin.of(head.metadata, created_ms=self._created().created_ms())
        now = begun(self.table.iceberg().metadata, epoch=before.epoch + 1)
        self.set_owner(before, now, more=begin.note(table=self.shape.name))
        return self.submit_owned()

    def _created(self) -> PaimonTable:
        """Return the Paimon table, which may be there already, and is fit then."""
        name = self.shape.name
        warehouse = PaimonWarehouse.open(self.lake.settings)
        found = opened(warehouse, name)
        if found is None:
            made = keyed_table_sql(self.stream, self.warehouse, table_uuid=self.table_uuid)
            self.gateway.run(made, properties=SESSION)
            found = opened(warehouse, name)
            if found is None:  # Flink and this process mean different folders
                raise PaimonTableNotFoundError(name, known=tuple(warehouse.names()))
        self._refuse_unfit(found)
        return found

    def _refuse_other_lake(self, found: PaimonTable) -> None:
        stream_table = str(self.table_name)
        refuse_other_lake(found.definition, stream_table=stream_table, uuid=self.table_uuid)

    def start(self, owner: Owner, sql: JobSql, more: Mapping[str, str]) -> None:
        """Submit a job that writes the table which the first job of this epoch was to write, as any job.

        Raises:
            PaimonOtherLakeError: If another lake has it now.
            PaimonTableDiffersError: If it was changed into one that is not declared.
            PaimonTableStaleError: If that was dropped.

        """
        name = self.shape.name
        found = opened(PaimonWarehouse.open(self.lake.settings), name)
        if found is not None:
            self._refuse_other_lake(found)
            refuse_other_shape(found.definition, self.shape, subject=self.subject)
        refuse_made_again(found, self.begin, name, subject=self.subject)
        super().start(owner, sql, more)

    def wrote(self, owner: Owner) -> bool:
        """Whether a job of an epoch may have written something."""
        return bool(owner.jobs)

    def committed(self, owner: Owner) -> int:
        """Return 0: a checkpoint of any age may be restored."""
        _ = owner
        return 0

    def sinks(self, owner: Owner) -> tuple[tuple[LakeTable, int], ...]:
        """Return none: it commits to Paimon, where a key that is written again is the same row."""
        _ = owner
        return ()

    def health_of(self, job: JobOverview, owner: Owner) -> Health:
        """Judge a job that runs, and the rows that it follows.

        In Paimon it commits nothing where nothing came, and rows may come in any order.
        """
        found = super().health_of(job, owner)
        no_fault = (NO_COMMIT, ORDER)
        faults = {name: what for name, what in found.faults.items() if name not in no_fault}
        faults |= self._of_others(owner)
        try:
            removed = removed_since(self.table, self.begin)
        except DatabaseUnavailableError as error:
            removed = ""
            faults[REGISTRY] = f"whether its stream's table lost rows is not known: {error}"
        if removed:
            faults[REMOVED] = f"{removed}: hand it to headrace, drop it, and hand it to Flink again"
        return replace(found, committed=found.checkpoint, faults=faults)

    def _of_others(self, owner: Owner) -> dict[str, str]:
        """Name what other programs did to the Paimon table, or why that is not known.

        Where the declaration changed, the table differs by that: `declaration-changed` says so.
        """
        try:
            found = opened(PaimonWarehouse.open(self.lake.settings), self.shape.name)
            if found is None:
                return {}  # the job fails by itself
            snapshots = found.snapshots()
            if not changed(owner.plan, self.plan()):
                refuse_other_shape(found.definition, self.shape, subject=self.subject)
        except PaimonTableDiffersError as error:
            return {ALTERED: error.message}
        except (PaimonMissingError, PaimonReadError, PaimonWarehouseError) as error:
            return {UNREADABLE: f"whether others wrote it is not known: {error}"}
        wrote = [each.id for each in snapshots if each.is_of_batch and each.kind != Kind.COMPACT]
        if not wrote:
            return {}
        what = f"snapshot {wrote[0]} of it is of a batch, as of a `delete`, and its job knows nothing of it"
        return {BATCH: f"{what}: hand it to headrace, drop it, and hand it to Flink again"}

    def unfit(self) -> dict[str, str]:
        """Name a column of the stream's table that became wider than the job can read."""
        found = widened(
            self.table.iceberg().metadata,
            table=str(self.table_name),
            schema_id=self.begin.schema_id,
            snapshot_id=self.begin.snapshot_id,
            columns=self.stream.table_schema().names,
        )
        return {WIDENED: found} if found else {}

    def refuse_begin(self) -> None:
        """Refuse where no other job could begin, before the one that runs is cancelled for it.

        Raises:
            PaimonOtherLakeError: If the Paimon table keeps rows of another lake.
            PaimonTableDiffersError: If it is not the declared one.
            PaimonTableStaleError: If it has rows.

        """
        found = opened(PaimonWarehouse.open(self.lake.settings), self.shape.name)
        if found is not None:
            self._refuse_unfit(found)

    def _refuse_unfit(self, found: PaimonTable) -> None:
        self._refuse_other_lake(found)
        refuse_unfit(found, self.shape, subject=self.subject)

    def refuse_writers(self, owner: Owner) -> None:
        """Let others write the stream's table: this job writes another one."""


def printed(settings: Settings, stream: Stream) -> JobSql:
    """Write the statements without secrets, as if the stream's table had one snapshot.

    Raises:
        FlinkCannotError: If the contract declares no keyed table.
        FlinkCannotReachError: If Flink cannot reach the catalog.
        PaimonWarehouseError: If nothing says where the warehouse is.

    """
    lake = hidden(catalog_of(settings, stream=stream.name))
    uuid = f"the uuid of {stream.table}"
    return keyed_sql(stream, lake, hidden(paimon_options(settings)), snapshot_id=0, table_uuid=uuid)
