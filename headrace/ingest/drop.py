"""Drops dead letters for good: what was dropped is noted, so that an audit still adds up."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from pyiceberg.table import Table

from headrace.definitions.properties import ABSENT_PREFIX
from headrace.definitions.stream import COORDINATES, Stream
from headrace.dml.copy_on_write import until_it_lands
from headrace.errors import CommitConflictError, ConflictReason
from headrace.ingest import letters
from headrace.ingest.absent import DROPPED, Absent, Offsets
from headrace.ingest.letter_removal import remove_from, taken_by
from headrace.ingest.letters import Choice, Coordinates
from headrace.ingest.replay import settle
from headrace.ingest.sources.base import SourcePartition
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion


@dataclass(frozen=True, kw_only=True)
class DropPlan:
    """Which dead letters would be dropped; nothing of them is kept, and an audit says how many."""

    stream: str
    choice: Choice
    count: int
    reasons: Mapping[str, int]
    not_yet: int  # of commits that are not complete


def plan_drop(lake: OpenLake, stream: Stream, *, choice: Choice) -> DropPlan:
    """Count the dead letters that a drop would remove; changes nothing.

    Raises:
        TableNotFoundError: If no record was ever refused.

    """
    dropped, reasons = _droppable(lake, stream, letters.head(lake), choice)
    chosen = sum(each.count for each in letters.groups(lake, stream, choice=choice))
    return DropPlan(
        stream=stream.name,
        choice=choice,
        count=len(dropped),
        reasons=reasons,
        not_yet=chosen - len(dropped),
    )


def apply_drop(lake: OpenLake, plan: DropPlan, stream: Stream) -> int:
    """Remove dead letters for good, and note how many, in one commit; return how many.

    Letters that came after the plan and match its choice are removed too.

    Raises:
        CommitConflictError: If other commits rewrote the letters at every attempt.

    """
    settle(lake, stream)
    dead = letters.dead_table(lake)

    def attempt(_: int) -> int:
        version = dead.head()
        gone, _reasons = _droppable(lake, stream, version, plan.choice)
        before = Absent.read(version.properties, stream=stream.name)
        by_partition: dict[SourcePartition, list[int]] = {}
        for each in gone:
            partition = SourcePartition(each.source, each.partition)
            by_partition.setdefault(partition, []).append(each.offset)
        absent = before.plus(
            (each, DROPPED, Offsets.of(offsets)) for each, offsets in by_partition.items()
        )

        def guard(base: Table) -> None:
            key = ABSENT_PREFIX + stream.name
            if base.properties.get(key) != version.properties.get(key):
                detail, reason = "other letters were dropped", ConflictReason.ROWS_DELETED
                raise CommitConflictError(str(dead.name), detail, reason=reason)

        done = remove_from(
            dead,
            version,
            stream,
            gone,
            run_id=uuid.uuid4().hex,
            properties=absent.note(),
            guard=guard,
        )
        return len(gone) if done else 0

    return until_it_lands(dead, attempt)


def _droppable(
    lake: OpenLake, stream: Stream, version: TableVersion, choice: Choice
) -> tuple[set[Coordinates], dict[str, int]]:
    table = lake.table(stream.table)
    is_taken = taken_by(table, table.head().properties, stream)
    found: set[Coordinates] = set()
    reasons: dict[str, int] = {}
    columns = ("error_code", *COORDINATES.names[:3])
    for batch in version.batches(columns=columns, partitions=[(stream.name,)]):
        for code, *at in zip(
            *(column.to_pylist() for column in batch.filter(choice.mask(batch)).columns),
            strict=True,
        ):
            each = Coordinates(*at)
            if is_taken(SourcePartition(*each[:2]), each.offset):
                found.add(each)
                reasons[code] = reasons.get(code, 0) + 1
    return found, reasons
