"""The statement of an audit, as SQL that DuckDB, Trino and Spark read alike."""

from collections.abc import Sequence
from typing import NamedTuple

from headrace.definitions.stream import Stream
from headrace.identifiers import quote_text
from headrace.ingest.absent import Offsets
from headrace.ingest.sources.base import SourcePartition

EXACT = "exact"
_COMPARED = """),

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
        else 'exact'
    end as verdict
from compared
where next_offset > 0 or records > 0
order by source, part
"""
_KNOWN = """
    inner join expected
        on
            _source = expected.source
            and _source_partition = expected.part
            and _source_offset < expected.next_offset"""


class Consumed(NamedTuple):
    """How far a partition is consumed, and which offsets have no record."""

    partition: SourcePartition
    end: int
    absent: Offsets


def statement(
    stream: Stream,
    consumed: Sequence[Consumed],
    *,
    rows: str,
    letters: str | None,
    replay_is_open: bool,
    rows_are_ahead: bool = False,
) -> str:
    """Write the audit as one statement of standard SQL, as DuckDB and Trino read it. Pure.

    Args:
        stream: The contract.
        consumed: What the stream's table says of each partition.
        rows: The stream's table, as the engine names it.
        letters: The dead-letter table; None if there is none.
        replay_is_open: Whether letters may be rows too, which then count once.
        rows_are_ahead: Whether another writer adds rows that were not taken note of yet; they are left
            out, as letters are that are ahead.

    """
    refused = _letters_sql(stream, letters, rows=rows, replay_is_open=replay_is_open)
    known = _KNOWN if rows_are_ahead else ""
    values = ",\n        ".join(_value(each) for each in consumed) or _value(_NOTHING)
    return f"""with expected (source, part, next_offset, absent, total) as (
    values
        {values}
),

records as (
    select _source as source, _source_partition as part, _source_offset as record_offset, 1 as is_row
    from {rows}{known}{refused}
{_COMPARED}"""


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
