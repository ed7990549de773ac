"""Group the snapshots of a table by the run that made them; pure."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ui.facts import SnapshotFacts
from ui.wording import count, signed, snapshot

_MAINTENANCE = "replace"


@dataclass(frozen=True, kw_only=True)
class BuildRow:
    """The commits of one run, newest first."""

    commits: tuple[SnapshotFacts, ...]

    @property
    def at(self) -> dt.datetime:
        """When the newest of them was made."""
        return self.commits[0].committed_at

    @property
    def what(self) -> str:
        """Their operations: `append`, `7 × overwrite`."""
        names = list(dict.fromkeys(each.operation for each in self.commits))
        said = ", ".join(names)
        return said if len(self.commits) == 1 else f"{len(self.commits)} × {said}"

    @property
    def rows(self) -> str:
        """By how many rows the table grew, with a sign."""
        return signed(sum(each.rows_added - each.rows_removed for each in self.commits))

    @property
    def files(self) -> str:
        """Files added and removed."""
        added = sum(each.files_added for each in self.commits)
        removed = sum(each.files_removed for each in self.commits)
        return f"+{added:,} −{removed:,}"

    @property
    def inputs(self) -> str:
        """What the newest of them was computed from."""
        read = self.commits[0].inputs
        return ", ".join(f"{table}@{snapshot(at)}" for table, at in read.items())

    @property
    def tags(self) -> list[str]:
        """Tags on any of them."""
        return [tag for each in self.commits for tag in each.tags]

    @property
    def state(self) -> str:
        """`live`, `expired`, or how many are live."""
        alive = sum(each.alive for each in self.commits)
        if alive in (0, len(self.commits)):
            return "live" if alive else "expired"
        return f"{alive} of {count(len(self.commits), 'snapshot')} live"


def by_build(snapshots: Sequence[SnapshotFacts], *, apart: bool = False) -> tuple[BuildRow, ...]:
    """Put neighbours of one run together; commits without a run, and maintenance, stand alone.

    With `apart`, every commit stands alone.
    """

    def key(each: tuple[int, SnapshotFacts]) -> tuple[str, int]:
        at, commit = each
        alone = apart or not commit.run_id or commit.operation == _MAINTENANCE
        return ("", at) if alone else (commit.run_id, -1)

    return tuple(
        BuildRow(commits=tuple(commit for _, commit in group))
        for _, group in groupby(enumerate(snapshots), key=key)
    )


def maintenance(snapshots: Sequence[SnapshotFacts]) -> tuple[SnapshotFacts, ...]:
    """List the commits that changed no row: compactions and rewrites of manifests."""
    return tuple(each for each in snapshots if each.operation == _MAINTENANCE)
