"""Takes a stream back to its beginning: no rows, no dead letters, and every record is new again.

It is the way back from a contract that was wrong from the start. Two tables change, so it is four commits:
a property that says a reset is open; rows, offsets and columns; the dead letters; the property again. In
between nothing is ingested: a run is refused, and one at work is fenced off by its offsets. The
snapshot before stays until it expires, and a rollback to it brings rows and offsets back together.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pyiceberg.table.metadata import TableMetadata

from headrace.crash_points import crash_point
from headrace.definitions.properties import (
    ABSENT_PREFIX,
    EVENT_TIMES,
    EVOLVED_PREFIX,
    FIELD_USE_PROPERTY,
    FORMER_SOURCE_BYTES,
    GAPS_PREFIX,
    LATE_ROWS_TOTAL,
    OFFSETS_PREFIX,
    REFUSED_WINDOW,
    RESET_PREFIX,
    RETRY_PREFIX,
    SKIPPED_PREFIX,
    SOURCE_FILES_PREFIX,
    WATERMARK,
    WHOLE_SNAPSHOT_PREFIX,
)
from headrace.definitions.stream import Stream
from headrace.dml.copy_on_write import until_it_lands
from headrace.errors import CommitConflictError, ConflictReason, FencedError, ResetRefusedError
from headrace.iceberg.partitions import PartitionKey
from headrace.ingest import dead_letters
from headrace.ingest.letter_removal import provenance_of
from headrace.ingest.letters import groups
from headrace.ingest.owner import OwnerGuard, begun_again, refuse_other
from headrace.ingest.positions import Positions
from headrace.ingest.replay import begun_anew
from headrace.tables.commits.kept_rows import refuse_removal
from headrace.tables.commits.operations import Fence, move_properties, start_over
from headrace.tables.evolution.anew import plan_anew
from headrace.tables.evolution.plan import AlterPlan
from headrace.tables.lake import LakeTable, OpenLake

_OF_THE_TABLE = (
    EVENT_TIMES,
    FIELD_USE_PROPERTY,
    FORMER_SOURCE_BYTES,
    LATE_ROWS_TOTAL,
    REFUSED_WINDOW,
    WATERMARK,
)
_OF_THE_STREAM = (
    ABSENT_PREFIX,
    EVOLVED_PREFIX,
    GAPS_PREFIX,
    RETRY_PREFIX,
    SKIPPED_PREFIX,
    SOURCE_FILES_PREFIX,
    WHOLE_SNAPSHOT_PREFIX,
)


@dataclass(frozen=True, kw_only=True)
class ResetPlan:
    """What a reset would remove, and the columns that the table would have by another type.

    `snapshot_id` is the one to roll back to. `is_unfinished` says that an earlier reset was
    interrupted.
    """

    stream: str
    table: str
    rows: int
    dead_letters: int
    sources: int
    columns: tuple[str, ...]
    snapshot_id: int | None
    is_unfinished: bool

    def __bool__(self) -> bool:
        return bool(
            self.rows or self.dead_letters or self.sources or self.columns or self.is_unfinished
        )


def plan_reset(lake: OpenLake, stream: Stream) -> ResetPlan:
    """Count what a reset would remove; changes nothing.

    Raises:
        TableNotFoundError: If nothing was ever ingested.
        StreamOwnedError: If Flink writes the stream.
        KeyedRowsError: If a job of Flink keeps its rows in a Paimon table too.
        ResetRefusedError: If the table holds rows of another stream.
        AlterRefusedError: If the table cannot get the columns of the contract.

    """
    table = lake.table(stream.table)
    head = table.head()
    refuse_other(stream, head.properties)
    refuse_removal(str(table.name), head.properties)
    _refuse_shared(table, head.properties, stream)
    alter = plan_anew(
        head.metadata,
        stream.table_schema(),
        partition_by=stream.partition_by,
        table=str(table.name),
    )
    before = {field.field_id for field in head.metadata.schema().fields}
    columns = () if alter.schema is None else alter.schema.fields
    return ResetPlan(
        stream=stream.name,
        table=str(stream.table),
        rows=head.row_count,
        dead_letters=_letter_count(lake, stream),
        sources=Positions.read(table, head.properties, stream=stream.name).count,
        columns=tuple(each.name for each in columns if each.field_id not in before),
        snapshot_id=head.snapshot_id,
        is_unfinished=RESET_PREFIX + stream.name in head.properties,
    )


def apply_reset(lake: OpenLake, stream: Stream) -> None:
    """Remove rows and dead letters of a stream, and take its offsets back. Idempotent.

    Safe to kill at any moment and to run again, and beside ingesters: what one of them committed
    before is removed, and what it would commit after is refused.

    Raises:
        CommitConflictError: If ingesters were faster at every attempt; run it again.
        StreamOwnedError, KeyedRowsError, ResetRefusedError, AlterRefusedError: As `plan_reset`; nothing was changed.

    """
    plan_reset(lake, stream)
    table, run_id = lake.table(stream.table), uuid.uuid4().hex
    mark = RESET_PREFIX + stream.name

    def marked(found: TableMetadata) -> dict[str, str | None]:
        refuse_other(
            stream, found.properties
        )  # Flink's job would go on behind the rows that are gone
        refuse_removal(str(table.name), found.properties)
        return {**begun_again(found.properties, stream), mark: run_id}

    move_properties(table, marked)
    crash_point("reset.after_mark")
    until_it_lands(table, lambda _: _clear_rows(table, stream, run_id=run_id))
    crash_point("reset.after_rows")
    if lake.exists(dead_letters.TABLE):
        dead = lake.table(dead_letters.TABLE)
        until_it_lands(dead, lambda _: _clear_letters(dead, stream, run_id=run_id, owned=table))
    crash_point("reset.after_letters")
    move_properties(table, lambda found: {mark: None} if mark in found.properties else {})


def _clear_rows(table: LakeTable, stream: Stream, *, run_id: str) -> None:
    head = table.head()
    gone: dict[str, str | None] = dict.fromkeys(_OF_THE_TABLE)
    gone |= dict.fromkeys(prefix + stream.name for prefix in _OF_THE_STREAM)
    alter = plan_anew(
        head.metadata,
        stream.table_schema(),
        partition_by=stream.partition_by,
        table=str(table.name),
    )
    _start_over(
        table,
        stream,
        head.properties,
        run_id=run_id,
        properties=gone | begun_anew(head.properties, stream),
        alter=alter,
        guard=OwnerGuard(stream),
    )


def _clear_letters(dead: LakeTable, stream: Stream, *, run_id: str, owned: LakeTable) -> None:
    _start_over(
        dead,
        stream,
        dead.head().properties,
        run_id=run_id,
        properties={ABSENT_PREFIX + stream.name: None},
        partitions=[(stream.name,)],
        guard=OwnerGuard(stream, table=owned),
    )


def _start_over(
    table: LakeTable,
    stream: Stream,
    said: Mapping[str, str],
    *,
    run_id: str,
    properties: Mapping[str, str | None],
    partitions: Collection[PartitionKey] | None = None,
    guard: OwnerGuard,
    alter: AlterPlan | None = None,
) -> None:
    positions = Positions.read(table, said, stream=stream.name)
    try:
        start_over(
            table,
            fence=Fence(key=stream.name, expected=positions.offsets(), offsets={}),
            provenance=provenance_of(stream, run_id=run_id),
            properties=properties,
            partitions=partitions,
            alter=alter,
            guard=guard,
        )
    except FencedError as error:  # an ingester was faster: what it committed goes too
        raise CommitConflictError(
            str(table.name), "an ingester moved its offsets", reason=ConflictReason.ROWS_ADDED
        ) from error


def _letter_count(lake: OpenLake, stream: Stream) -> int:
    if not lake.exists(dead_letters.TABLE):
        return 0
    return sum(each.count for each in groups(lake, stream))


def _refuse_shared(table: LakeTable, properties: Mapping[str, str], stream: Stream) -> None:
    own = OFFSETS_PREFIX + stream.name
    others = [key for key in properties if key.startswith(OFFSETS_PREFIX) and key != own]
    if others:
        other = others[0].removeprefix(OFFSETS_PREFIX)
        raise ResetRefusedError(stream.name, table=str(table.name), other=other)
