"""Write, audit, publish: rows become visible on `main` only after checks have passed.

They are written to a branch `audit_<id>`, which readers of `main` do not see. If the checks pass it
is published; otherwise the rows stay on the branch for inspection.
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
    """The branch to write audited rows to; pass `branch` to the commits."""

    audit_id: str
    branch: str
    base_id: int  # the head of `main` it started from

    def provenance(self, provenance: Provenance) -> Provenance:
        """Mark a commit as part of this audit, which prevents publishing the audit twice."""
        return replace(provenance, notes={**provenance.notes, WAP_ID: self.audit_id})


def write_audit_publish(
    table: LakeTable,
    audit_id: str,
    *,
    write: Callable[[AuditBranch], None],
    checks: Mapping[str, Check],
) -> Published:
    """Write on a branch, run the checks there, and publish it if they pass.

    If `write` fails, the branch is dropped. If a check fails, or `main` has diverged and the branch
    did more than append, the branch is kept and `main` is unchanged. A killed process leaves the
    branch too; drop it to run the same audit again.

    Args:
        table: The table; if it has no commits it gets an empty first commit.
        audit_id: Permanent id of the audit: once published, it cannot be run again.
        write: Commits to the branch, with provenance marked by `AuditBranch.provenance`.
        checks: What must hold, by name; see `headrace.tables.publishing.checks`.

    Raises:
        AlreadyPublishedError: If an audit of this id is published already.
        RefExistsError: If the branch exists already: it is being written, or was left behind.
        AuditFailedError, BranchDivergedError: See above.
        ValueError: If `write` made a commit that is not marked as part of this audit.

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
    """Create the branch of an audit at the head of `main`; only one of several callers succeeds.

    Raises:
        AlreadyPublishedError, RefExistsError: See `write_audit_publish`.
        InvalidNameError: If the id is not valid in a branch name.

    """
    name = f"{BRANCH_PREFIX}{audit_id}"
    if table.head().snapshot_id is None:
        operations.append(
            table, [], provenance=Provenance()
        )  # a branch needs a snapshot to start from
    base_id = refs.create_branch(table, name, at=MAIN_BRANCH, exclusive=True)
    # checked only now: the previous owner of the branch may just have published and dropped it
    found = Holdings(table, table.iceberg().metadata, branch=MAIN_BRANCH).audit(audit_id)
    if found is not None:
        refs.drop(table, name, snapshot_id=base_id)
        raise AlreadyPublishedError(str(table.name), f"audit `{audit_id}`", snapshot_id=found)
    return AuditBranch(audit_id=audit_id, branch=name, base_id=base_id)


def _refuse_unmarked(table: LakeTable, begun: AuditBranch) -> None:
    head = table.head(begun.branch)
    if head.snapshot_id != begun.base_id and head.summary.get(WAP_ID) != begun.audit_id:
        msg = (
            f"commit {head.snapshot_id} on `{begun.branch}` is not marked as part of the audit: pass "
            "commits the result of `AuditBranch.provenance`"
        )
        raise ValueError(msg)
