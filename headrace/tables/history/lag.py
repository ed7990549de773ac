"""How far a reader of a table is behind it, and since when; rows that a table gained lately."""

from dataclasses import dataclass

from headrace.errors import LakeError
from headrace.registry import CommitRecord
from headrace.tables.history.changes import changes
from headrace.tables.lake import OpenLake

_COMPACTION = "replace"
_COMMITS_MAX = 20_000


@dataclass(frozen=True, kw_only=True)
class Lag:
    """Commits that a reader has not seen, compactions excluded.

    `since_ms` is when the oldest of them was made, epoch milliseconds; None if there is none, or if
    only the table's own metadata knows of them.
    """

    commits: int
    since_ms: int | None = None


def lag_of(lake: OpenLake, table: str, *, head: int | None, since: int | None) -> Lag | None:
    """Count the commits from snapshot `since` to `head`; None if the history between is unknown.

    Answered by one query of the registry; the table is opened only where its log has a gap.
    """
    if head == since:
        return Lag(commits=0)
    if head is not None:
        logged = lake.registry.line_to(table, head, back_to=since)
        line = _line(logged, head, since=since)
        if line is not None:
            seen = [each for each in line if each.operation != _COMPACTION]
            oldest = min((each.committed_at_ms for each in seen), default=None)
            return Lag(commits=len(seen), since_ms=oldest)
    try:
        return Lag(commits=len(changes(lake.table(table), since=since, until=head).operations))
    except LakeError:
        return None


def rows_gained(lake: OpenLake, table: str, *, since_ms: int) -> int:
    """Count the rows that commits from `since_ms` on added, less those they removed.

    Compactions count for nothing. Reads no older commits, and at most the newest 20,000.
    """
    found = lake.registry.commits_since(table, since_ms, limit=_COMMITS_MAX)
    return sum(
        each.rows_added - each.rows_removed for each in found if each.operation != _COMPACTION
    )


def _line(
    logged: dict[int, CommitRecord], head: int, *, since: int | None
) -> list[CommitRecord] | None:
    """Follow the parents from `head` to `since`; None if the log does not reach that far."""
    found: list[CommitRecord] = []
    position: int | None = head
    while position != since:
        record = None if position is None else logged.get(position)
        if record is None:
            return None
        found.append(record)
        position = record.parent_id
    if since is None and found and found[-1].sequence_number > 1:
        return None  # the commits before it were never recorded
    return found
