"""Tags and branches: create, list, drop, and fast-forward without losing commits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.update import TableUpdate

from headrace.errors import (
    CommitConflictError,
    ConflictReason,
    InvalidNameError,
    NotAnAncestorError,
    ProtectedRefError,
    RefExistsError,
    Remedy,
    SnapshotNotFoundError,
)
from headrace.iceberg import retention
from headrace.iceberg.retention import FOREVER_MS
from headrace.iceberg.updates import (
    branch_of,
    drop_ref,
    make_ref,
    moved_ref,
    property_updates,
    resolve,
    set_ref,
)
from headrace.identifiers import TableName
from headrace.registry import CommitRecord
from headrace.tables.commits.attempt import commit_updates
from headrace.tables.commits.kept_rows import KEEPS_ROWS, refuse_removal
from headrace.tables.history.ancestry import Ancestry
from headrace.tables.history.commit_log import record_main
from headrace.tables.history.property_log import known_moves, redo_moves
from headrace.tables.lake import LakeTable

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,126}")
_MS = 1000


@dataclass(frozen=True, kw_only=True)
class Ref:
    """One name for a snapshot; `kind` is `branch`, `tag` or `lease`."""

    name: str
    kind: str
    snapshot_id: int
    committed_at_ms: int | None
    ends_at_ms: int | None


@dataclass(frozen=True, kw_only=True)
class Moved:
    """The head of a branch before and after a move; equal if it was there already."""

    table: TableName
    branch: str
    before_id: int
    after_id: int


@dataclass(frozen=True, kw_only=True)
class DropPlan:
    """What dropping a tag or branch loses: `lost` are commits that no other ref leads to."""

    table: TableName
    name: str
    kind: str
    snapshot_id: int
    lost: tuple[CommitRecord, ...]

    @property
    def rows_lost(self) -> int:
        """Rows that the lost commits added."""
        return sum(commit.rows_added for commit in self.lost)


def refs(table: LakeTable) -> tuple[Ref, ...]:
    """List every ref, `main` first, then branches, tags and leases by name."""
    metadata = table.iceberg().metadata
    listed = [_listed(metadata, name, ref) for name, ref in metadata.refs.items()]
    order = {"branch": 0, "tag": 1, "lease": 2}
    return tuple(sorted(listed, key=lambda r: (r.name != MAIN_BRANCH, order[r.kind], r.name)))


def tags(table: LakeTable) -> dict[str, int]:
    """Return the snapshot id of every tag, without leases."""
    return {ref.name: ref.snapshot_id for ref in refs(table) if ref.kind == "tag"}


def branches(table: LakeTable) -> dict[str, int]:
    """Return the head of every branch, `main` first."""
    return {ref.name: ref.snapshot_id for ref in refs(table) if ref.kind == "branch"}


def tag(table: LakeTable, name: str, *, snapshot_id: int, max_age_s: float | None = None) -> None:
    """Tag a snapshot, which then does not expire. Idempotent.

    With a maximum age, counted from the time of the snapshot, the tag is dropped by the first
    expiry of snapshots after that.

    Raises:
        InvalidNameError: If the name is not lower-case letters, digits, `_` and `-`.
        ProtectedRefError: If the name is reserved for leases.
        SnapshotNotFoundError: If the snapshot is gone.
        RefExistsError: If the name points elsewhere already.
        ValueError: If the age is not positive.

    """
    _check_name(table, name, kind="tag")
    if max_age_s is not None and max_age_s <= 0:
        msg = f"`max_age_s` must be positive, not {max_age_s}"
        raise ValueError(msg)
    # a default age for refs, now or later a table property, must not end a tag without an age
    age_ms = FOREVER_MS if max_age_s is None else max(1, round(max_age_s * _MS))
    wanted = make_ref(snapshot_id, SnapshotRefType.TAG, max_age_ms=age_ms)
    commit_updates(table, lambda current: _create(table, current.metadata, name, wanted))


def create_branch(
    table: LakeTable, name: str, *, at: int | str = MAIN_BRANCH, exclusive: bool = False
) -> int:
    """Create a branch at a snapshot id, tag or branch, and return its head.

    Commits never create a branch. Idempotent if the branch is still at that snapshot, unless
    `exclusive`: then only one of several callers succeeds.

    Raises:
        InvalidNameError, ProtectedRefError: See `tag`.
        SnapshotNotFoundError: If there is no such snapshot.
        RefExistsError: If the name points elsewhere already, or exists and is asked `exclusive`.

    """
    _check_name(table, name, kind="branch")
    landed: list[int] = []

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        metadata = current.metadata
        snapshot_id = resolve(metadata, at, table=table.name)
        if exclusive and name in metadata.refs:
            detail, reason = f"`{name}` exists already", ConflictReason.REF_EXISTS
            raise RefExistsError(str(table.name), detail, reason=reason, ref=name)
        landed[:] = [snapshot_id]
        wanted = make_ref(snapshot_id, SnapshotRefType.BRANCH)
        return _create(table, metadata, name, wanted)

    commit_updates(table, updates_of)
    return landed[0]


def plan_drop(table: LakeTable, name: str) -> DropPlan:
    """Plan dropping a tag or branch: which commits would be lost. Changes nothing.

    Raises:
        SnapshotNotFoundError: If there is no such ref.
        ProtectedRefError: If it is `main` or a lease.

    """
    metadata = table.iceberg().metadata
    ref = _droppable(table, metadata, name)
    others = [r.snapshot_id for other, r in metadata.refs.items() if other != name]
    history = Ancestry.of(table, metadata)
    return DropPlan(
        table=table.name,
        name=name,
        kind=ref.snapshot_ref_type.value,
        snapshot_id=ref.snapshot_id,
        lost=history.only_in(ref.snapshot_id, others=others),
    )


def apply_drop(table: LakeTable, plan: DropPlan) -> None:
    """Drop the ref as planned. Idempotent.

    Snapshots that become unreferenced expire like others.

    Raises:
        CommitConflictError: If the ref has moved since the plan was made.

    """
    drop(table, plan.name, snapshot_id=plan.snapshot_id)


def drop(table: LakeTable, name: str, *, snapshot_id: int) -> None:
    """Drop a tag or branch that points to `snapshot_id`. Idempotent.

    Raises:
        CommitConflictError: If it points to another snapshot.
        ProtectedRefError: If it is `main` or a lease.

    """

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        if name not in current.metadata.refs:
            return ()
        found = _droppable(table, current.metadata, name).snapshot_id
        if found != snapshot_id:
            detail = f"`{name}` moved to snapshot {found} concurrently"
            reason = ConflictReason.REF_MOVED
            raise CommitConflictError(str(table.name), detail, reason=reason, ref=name)
        return (drop_ref(name),)

    commit_updates(table, updates_of)


def fast_forward(
    table: LakeTable, branch: str, *, to: str, expected_id: int | None = None
) -> Moved:
    """Fast-forward a branch to another ref, if that ref descends from the branch.

    If a commit lands on the branch concurrently, the check is repeated; no commit is ever lost.
    Fast-forwarding `main` also moves the table properties (source offsets) set by these commits.

    Args:
        table: The table.
        branch: The branch to move.
        to: The tag or branch to move it to.
        expected_id: If given, `to` must still point to this snapshot.

    Raises:
        SnapshotNotFoundError: If one of the two does not exist.
        NotAnAncestorError: If the head of the branch is not an ancestor of `to`.
        OffsetsUnknownError: If the offsets that belong to the rows of `to` cannot be determined.
        KeyedRowsError: If `to` lacks rows that a job of Flink keeps in a Paimon table.
        CommitConflictError: If `to` moved away from `expected_id`.

    """
    moved: list[tuple[int, int, tuple[CommitRecord, ...]]] = []

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        metadata = current.metadata
        head = branch_of(metadata, branch, table=table.name)
        target = resolve(metadata, to, table=table.name)
        if expected_id is not None and target != expected_id:
            detail = f"`{to}` moved to snapshot {target} concurrently"
            reason = ConflictReason.REF_MOVED
            raise CommitConflictError(str(table.name), detail, reason=reason, ref=to)
        history = Ancestry.of(table, metadata)
        path = history.path(target, back_to=head.snapshot_id)
        if path is None:
            raise NotAnAncestorError(
                str(table.name),
                ancestor=f"`{branch}` at snapshot {head.snapshot_id}",
                descendant=f"`{to}` at {target}",
            )
        if not path:
            moved[:] = moved or [(target, target, ())]
            return ()
        moved[:] = [(head.snapshot_id, target, path)]
        if branch == MAIN_BRANCH and any(each.operation not in KEEPS_ROWS for each in path):
            refuse_removal(str(table.name), metadata.properties)
        changed = _properties_after(table, metadata, path) if branch == MAIN_BRANCH else {}
        return (moved_ref(branch, head, snapshot_id=target), *property_updates(changed))

    commit_updates(table, updates_of)
    before_id, after_id, path = moved[0]
    if branch == MAIN_BRANCH and path:
        record_main(table, gained=path)
    return Moved(table=table.name, branch=branch, before_id=before_id, after_id=after_id)


def _properties_after(
    table: LakeTable, metadata: TableMetadata, path: Sequence[CommitRecord]
) -> dict[str, str | None]:
    moves = known_moves(path, properties=metadata.properties, table=table.name)
    return redo_moves(metadata.properties, reversed(moves), table=str(table.name))


def _listed(metadata: TableMetadata, name: str, ref: SnapshotRef) -> Ref:
    snapshot = metadata.snapshot_by_id(ref.snapshot_id)
    return Ref(
        name=name,
        kind="lease" if retention.is_lease(name, ref) else ref.snapshot_ref_type.value,
        snapshot_id=ref.snapshot_id,
        committed_at_ms=None if snapshot is None else snapshot.timestamp_ms,
        ends_at_ms=retention.ends_at_ms(metadata, ref),
    )


def _check_name(table: LakeTable, name: str, *, kind: str) -> None:
    if not _NAME.fullmatch(name):
        rule = "a lower-case letter or `_`, then up to 126 lower-case letters, digits, `_` or `-`"
        raise InvalidNameError(name, kind=kind, rule=rule)
    if name.startswith(retention.LEASE_PREFIX):
        raise ProtectedRefError(str(table.name), name, "such names are reserved for leases")


def _create(
    table: LakeTable, metadata: TableMetadata, name: str, wanted: SnapshotRef
) -> tuple[TableUpdate, ...]:
    found = metadata.refs.get(name)
    if found is not None:
        if found.snapshot_ref_type != wanted.snapshot_ref_type:
            kind = found.snapshot_ref_type.value
            detail, reason = f"`{name}` is a {kind} already", ConflictReason.REF_OF_OTHER_KIND
            raise RefExistsError(str(table.name), detail, reason=reason, ref=name)
        if found.snapshot_id == wanted.snapshot_id:
            same_age = found.max_ref_age_ms == wanted.max_ref_age_ms
            return () if same_age else (set_ref(name, wanted),)
        detail = f"`{name}` already points to snapshot {found.snapshot_id}"
        reason = ConflictReason.REF_ELSEWHERE
        raise RefExistsError(str(table.name), detail, reason=reason, ref=name)
    if metadata.snapshot_by_id(wanted.snapshot_id) is None:
        raise SnapshotNotFoundError(str(table.name), f"snapshot {wanted.snapshot_id}")
    return (set_ref(name, wanted),)


def _droppable(table: LakeTable, metadata: TableMetadata, name: str) -> SnapshotRef:
    ref = metadata.refs.get(name)
    if ref is None:
        raise SnapshotNotFoundError(str(table.name), f"tag or branch `{name}`")
    if name == MAIN_BRANCH:
        raise ProtectedRefError(str(table.name), name, "it is the table")
    if retention.is_lease(name, ref):
        detail = "it is a lease, which its holder releases or which lapses"
        remedy = Remedy.run_on_catalog("tables", "leases", str(table.name), advice="see the leases")
        raise ProtectedRefError(str(table.name), name, detail, remedy=remedy)
    return ref
