"""Roll `main` back to an earlier snapshot, together with its source offsets.

A rollback only moves a ref: the snapshots it leaves stay until they expire, or as long as a ref
points to them. The table properties set by their commits, source offsets above all, are restored in
the same swap, so that the next ingest reads the rolled-back records again.
"""

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update import TableUpdate

from headrace.definitions.properties import OFFSETS_PREFIX
from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    NotAnAncestorError,
    SourceLedgerError,
)
from headrace.iceberg.updates import branch_of, moved_ref, property_updates, resolve
from headrace.identifiers import TableName
from headrace.registry import CommitRecord
from headrace.tables.commits.attempt import commit_updates
from headrace.tables.commits.kept_rows import refuse_removal
from headrace.tables.history.ancestry import Ancestry
from headrace.tables.history.commit_log import record_main
from headrace.tables.history.property_log import SEALED, known_moves, undo_moves
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion


@dataclass(frozen=True, kw_only=True)
class OffsetMove:
    """The next record to read of one source, before and after a rollback; None means its start."""

    stream: str
    source: str
    before: int | None
    after: int | None


@dataclass(frozen=True, kw_only=True)
class RollbackPlan:
    """What a rollback of `main` discards; falsy if `main` is there already.

    An incremental reader that has seen one of the `lost` commits gets `SnapshotNotFoundError` for
    its start and has to read the whole table.
    """

    table: TableName
    from_id: int
    to_id: int
    lost: tuple[CommitRecord, ...]  # newest first
    rows_before: int
    rows_after: int
    properties: Mapping[str, str | None]
    offsets: tuple[OffsetMove, ...]
    kept_by: tuple[str, ...]  # refs that keep lost commits from expiring

    def __bool__(self) -> bool:
        return self.from_id != self.to_id


def plan_rollback(table: LakeTable, to: int | str) -> RollbackPlan:
    """Plan a rollback of `main` to a snapshot id, tag or branch. Changes nothing.

    Raises:
        SnapshotNotFoundError: If there is no such snapshot, or it has expired.
        NotAnAncestorError: If `main` does not descend from it.
        OffsetsUnknownError: If the source offsets at that snapshot cannot be determined.
        KeyedRowsError: If a job of Flink keeps its rows in a Paimon table too.

    """
    loaded = table.iceberg()
    metadata = loaded.metadata
    head = branch_of(metadata, MAIN_BRANCH, table=table.name)
    to_id = resolve(metadata, to, table=table.name)
    refuse_removal(str(table.name), metadata.properties)
    lost = _path(table, metadata, head.snapshot_id, to_id)
    properties = _properties_before(table, metadata, lost)
    gone = {commit.snapshot_id for commit in lost}
    return RollbackPlan(
        table=table.name,
        from_id=head.snapshot_id,
        to_id=to_id,
        lost=lost,
        rows_before=_rows(table, loaded, head.snapshot_id),
        rows_after=_rows(table, loaded, to_id),
        properties=properties,
        offsets=_offset_moves(table, metadata.properties, properties),
        kept_by=tuple(
            name
            for name, ref in sorted(metadata.refs.items())
            if name != MAIN_BRANCH and ref.snapshot_id in gone
        ),
    )


def apply_rollback(table: LakeTable, plan: RollbackPlan) -> None:
    """Roll `main` back as planned, in one swap. Idempotent.

    Raises:
        CommitConflictError: If `main` has moved since the plan was made; nothing was changed.
        KeyedRowsError: If a job of Flink keeps its rows in a Paimon table too; nothing was changed.
        DatabaseUnavailableError: If the registry is unavailable; nothing was changed.

    """
    found: list[tuple[CommitRecord, ...]] = []

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        metadata = current.metadata
        head = branch_of(metadata, MAIN_BRANCH, table=table.name)
        if head.snapshot_id == plan.to_id:
            return ()
        refuse_removal(str(table.name), metadata.properties)
        if head.snapshot_id != plan.from_id:
            detail = f"`main` moved to snapshot {head.snapshot_id} after the rollback was planned"
            reason = ConflictReason.REF_MOVED
            raise CommitConflictError(str(table.name), detail, reason=reason, ref=MAIN_BRANCH)
        to_id = resolve(metadata, plan.to_id, table=table.name)
        lost = _path(table, metadata, head.snapshot_id, to_id)
        found[:] = [lost]
        properties = _properties_before(table, metadata, lost)
        # before the swap: a crash between the two must not leave builds recorded whose rows are
        # gone; if the swap then fails, the next record of `main` corrects the marks
        table.lake.registry.move_main(str(table.name), lost=[each.snapshot_id for each in lost])
        return (moved_ref(MAIN_BRANCH, head, snapshot_id=to_id), *property_updates(properties))

    commit_updates(table, updates_of)
    for lost in found:
        record_main(table, lost=lost)


def _path(
    table: LakeTable, metadata: TableMetadata, from_id: int, to_id: int
) -> tuple[CommitRecord, ...]:
    history = Ancestry.of(table, metadata)
    path = history.path(from_id, back_to=to_id)
    if path is None:
        raise NotAnAncestorError(
            str(table.name), ancestor=f"snapshot {to_id}", descendant=f"`main` at {from_id}"
        )
    return path


def _properties_before(
    table: LakeTable, metadata: TableMetadata, lost: Sequence[CommitRecord]
) -> dict[str, str | None]:
    moves = known_moves(lost, properties=metadata.properties, table=table.name)
    return undo_moves(metadata.properties, moves, table=str(table.name))


def _rows(table: LakeTable, loaded: Table, snapshot_id: int) -> int:
    return TableVersion.of(
        table.name,
        loaded.metadata,
        loaded.metadata_location,
        loaded.io,
        snapshot_id,
        inspected=table.lake.inspected,
    ).row_count


def _offset_moves(
    table: LakeTable, properties: Mapping[str, str], changed: Mapping[str, str | None]
) -> tuple[OffsetMove, ...]:
    moves: list[OffsetMove] = []
    for name, text in sorted(changed.items()):
        if not name.startswith(OFFSETS_PREFIX):
            continue
        before: dict[str, int] = json.loads(properties.get(name, "{}"))
        after: dict[str, int] = json.loads(text or "{}")
        moved = {each for each in before | after if before.get(each) != after.get(each)} - {SEALED}
        moved |= _sealed_between(table, after.get(SEALED), before.get(SEALED))
        was, will_be = (_offsets_of(table, each, moved) for each in (before, after))
        moves += [
            OffsetMove(
                stream=name.removeprefix(OFFSETS_PREFIX),
                source=source,
                before=was.get(source),
                after=will_be.get(source),
            )
            for source in sorted(moved)
            if was.get(source) != will_be.get(source)
        ]
    return tuple(moves)


def _sealed_between(table: LakeTable, older: int | None, newer: int | None) -> set[str]:
    if newer is None or newer == older:
        return set()
    with contextlib.suppress(SourceLedgerError):
        return table.lake.registry.sources.sealed_since(newer, older=older)
    return set()


def _offsets_of(
    table: LakeTable, offsets: Mapping[str, int], sources: Collection[str]
) -> dict[str, int]:
    """Look up sources in a table's offsets, then in the source ledger."""
    found = {source: offsets[source] for source in sources if source in offsets}
    if SEALED in offsets:
        rest = [source for source in sources if source not in found]
        # a rollback is how a damaged ledger is repaired: the plan then leaves these sources out
        with contextlib.suppress(SourceLedgerError):
            sealed = table.lake.registry.sources.find(offsets[SEALED], rest)
            found |= {source: each.records for source, each in sealed.items()}
    return found
