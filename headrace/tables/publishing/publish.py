"""Publish a branch: move what was written and audited on it to `main`, all of it or nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH

from headrace.errors import (
    AlreadyPublishedError,
    AuditFailedError,
    BranchDivergedError,
    CherryPickReason,
    CommitConflictError,
    ConflictReason,
    NotAnAncestorError,
    ProtectedRefError,
)
from headrace.iceberg import schema
from headrace.iceberg.updates import branch_of
from headrace.identifiers import TableName
from headrace.registry import CommitRecord
from headrace.tables.history.ancestry import Ancestry
from headrace.tables.history.commit_log import sources_of
from headrace.tables.lake import LakeTable
from headrace.tables.publishing.cherry_pick import (
    Holdings,
    Refusal,
    cherry_pick_commits,
    refusal_of,
)
from headrace.tables.refs.refs import fast_forward
from headrace.tables.version import FileEntry, TableVersion, read_entry

_TRIES_MAX = (
    3  # `main` may move between plan and swap; then it is cherry-picked, which cannot conflict
)


class Way(StrEnum):
    """How a branch is published."""

    FAST_FORWARD = "fast-forward"  # `main` moves to the head of the branch
    CHERRY_PICK = "cherry-pick"  # `main` has diverged: append what the branch added
    NOTHING = "nothing"  # `main` has all of it already
    REFUSED = "refused"


@dataclass(frozen=True)
class Draft:
    """The contents of a branch before it is published, as checks see it.

    A check sees the table as of the start of the branch and what was written on the branch since,
    but not what `main` gained since.
    """

    table: LakeTable
    version: TableVersion
    since: int  # files of a later sequence number were written on the branch

    def new_files(self) -> tuple[FileEntry, ...]:
        """List the live files that were written on the branch."""
        return tuple(file for file in self.version.files() if file.sequence > self.since)

    def new_rows(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Read the rows of these files, one or all columns.

        Raises:
            CorruptFileError: If a file cannot be read.
            ValueError: If a column does not exist.

        """
        wanted = schema.to_arrow(self.table.iceberg().schema(), field_ids=True)
        names = wanted.names if columns is None else list(columns)
        unknown = [name for name in names if name not in wanted.names]
        if unknown:
            msg = f"`{self.table.name}` has no column `{unknown[0]}`"
            raise ValueError(msg)
        wanted = pa.schema([wanted.field(name) for name in names])
        for file in self.new_files():
            yield from read_entry(file, wanted, io=self.version.io)


Check = Callable[[Draft], str]  # what is wrong, in words; empty if nothing is


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check; `problem` is empty if it passed."""

    check: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class PublishPlan:
    """What publishing a branch would do; `refusal` is why it cannot be published, if so."""

    table: TableName
    branch: str
    head_id: int
    main_id: int
    way: Way
    commits: tuple[CommitRecord, ...]  # newest first
    refusal: Refusal | None = None
    findings: tuple[Finding, ...] = ()

    def __bool__(self) -> bool:
        return self.way in (Way.FAST_FORWARD, Way.CHERRY_PICK) and not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """The failed checks with their problems."""
        return tuple(f"{each.check}: {each.problem}" for each in self.findings if each.problem)

    @property
    def rows_added(self) -> int:
        """Rows that the commits added."""
        return sum(commit.rows_added for commit in self.commits)

    @property
    def rows_removed(self) -> int:
        """Rows that the commits removed."""
        return sum(commit.rows_removed for commit in self.commits)


@dataclass(frozen=True, kw_only=True)
class Published:
    """The result of publishing a branch; `snapshot_id` is the commit of `main` that contains it."""

    table: TableName
    branch: str
    way: Way
    snapshot_id: int
    rows_added: int
    rows_removed: int


def plan_publish(
    table: LakeTable, branch: str, *, checks: Mapping[str, Check] | None = None
) -> PublishPlan:
    """Plan publishing a branch, and run the checks on it. Changes nothing.

    If `main` is still where the branch started, it is fast-forwarded. If `main` has diverged and
    the branch only appended, its appends are cherry-picked in one commit. Otherwise the branch
    cannot be published.

    Raises:
        SnapshotNotFoundError: If there is no such branch, or the table is empty.
        ProtectedRefError: If it is `main` itself.

    """
    if branch == MAIN_BRANCH:
        raise ProtectedRefError(str(table.name), branch, "branches are published to it")
    current = table.iceberg()
    plan = _judge(table, current, branch)
    if plan.way is Way.NOTHING or not checks:
        return plan
    version = TableVersion.of(
        table.name,
        current.metadata,
        current.metadata_location,
        current.io,
        plan.head_id,
        inspected=table.lake.inspected,
    )
    oldest = min(commit.sequence_number for commit in plan.commits)
    draft = Draft(table, version, since=oldest - 1)
    found = tuple(Finding(check=name, problem=check(draft)) for name, check in checks.items())
    return replace(plan, findings=found)


def apply_publish(table: LakeTable, plan: PublishPlan) -> Published:
    """Publish a branch as planned and audited. Idempotent.

    The branch is kept. Of two concurrent callers one publishes and the other finds it done.

    Raises:
        AuditFailedError: If a check of the plan failed.
        BranchDivergedError: If `main` has diverged and the branch did more than append.
        CommitConflictError: If the branch has moved since the plan was made.
        OffsetsUnknownError: See `refs.fast_forward`.

    """
    if plan.failures:
        raise AuditFailedError(str(table.name), plan.branch, plan.failures)
    for _ in range(_TRIES_MAX):
        judged = _judge(table, table.iceberg(), plan.branch)
        _refuse_moved(table, plan, judged.head_id)
        if judged.refusal is not None:
            if _main_id(table, table.iceberg()) != judged.main_id:
                continue  # judged by two states of `main`: the registry said more than the table had
            raise BranchDivergedError(
                str(table.name), plan.branch, judged.refusal.detail, reason=judged.refusal.reason
            )
        if judged.way is Way.NOTHING:
            return _published(judged, snapshot_id=judged.main_id)
        if judged.way is Way.CHERRY_PICK:
            return _pick(table, judged)
        try:
            fast_forward(table, MAIN_BRANCH, to=plan.branch, expected_id=plan.head_id)
        except NotAnAncestorError:
            continue  # `main` moved concurrently
        return _published(judged, snapshot_id=plan.head_id)
    detail = f"`main` moved {_TRIES_MAX} times while `{plan.branch}` was being published"
    reason = ConflictReason.REF_MOVED
    raise CommitConflictError(str(table.name), detail, reason=reason, ref=MAIN_BRANCH)


def _judge(table: LakeTable, current: Table, branch: str) -> PublishPlan:
    metadata = current.metadata
    head_id = branch_of(metadata, branch, table=table.name).snapshot_id
    main_id = _main_id(table, current)
    history = Ancestry.of(table, metadata)
    base_id = history.common(head_id, main_id)
    commits = () if base_id == head_id else history.only_in(head_id, others=[main_id])
    if base_id == main_id and commits:
        way, refusal = Way.FAST_FORWARD, None
    elif base_id is None:
        detail = "the start of the branch is no longer known"
        way, refusal = Way.REFUSED, Refusal(CherryPickReason.BASE_EXPIRED, detail)
    else:
        held = Holdings(table, metadata, branch=MAIN_BRANCH)
        commits = tuple(c for c in commits if held.of(c).keys() != sources_of(c))
        why = (_refusal_of(c, held, properties=metadata.properties) for c in commits)
        refusal = next(filter(None, why), None)
        way = Way.NOTHING if not commits else Way.REFUSED if refusal else Way.CHERRY_PICK
    return PublishPlan(
        table=table.name,
        branch=branch,
        head_id=head_id,
        main_id=main_id,
        way=way,
        commits=commits,
        refusal=refusal,
    )


def _main_id(table: LakeTable, current: Table) -> int:
    return branch_of(current.metadata, MAIN_BRANCH, table=table.name).snapshot_id


def _refusal_of(
    commit: CommitRecord, held: Holdings, *, properties: Mapping[str, str]
) -> Refusal | None:
    there = held.of(commit)
    if there:
        detail = (
            f"commit {commit.snapshot_id} added rows of snapshot {min(there)}, which `main` has"
        )
        return Refusal(CherryPickReason.ROWS_ALREADY_THERE, detail)
    return refusal_of(commit, properties=properties)


def _pick(table: LakeTable, judged: PublishPlan) -> Published:
    def is_still_that(current: Table) -> None:
        found = branch_of(current.metadata, judged.branch, table=table.name).snapshot_id
        _refuse_moved(table, judged, found)

    try:
        done = cherry_pick_commits(
            table, judged.commits, tip_id=judged.head_id, branch=MAIN_BRANCH, guard=is_still_that
        )
    except AlreadyPublishedError as error:  # by a concurrent caller
        return _published(
            replace(judged, way=Way.NOTHING, commits=()), snapshot_id=error.snapshot_id
        )
    return _published(judged, snapshot_id=done.snapshot_id)


def _refuse_moved(table: LakeTable, plan: PublishPlan, head_id: int) -> None:
    if head_id != plan.head_id:
        detail = f"`{plan.branch}` moved to snapshot {head_id} after it was audited"
        reason = ConflictReason.REF_MOVED
        raise CommitConflictError(str(table.name), detail, reason=reason, ref=plan.branch)


def _published(plan: PublishPlan, *, snapshot_id: int) -> Published:
    return Published(
        table=plan.table,
        branch=plan.branch,
        way=plan.way,
        snapshot_id=snapshot_id,
        rows_added=plan.rows_added,
        rows_removed=plan.rows_removed,
    )
