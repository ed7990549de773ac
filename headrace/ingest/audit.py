"""Proves that a stream's records are all there, each once: one SQL statement that any engine runs.

For each partition, rows and dead letters together must have as many offsets as were consumed, less
those noted as absent; no offset twice; and the sum of the offsets must be that of all consumed. The
statement contains what the table's properties say, so it can be run by hand, in another engine too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from headrace.definitions.properties import REPLAY_PREFIX
from headrace.definitions.stream import Stream
from headrace.engines.open import open_engine
from headrace.errors import CommitConflictError, IngestAuditError
from headrace.identifiers import quote_text
from headrace.ingest import dead_letters
from headrace.ingest.absent import Absent, Offsets
from headrace.ingest.positions import Positions
from headrace.ingest.replay import is_open
from headrace.ingest.sources.base import SourcePartition
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

EXACT = "exact"
_READS_MAX = 5


class Consumed(NamedTuple):
    """How far a partition is consumed, and which offsets have no record."""

    partition: SourcePartition
    end: int
    absent: Offsets


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
    )
    return AuditPlan(stream=stream.name, table=head, dead=dead, sql=sql)


def _pinned(lake: OpenLake, stream: Stream) -> tuple[TableVersion, TableVersion | None]:
    """Pin the rows, then the letters: these may be ahead, and what is ahead is left out.

    A replay that moves letters to rows in between would hide them from both, so that is read again.
    """
    table, key = lake.table(stream.table), REPLAY_PREFIX + stream.name
    for _ in range(_READS_MAX):
        head = table.head()
        dead = lake.table(dead_letters.TABLE).head() if lake.exists(dead_letters.TABLE) else None
        if table.head().properties.get(key) == head.properties.get(key):
            return head, dead
    raise CommitConflictError(str(stream.table), "replays moved its dead letters at every reading")


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


def statement(
    stream: Stream,
    consumed: Sequence[Consumed],
    *,
    rows: str,
    letters: str | None,
    replay_is_open: bool,
) -> str:
    """Write the audit as one statement of standard SQL, as DuckDB and Trino read it. Pure.

    Args:
        stream: The contract.
        consumed: What the stream's table says of each partition.
        rows: The stream's table, as the engine names it.
        letters: The dead-letter table; None if there is none.
        replay_is_open: Whether letters may be rows too, which then count once.

    """
    refused = _letters_sql(stream, letters, rows=rows, replay_is_open=replay_is_open)
    values = ",\n        ".join(_value(each) for each in consumed) or _value(_NOTHING)
    return f"""with expected (source, part, next_offset, absent, total) as (
    values
        {values}
),

records as (
    select _source as source, _source_partition as part, _source_offset as record_offset, 1 as is_row
    from {rows}{refused}
),

counted as (
    select
        source,
        part,
        count(*) as records,
        sum(is_row) as table_rows,
        count(distinct record_offset) as offsets,
        max(record_offset) as last_offset,
        sum(cast(record_offset as decimal(38, 0))) as total
    from records
    group by source, part
),

compared as (
    select
        coalesce(expected.source, counted.source) as source,
        coalesce(expected.part, counted.part) as part,
        coalesce(expected.next_offset, 0) as next_offset,
        coalesce(expected.absent, 0) as absent,
        cast(expected.total as decimal(38, 0)) as expected_total,
        coalesce(counted.records, 0) as records,
        coalesce(counted.table_rows, 0) as table_rows,
        coalesce(counted.offsets, 0) as offsets,
        coalesce(counted.last_offset, -1) as last_offset,
        coalesce(counted.total, cast(0 as decimal(38, 0))) as total
    from expected
    full outer join counted
        on expected.source = counted.source and expected.part = counted.part
)

select
    source,
    cast(part as integer) as "partition",
    cast(next_offset as bigint) as consumed,
    cast(table_rows as bigint) as "rows",
    cast(records - table_rows as bigint) as dead_letters,
    cast(absent as bigint) as absent,
    case
        when records > offsets
            then concat(cast(records - offsets as varchar), ' offsets more than once')
        when last_offset >= next_offset
            then concat('offset ', cast(last_offset as varchar), ' was never consumed')
        when records + absent < next_offset
            then concat(cast(next_offset - records - absent as varchar), ' offsets missing')
        when records + absent > next_offset
            then concat(cast(records + absent - next_offset as varchar), ' offsets too many')
        when total <> expected_total then 'other offsets than those consumed'
        else '{EXACT}'
    end as verdict
from compared
where next_offset > 0 or records > 0
order by source, part
"""


_NOTHING = Consumed(SourcePartition(""), 0, Offsets())


def _letters_sql(stream: Stream, letters: str | None, *, rows: str, replay_is_open: bool) -> str:
    """Write the part of the statement that adds dead letters; those ahead of the rows are left out."""
    if letters is None:
        return ""
    moved = f"""
        and not exists (
            select 1 from {rows} as moved
            where
                moved._source = letters._source
                and moved._source_partition = letters._source_partition
                and moved._source_offset = letters._source_offset
        )"""
    return f"""

    union all

    select letters._source, letters._source_partition, letters._source_offset, 0
    from {letters} as letters
    inner join expected
        on
            letters._source = expected.source
            and letters._source_partition = expected.part
            and letters._source_offset < expected.next_offset
    where
        letters.stream = {quote_text(stream.name)}{moved if replay_is_open else ""}"""


def _value(each: Consumed) -> str:
    total = Offsets.between(0, each.end).total - each.absent.total
    # texts: some engines give short numbers a type that does not hold the others
    return (
        f"({quote_text(each.partition.source)}, {each.partition.partition}, "
        f"cast({each.end} as bigint), cast({each.absent.number} as bigint), '{total}')"
    )
