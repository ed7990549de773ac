"""One import of one Paimon table into one table of the lake: what it reads, and its commits."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyiceberg.table import Table

from headrace.clock import time_at
from headrace.crash_points import crash_point
from headrace.errors import FencedError, PaimonSnapshotNotFoundError
from headrace.identifiers import TableName
from headrace.interop.paimon import support
from headrace.interop.paimon.facts import Changes, PaimonSnapshot
from headrace.interop.paimon.lakes import refuse_rows_of_another
from headrace.interop.paimon.plan import Begin, ImportPlan, plan_import
from headrace.interop.paimon.rows import (
    Shape,
    TakenAs,
    as_features,
    change_rows,
    inserted,
    state_features,
    state_rows,
    with_coordinates,
)
from headrace.interop.paimon.table import PaimonTable
from headrace.interop.paimon.token import FENCE, Token, consumer_of, offsets_of, token_of
from headrace.tables.commits.adopt import fresh
from headrace.tables.commits.operations import Fence, Provenance, append, overwrite
from headrace.tables.declare import declare_table
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.refs.refs import tag as set_tag
from headrace.tables.writer import TableWriter


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """What an import did: the snapshots it took, its rows, and where the target is now.

    `snapshot_id` is the newest snapshot of the Paimon table that the target has, and None where the
    Paimon table has none.
    """

    table: str
    target: TableName
    taken_as: TakenAs
    commits: int
    rows: int
    snapshots: int
    snapshot_id: int | None


class Importer:
    """One import of one table into one target."""

    def __init__(
        self,
        lake: OpenLake,
        table: PaimonTable,
        target: TableName,
        shape: Shape,
        *,
        partition_by: Sequence[str],
        properties: Mapping[str, str],
    ) -> None:
        self._table, self._shape, self._name = table, shape, target
        support.refuse_unknown(table.definition, version=table.version)
        refuse_rows_of_another(lake, table.definition)
        if shape.taken_as is not TakenAs.STATE:
            self._changes = support.changes_of(table.definition)
        self._schema = shape.schema
        self._lake, self._partition_by, self._properties = lake, partition_by, properties
        self._created_ms = table.created_ms()
        self._token = self._read_token(lake, target)
        self._run_id = uuid.uuid4().hex
        self._commits = self._rows = self._reached = 0

    def _read_token(self, lake: OpenLake, target: TableName) -> Token | None:
        head = lake.head_of(target)
        if head is None:
            return None
        return token_of(
            head.properties,
            target=str(target),
            table=self._table.name,
            taken_as=self._shape.taken_as,
            has_rows=head.snapshot_id is not None,
        )

    def run(self, *, begin: Begin, hold: bool, rows_per_commit: int) -> ImportResult:
        """Append what the target has not, in commits that take whole snapshots."""
        plan = plan_import(
            self._table.name,
            self._table.snapshots(),
            target=str(self._name),
            token=self._token,
            created_ms=self._created_ms,
            changes=self._changes,
            begin=begin,
            is_complete=self._is_complete,
        )
        if plan.state is not None:
            support.refuse_state(self._table.definition)
        target = self._declared()
        for group in self._groups(plan):
            self._commit_changes(target, group, rows_per_commit=rows_per_commit)
        if hold and self._token is not None:
            self._table.hold(
                consumer_of(str(self._name)), from_snapshot_id=self._token.snapshot_id + 1
            )
        taken = len(plan.snapshots) + (plan.state is not None)
        return self._result(snapshots=taken)

    def replace(self, *, tag: str | None) -> ImportResult:
        """Replace the rows of the target by those of the newest snapshot, or of a tag."""
        support.refuse_state(self._table.definition)
        snapshot = self._wanted(tag)
        token = self._token_at(snapshot)
        if self._token in (token, replace(token, created_ms=0)):  # as earlier versions wrote it
            self._tag(self._lake.table(self._name), tag)
            return self._result(snapshots=0)
        support.refuse_unmerged(
            self._table.definition,
            unmerged=sum(f.level == 0 for f in self._table.files_of(snapshot.id, tag=tag)),
        )
        target = self._declared()
        with TableWriter(target) as writer:
            self._write(writer, state_rows(self._table, snapshot, tag=tag))
        crash_point("paimon.after_write")
        expected = self._token

        def guard(base: Table) -> None:
            found = Token.of(base.properties)
            if found != expected:
                name = str(self._name)
                raise FencedError(name, expected=str(expected), found=str(found))

        with fresh(target, writer.files):
            overwrite(
                target,
                writer.files,
                provenance=self._provenance(token),
                properties=token.to_properties(),
                guard=guard,
            )
        self._token, self._commits = token, 1
        self._tag(target, tag)
        return self._result(snapshots=1)

    def _wanted(self, tag: str | None) -> PaimonSnapshot:
        if tag is not None:
            found = self._table.tags().get(tag)
        else:
            found = next(reversed(self._table.snapshots()), None)
        if found is None:
            wanted = "snapshot yet" if tag is None else f"tag `{tag}`"
            raise PaimonSnapshotNotFoundError(self._table.name, wanted)
        return found

    def _declared(self) -> LakeTable:
        return declare_table(
            self._lake,
            self._name,
            self._schema,
            partition_by=self._partition_by,
            properties=self._properties,
        )

    def _tag(self, target: LakeTable, tag: str | None) -> None:
        head = target.head().snapshot_id
        if tag is not None and head is not None:
            set_tag(target, tag, snapshot_id=head)

    def _is_complete(self, snapshot: PaimonSnapshot) -> bool:
        if self._changes is not Changes.CHANGELOG:
            return True
        return all(file.level > 0 for file in self._table.files_of(snapshot.id))

    def _groups(self, plan: ImportPlan) -> "Iterator[list[_Step]]":
        """Yield the snapshots that one commit takes at least: the state alone, changes together."""
        if plan.state is not None:
            yield [_Step(snapshot=plan.state, is_state=True)]
        if plan.snapshots:
            yield [_Step(snapshot=each, is_state=False) for each in plan.snapshots]

    def _commit_changes(
        self, target: LakeTable, steps: "Sequence[_Step]", *, rows_per_commit: int
    ) -> None:
        left = list(steps)
        while left:
            with TableWriter(target) as writer:
                step = left.pop(0)
                rows = self._write(writer, self._rows_of(step))
                while left and rows < rows_per_commit:
                    step = left.pop(0)
                    rows += self._write(writer, self._rows_of(step))
            crash_point("paimon.after_write")
            token = self._token_at(step.snapshot)
            fence = Fence(key=FENCE, expected=offsets_of(self._token), offsets=offsets_of(token))
            with fresh(target, writer.files):
                append(
                    target,
                    writer.files,
                    provenance=self._provenance(token),
                    fence=fence,
                    properties=token.to_properties(),
                )
            self._token = token
            self._commits += 1
            crash_point("paimon.after_commit")

    def _rows_of(self, step: "_Step") -> Iterator[pa.RecordBatch]:
        table, shape, snapshot = self._table, self._shape, step.snapshot
        if step.is_state:
            found = inserted(state_rows(table, snapshot))
        else:
            found = change_rows(table, snapshot, self._changes)
        numbered = with_coordinates(found, snapshot, table=table.name)
        if shape.taken_as is not TakenAs.FEATURES:
            return numbered
        reduce: Callable[..., Iterator[pa.RecordBatch]] = (
            state_features if step.is_state else as_features
        )
        keys = table.definition.keys
        at = time_at(self._reached_ms(snapshot))
        return reduce(numbered, keys=keys, committed_at=at, event_time=shape.event_time)

    def _write(self, writer: TableWriter, batches: Iterator[pa.RecordBatch]) -> int:
        rows = 0
        for batch in batches:
            writer.write(batch)
            rows += batch.num_rows
        self._rows += rows
        return rows

    def _token_at(self, snapshot: PaimonSnapshot) -> Token:
        return Token(
            table=self._table.name,
            taken_as=self._shape.taken_as,
            snapshot_id=snapshot.id,
            committed_at_ms=snapshot.committed_at_ms,
            reached_ms=self._reached_ms(snapshot),
            created_ms=self._created_ms,
        )

    def _reached_ms(self, snapshot: PaimonSnapshot) -> int:
        """Return when all of a snapshot is known: the clocks of two writers may differ."""
        before = 0 if self._token is None else self._token.reached_ms
        self._reached = max(self._reached, before, snapshot.committed_at_ms)
        return self._reached

    def _provenance(self, token: Token) -> Provenance:
        return Provenance(run_id=self._run_id, notes=token.to_properties())

    def _result(self, *, snapshots: int) -> ImportResult:
        return ImportResult(
            table=self._table.name,
            target=self._name,
            taken_as=self._shape.taken_as,
            commits=self._commits,
            rows=self._rows,
            snapshots=snapshots,
            snapshot_id=None if self._token is None else self._token.snapshot_id,
        )


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One snapshot to take: its state as a whole, or its changes."""

    snapshot: PaimonSnapshot
    is_state: bool
