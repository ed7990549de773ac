"""Errors of tags, branches, publishing and leases."""

from headrace.errors.base import NOTHING_CHANGED, LakeError
from headrace.errors.reasons import CherryPickReason, ConflictReason
from headrace.errors.remedy import Remedy
from headrace.errors.tables import CommitConflictError


class RefExistsError(CommitConflictError):
    """A tag or branch of this name exists already, and names something else."""

    retryable = False

    def __init__(self, table: str, detail: str, *, reason: ConflictReason, ref: str) -> None:
        super().__init__(
            table,
            detail,
            reason=reason,
            ref=ref,
            remedy=Remedy.run_on_catalog(
                "tables", "refs", table, advice="use another name or drop that one first, see"
            ),
        )


class ProtectedRefError(LakeError):
    """A ref that must not be set or dropped by hand."""

    def __init__(self, table: str, ref: str, detail: str, *, remedy: Remedy | None = None) -> None:
        self.table, self.ref, self.detail = table, ref, detail
        super().__init__(f"`{ref}` of `{table}` was left as it is: {detail}", remedy=remedy)


class NotAnAncestorError(LakeError):
    """A ref would have to leave the history of what it is to be moved to, or from."""

    def __init__(self, table: str, *, ancestor: str, descendant: str) -> None:
        self.table, self.ancestor, self.descendant = table, ancestor, descendant
        super().__init__(
            f"{ancestor} of `{table}` is not an ancestor of {descendant}, so moving would lose "
            "commits that only one of them has",
            state=NOTHING_CHANGED,
        )


class BranchDivergedError(LakeError):
    """A branch cannot be published: `main` has other commits, and the branch did more than append."""

    def __init__(self, table: str, branch: str, detail: str, *, reason: CherryPickReason) -> None:
        self.table, self.branch, self.detail, self.reason = table, branch, detail, reason
        super().__init__(
            f"`{branch}` of `{table}` was not published: `main` has commits that it lacks, and "
            f"{detail}",
            state="`main` and the branch are as they were",
            remedy=Remedy(advice="write it again on a new branch"),
        )


class AuditFailedError(LakeError):
    """Rows on a branch did not pass the checks they were written there for."""

    def __init__(self, table: str, branch: str, failures: tuple[str, ...]) -> None:
        self.table, self.branch, self.failures = table, branch, failures
        super().__init__(
            f"`{branch}` of `{table}` was not published: {'; '.join(failures)}",
            state="the branch is kept for inspection",
            remedy=Remedy.run_on_catalog(
                "tables", "branch", table, branch, "--drop", "--apply", advice="drop it with"
            ),
        )


class AlreadyPublishedError(LakeError):
    """What a branch or snapshot added is in the table already."""

    def __init__(self, table: str, what: str, *, snapshot_id: int) -> None:
        self.table, self.what, self.snapshot_id = table, what, snapshot_id
        super().__init__(
            f"{what} is in `{table}` already, by snapshot {snapshot_id}",
            state="nothing was added again",
        )


class CherryPickRefusedError(LakeError):
    """A snapshot did something that cannot be done again on top of other commits."""

    def __init__(
        self, table: str, snapshot_id: int, detail: str, *, reason: CherryPickReason
    ) -> None:
        self.table, self.snapshot_id, self.detail = table, snapshot_id, detail
        self.reason = reason
        super().__init__(
            f"snapshot {snapshot_id} of `{table}` was not cherry-picked: {detail}",
            state=NOTHING_CHANGED,
        )


class LeaseLapsedError(LakeError):
    """A lease was not renewed in time, or was released."""

    def __init__(self, table: str, lease_id: str, *, snapshot_id: int) -> None:
        self.table, self.lease_id, self.snapshot_id = table, lease_id, snapshot_id
        super().__init__(
            f"lease `{lease_id}` on snapshot {snapshot_id} of `{table}` is over, and what it kept "
            "may be gone",
            remedy=Remedy(advice="take a new lease, on the head if that snapshot has expired"),
        )
