"""Proves that a stream's records are all there, each once: one SQL statement that any engine runs.

For each partition, rows and dead letters together must have as many offsets as were consumed, less
those noted as absent; no offset twice; and the sum of the offsets must be that of all consumed. The
statement contains what the table's properties say, so it can be run by hand, in another engine too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from headrace.definitions.properties import REPLAY_PREFIX
from headrace.definitions.stream import Stream
from headrace.engines.open import open_engine
from headrace.errors import CommitConflictError, ConflictReason, IngestAuditError
from headrace.ingest import dead_letters
from headrace.ingest.absent import Absent, Offsets
from headrace.ingest.audit_sql import EXACT, Consumed, statement
from headrace.ingest.owner import HEADRACE, Owner
from headrace.ingest.positions import Positions
from headrace.ingest.replay import is_open
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

_READS_MAX = 5


@dataclass(frozen=True, kw_only=True)
class AuditedPartition:
    """What the statement found of one partition; `verdict` is `exact` or says what is wrong."""

    source: str
    partition: int
    consumed: int
    rows: int
    dead_letters: int
    absent: int
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The result of one audit, of one moment of both tables."""

    stream: str
    snapshot_id: int | None
    partitions: tuple[AuditedPartition, ...]

    @property
    def wrong(self) -> tuple[AuditedPartition, ...]:
        """The partitions that are not exact."""
        return tuple(each for each in self.partitions if each.verdict != EXACT)

    def error(self) -> IngestAuditError | None:
        """Return the error to end with, if a partition is not exact."""
        if not self.wrong:
            return None
        findings = tuple(f"{each.source}:{each.partition} {each.verdict}" for each in self.wrong)
        return IngestAuditError(self.stream, findings=findings)


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """The statement over pinned versions; `dead` is None if no record was ever refused."""

    stream: str
    table: TableVersion
    dead: TableVersion | None
    sql: str


def plan_audit(lake: OpenLake, stream: Stream) -> AuditPlan:
    """Pin both tables at one moment and write the statement; changes nothing.

    Raises:
        CommitConflictError: If replays are at work all the time.
        SourceLedgerError: If the registry lost which sources were taken.
        TableNotFoundError: If nothing was ingested yet.

    """
    head, dead = _pinned(lake, stream)
    consumed = list(_consumed(lake, stream, head, dead))
    sql = statement(
        stream,
        consumed,
        rows=str(stream.table),
        letters=None if dead is None else str(dead_letters.TABLE),
        replay_is_open=is_open(head.properties, stream),
        rows_are_ahead=Owner.read(head.properties, stream=stream.name).by != HEADRACE,
    )
    return AuditPlan(stream=stream.name, table=head, dead=dead, sql=sql)


def _pinned(lake: OpenLake, stream: Stream) -> tuple[TableVersion, TableVersion | None]:
    """Pin the rows, then the letters: these may be ahead, and what is ahead is left out.

    A replay that moves letters to rows in between would hide them from both, so that is read again.
    """
    table, key = lake.table(stream.table), REPLAY_PREFIX + stream.name
    for _ in range(_READS_MAX):
        head = table.head()
        dead = lake.head_of(dead_letters.TABLE)
        if table.head().properties.get(key) == head.properties.get(key):
            return head, dead
    detail = "replays moved its dead letters at every reading"
    raise CommitConflictError(str(stream.table), detail, reason=ConflictReason.OTHER_REPLAY)


def run_audit(lake: OpenLake, plan: AuditPlan) -> Audit:
    """Run the statement with the lake's engine over the pinned versions."""
    with open_engine(lake.settings) as engine:
        engine.bind(str(plan.table.name), plan.table)
        if plan.dead is not None:
            engine.bind(str(plan.dead.name), plan.dead)
        found = engine.query(plan.sql).read_all().to_pylist()
    return Audit(
        stream=plan.stream,
        snapshot_id=plan.table.snapshot_id,
        partitions=tuple(AuditedPartition(**row) for row in found),
    )


def _consumed(
    lake: OpenLake, stream: Stream, head: TableVersion, dead: TableVersion | None
) -> Iterator[Consumed]:
    positions = Positions.read(lake.table(stream.table), head.properties, stream=stream.name)
    said: Sequence[Mapping[str, str]] = [
        head.properties, *([] if dead is None else [dead.properties])
    ]  # fmt: skip
    noted = [Absent.read(each, stream=stream.name) for each in said]
    for partition, offset in positions.every().items():
        absent = Offsets()
        for each in noted:
            absent = absent.plus(each.of(partition))
        yield Consumed(partition, offset, absent)
