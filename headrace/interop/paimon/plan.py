"""Plans an incremental import: which snapshots are read, in which order. Pure.

Snapshots are counted by id and never by time: two commits of one millisecond have one time, and a
range of times would leave one of them out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from headrace.errors import (
    PaimonHistoryChangedError,
    PaimonReason,
    PaimonSnapshotsExpiredError,
    PaimonUnsupportedError,
    Remedy,
)
from headrace.interop.paimon.facts import Changes, Kind, PaimonSnapshot
from headrace.interop.paimon.token import Token

_FIRST = 1  # the id of a table's first snapshot


class Begin(StrEnum):
    """Where an import into a new table begins."""

    OLDEST = "oldest"  # with all changes that are there
    NEWEST = "newest"  # with the state of the newest snapshot


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """First the state at `state`, if there is one, then the changes of `snapshots`, oldest first."""

    state: PaimonSnapshot | None
    snapshots: tuple[PaimonSnapshot, ...]

    @property
    def last(self) -> PaimonSnapshot | None:
        """The snapshot that the target is at after it; None if there is nothing to do."""
        return self.snapshots[-1] if self.snapshots else self.state


def plan_import(
    table: str,
    snapshots: Sequence[PaimonSnapshot],
    *,
    target: str,
    token: Token | None,
    created_ms: int,
    changes: Changes,
    begin: Begin,
    is_complete: Callable[[PaimonSnapshot], bool],
) -> ImportPlan:
    """Plan what follows on `token`, or on nothing, up to the newest of `snapshots`.

    Args:
        table: The name of the Paimon table.
        snapshots: Those that are there, oldest first.
        target: The table that takes the rows.
        token: Which snapshot the target has taken; None for none.
        created_ms: When the Paimon table was created.
        changes: Where the changes are.
        begin: Where to begin without a token.
        is_complete: Whether the changes up to a snapshot make its state: no row of it has its
            changelog in a later one.

    Raises:
        PaimonHistoryChangedError: If the token's snapshot is another one now, or the table is.
        PaimonSnapshotsExpiredError: If changes between the token and the head are gone.
        PaimonUnsupportedError: If a snapshot to read replaced rows without saying which.

    """
    state = None
    if token is not None:
        _refuse_other_history(table, snapshots, target=target, token=token, created_ms=created_ms)
        after = [each for each in snapshots if each.id > token.snapshot_id]
    elif begin is Begin.OLDEST and (not snapshots or snapshots[0].id == _FIRST):
        after = list(snapshots)
    else:
        state = _state(table, snapshots, begin=begin, is_complete=is_complete)
        after = [each for each in snapshots if each.id > state.id]
    taken = state.id if state is not None else 0 if token is None else token.snapshot_id
    for each in after:
        if each.id != taken + 1:
            raise PaimonSnapshotsExpiredError(
                table, target, first_snapshot_id=taken + 1, last_snapshot_id=each.id - 1
            )
        _refuse_unknown(table, each)
        taken = each.id
    return ImportPlan(state=state, snapshots=tuple(after))


def _state(
    table: str,
    snapshots: Sequence[PaimonSnapshot],
    *,
    begin: Begin,
    is_complete: Callable[[PaimonSnapshot], bool],
) -> PaimonSnapshot:
    """Choose the snapshot whose state an import begins with."""
    order = snapshots if begin is Begin.OLDEST else tuple(reversed(snapshots))
    found = next((each for each in order if is_complete(each)), None)
    if found is None:
        raise PaimonUnsupportedError(
            table,
            "of every snapshot some rows have their changelog only in a later one",
            reason=PaimonReason.UNMERGED_FILES,
            remedy=Remedy(advice="compact it with Flink, then run it again"),
        )
    return found


def has_changes(snapshot: PaimonSnapshot, changes: Changes) -> bool:
    """Whether a snapshot has changes to read, rather than another layout of the same rows."""
    if changes is Changes.CHANGELOG:
        return snapshot.changelog_rows is not None
    return snapshot.kind == Kind.APPEND


def _refuse_unknown(table: str, snapshot: PaimonSnapshot) -> None:
    if snapshot.kind == Kind.OVERWRITE:
        raise PaimonUnsupportedError(
            table,
            f"snapshot {snapshot.id} replaced rows, and does not say which",
            reason=PaimonReason.OVERWRITTEN,
            remedy=Remedy(advice="import into another table with `--begin newest` or `--as state`"),
        )
    if snapshot.kind not in set(Kind):
        detail = f"snapshot {snapshot.id} is of kind `{snapshot.kind}`, which is not known here"
        raise PaimonUnsupportedError(table, detail, reason=PaimonReason.COMMIT_KIND)


def _refuse_other_history(
    table: str,
    snapshots: Sequence[PaimonSnapshot],
    *,
    target: str,
    token: Token,
    created_ms: int,
) -> None:
    at = next((each for each in snapshots if each.id == token.snapshot_id), None)
    newest = snapshots[-1].id if snapshots else 0
    is_other = token.created_ms not in (0, created_ms)
    if not is_other and at is None and newest > token.snapshot_id:
        return  # it expired, which is a gap only if the next one did too
    if is_other or at is None or at.committed_at_ms != token.committed_at_ms:
        raise PaimonHistoryChangedError(
            table,
            target,
            snapshot_id=token.snapshot_id,
            taken_at_ms=token.committed_at_ms,
            found_at_ms=None if at is None else at.committed_at_ms,
        )
