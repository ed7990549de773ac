"""Write, audit, publish: rows reach the readers of `main` only after checks have seen them.

They are written on a branch of their own, `audit_<id>`, which readers of the table do not see. What
passes is published; what does not stays on its branch to be looked at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pyiceberg.table.refs import MAIN_BRANCH

from headrace.crash_points import crash_point
from headrace.errors import AlreadyPublishedError
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.commit_log import WAP_ID
from headrace.tables.lake import LakeTable
from headrace.tables.publishing.cherry_pick import Holdings
from headrace.tables.publishing.publish import Check, Published, apply_publish, plan_publish
from headrace.tables.refs import refs

BRANCH_PREFIX = "audit_"


@dataclass(frozen=True, kw_only=True)
class AuditBranch:
    """Where to write rows that are to be audited; pass `branch` to the commits."""

    audit_id: str
    branch: str
    base_id: int  # the head of `main` that it began at

    def provenance(self, provenance: Provenance) -> Provenance:
        """Mark a commit as part of this audit, so that the same audit is not published twice."""
        return replace(provenance, notes={**provenance.notes, WAP_ID: self.audit_id})


def write_audit_publish(
    table: LakeTable,
    audit_id: str,
    *,
    write: Callable[[AuditBranch], None],
    checks: Mapping[str, Check],
) -> Published:
    """Write on a branch, run the checks there, and publish what passes.

    If `write` fails the branch is dropped again. If a check fails, or `main` has gone another way
    and the branch did more than append, the branch is left and `main` is as it was. A process that
    is killed leaves the branch too; whoever drops it may run the same audit again.

    Args:
        table: The table; if it is empty it gets a first commit without rows.
        audit_id: Names the audit, for good: one that is published cannot be run again.
        write: Commits to the branch, with provenance that the branch has marked.
        checks: What must hold, by name; see `headrace.tables.publishing.checks`.

    Raises:
        AlreadyPublishedError: If an audit of this id is published.
        RefExistsError: If the branch is there already: it is being written, or was left behind.
        AuditFailedError, BranchDivergedError: See above.
        ValueError: If `write` committed something that is not marked as of this audit.

    """
    begun = begin(table, audit_id)
    try:
        write(begun)
        _refuse_unmarked(table, begun)
    except BaseException:
        head_id = refs.branches(table).get(begun.branch)
        if head_id is not None:
            refs.drop(table, begun.branch, snapshot_id=head_id)
        raise
    crash_point("wap.after_write")
    plan = plan_publish(table, begun.branch, checks=checks)
    done = apply_publish(table, plan)
    crash_point("wap.after_publish")
    refs.drop(table, begun.branch, snapshot_id=plan.head_id)
    return done


def begin(table: LakeTable, audit_id: str) -> AuditBranch:
    """Start the branch of an audit at the head of `main`; one of many callers gets it.

    Raises:
        AlreadyPublishedError, RefExistsError: See `write_audit_publish`.
        InvalidNameError: If the id makes no name for a branch.

    """
    name = f"{BRANCH_PREFIX}{audit_id}"
    if table.head().snapshot_id is None:
        operations.append(
            table, [], provenance=Provenance()
        )  # a branch needs a snapshot to begin at
    base_id = refs.create_branch(table, name, at=MAIN_BRANCH, exclusive=True)
    # only now: who held the branch before may have published and dropped it a moment ago
    found = Holdings(table, table.iceberg().metadata, branch=MAIN_BRANCH).audit(audit_id)
    if found is not None:
        refs.drop(table, name, snapshot_id=base_id)
        raise AlreadyPublishedError(str(table.name), f"audit `{audit_id}`", snapshot_id=found)
    return AuditBranch(audit_id=audit_id, branch=name, base_id=base_id)


def _refuse_unmarked(table: LakeTable, begun: AuditBranch) -> None:
    head = table.head(begun.branch)
    if head.snapshot_id != begun.base_id and head.summary.get(WAP_ID) != begun.audit_id:
        msg = (
            f"commit {head.snapshot_id} on `{begun.branch}` does not say which audit it is of: give "
            "commits the `provenance` that the branch has marked"
        )
        raise ValueError(msg)
