"""How commits are shown, by every command that tells what it adds or gives up."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.cli.output import Output, TextOutput
from headrace.clock import time_at

if TYPE_CHECKING:
    from headrace.registry import CommitRecord

NOT_APPLIED = "nothing was changed; add --apply to do it"
_COLUMNS = ("snapshot", "committed", "operation", "rows_added", "rows_removed")


def say_commits(out: Output, title: str, commits: "Sequence[CommitRecord]") -> None:
    """Show people a titled table of commits; programs get them in the command's one document."""
    if isinstance(out, TextOutput) and commits:
        out.say(title)
        out.table([commit_row(each) for each in commits], columns=_COLUMNS)


def commit_row(record: "CommitRecord") -> dict[str, object]:
    """Return what a table of commits shows of one."""
    return {
        "snapshot": str(record.snapshot_id),
        "committed": time_at(record.committed_at_ms),
        "operation": record.operation,
        "rows_added": record.rows_added,
        "rows_removed": record.rows_removed,
    }
