"""A lake whose state is put back between trials: the same folder, since metadata names whole paths."""

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace.api import Lake
from headrace.config import Settings
from headrace.tables.lake import LakeTable
from headrace.tables.refs import refs
from tests.proofs import jobs
from tests.proofs.invariants import Facts, check
from tests.proofs.jobs import TABLE
from tests.tables.factories import events_table

_SNAPSHOTS_KEPT = 2  # so that a commit also expires


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A prepared table; `since` is a snapshot from which on changes must always be known."""

    settings: Settings
    copy: Path
    since: int
    before: Facts

    def restore(self) -> None:
        """Put the state back, files and databases."""
        shutil.rmtree(self.settings.state_dir)
        shutil.copytree(self.copy, self.settings.state_dir)

    @contextmanager
    def opened(self) -> Iterator[LakeTable]:
        """Open the lake as a new process does."""
        with Lake.open(self.settings) as lake:
            yield lake.table(TABLE)

    def check(self) -> Facts:
        """Check the invariants on what is there now."""
        with self.opened() as table:
            return check(table, since=self.since)


def saved_lake(settings: Settings) -> Saved:
    """Prepare a table and save it."""
    few = dataclasses.replace(settings, snapshots_kept=_SNAPSHOTS_KEPT)
    with Lake.open(few) as lake:
        table = events_table(lake, str(TABLE))
        jobs.prepare(table)
        since = refs.tags(table)[jobs.TAG]
        before = check(table, since=since)
    copy = few.state_dir.with_name("saved")
    shutil.copytree(few.state_dir, copy)
    return Saved(settings=few, copy=copy, since=since, before=before)
