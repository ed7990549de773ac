"""Schedules: writers, readers, maintenance and clean-up of one table take turns, as a seed draws them.

Each actor is a generator that stops where another process may come in. Time passes by making every
file older. After every turn an oracle that asks pyiceberg alone says what must still be there.
"""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path

from headrace.errors import CommitConflictError, LakeError, SnapshotNotFoundError
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from headrace.maintenance.cleanup.trash import restore, trash_list
from headrace.maintenance.compaction.compact import compact
from headrace.storage.locations import local_path
from headrace.tables import intents
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.refs import refs
from headrace.tables.version import TableVersion
from headrace.tables.writer import write_batches
from tests.maintenance.cleanup.needed import files_below, folder_of, needed_by, needed_by_snapshot
from tests.tables.factories import day_key, events

DAYS = 3
GRACE_H = 72  # the lake's `cleanup_age_hours`
Turns = Generator[None, None, None]


@dataclass(kw_only=True)
class Schedule:
    """One table with those that work on it, and what the oracle knows of them."""

    table: LakeTable
    chance: random.Random
    rows: dict[int, int] = field(default_factory=dict)  # the day of each id
    in_flight: dict[str, set[str]] = field(default_factory=dict)  # files by write id
    pinned: list[tuple[float, set[str]]] = field(default_factory=list)  # when, which files
    hours: float = 0.0
    ids: int = 0
    tags: int = 0

    def run(self, *, actors: int, only: Collection[str] = ()) -> None:
        """Let actors take turns until all are done, then let time pass and clean up once."""
        everybody: list[Callable[[], Turns]] = [
            *(self.append, self.append, self.overwrite, self.overwrite),
            *(self.commit_twice, self.commit_twice, self.die),
            *(self.compact, self.expire, self.expire, self.tag, self.read, self.read),
            *(self.clean_up, self.clean_up, self.clean_up, self.clean_up, self.restore),
        ]
        kinds = [each for each in everybody if not only or each.__name__ in only]
        waiting = [self.chance.choice(kinds)() for _ in range(actors)]
        running: list[Turns] = []
        while waiting or running:
            if waiting and (len(running) < 2 or self.chance.random() < 0.3):
                running.append(waiting.pop())
            each = self.chance.choice(running)
            if next(each, self) is self:
                running.remove(each)
            self.check()
            self.elapse(self.chance.choice([0, 0, 0, 0, 0, 1, 30, 80]))
        self.elapse(3 * GRACE_H)
        for _ in self.clean_up():
            pass
        assert files_below(folder_of(self.table)) == needed_by(self.table.iceberg())
        self.check()
        assert self.read_ids(self.table.head()) == sorted(self.rows)

    def check(self) -> None:
        """What is needed or in flight is there; pins younger than the grace time can be read."""
        there = files_below(folder_of(self.table))
        assert needed_by(self.table.iceberg()) <= there, "a file that a snapshot names is gone"
        flying = set().union(*self.in_flight.values())
        assert flying <= there, "a file in flight is gone"
        self.pinned = [each for each in self.pinned if self.hours - each[0] < GRACE_H]
        assert all(files <= there for _, files in self.pinned), "a pinned version lost a file"

    def elapse(self, hours: float) -> None:
        """Make every file older; those in the trash too."""
        self.hours += hours
        for path in folder_of(self.table).rglob("*"):
            if hours and path.is_file():
                at = path.stat().st_mtime - hours * 3600
                os.utime(path, (at, at))

    def read_ids(self, version: TableVersion) -> list[int]:
        return sorted(version.to_arrow(columns=["id"]).column("id").to_pylist())

    def write(self, *, files: int = 1) -> tuple[dict[int, int], list[object]]:
        """Write files of new ids; they are in flight from now on."""
        days = self.chance.sample(range(DAYS), files)
        rows = {self.ids + number: day for number, day in enumerate(days)}
        self.ids += files
        written = write_batches(self.table, [events([i], day=day) for i, day in rows.items()])
        self.in_flight[_write_id(written[0].file_path)] = {local_path(f.file_path) for f in written}
        return rows, list(written)

    def landed(self, files: list[object]) -> None:
        self.in_flight.pop(_write_id(files[0].file_path))

    def append(self) -> Turns:
        """Write, hang for as long as it takes, commit."""
        rows, files = self.write(files=self.chance.choice([1, 2]))
        yield
        yield
        operations.append(self.table, files, provenance=Provenance())
        self.landed(files)
        self.rows.update(rows)

    def overwrite(self) -> Turns:
        """The same, in place of what a day held."""
        rows, files = self.write()
        yield
        (day,) = rows.values()
        operations.overwrite_partitions(
            self.table, files, partitions=[day_key(day)], provenance=Provenance()
        )
        self.landed(files)
        self.rows = {i: each for i, each in self.rows.items() if each != day} | rows

    def commit_twice(self) -> Turns:
        """One writer, two commits: after the first only their age protects the other files."""
        rows, files = self.write(files=2)
        (first, _), (second, day) = rows.items()
        by_day = {str(file.partition[0]): file for file in files}
        one = by_day[str(_days_since_epoch(rows[first]))]
        other = by_day[str(_days_since_epoch(day))]
        yield
        operations.append(self.table, [one], provenance=Provenance())
        self.landed(files)
        self.rows[first] = rows[first]
        yield
        yield
        try:
            operations.append(self.table, [other], provenance=Provenance())
        except LakeError:  # it came too late, and is told
            assert not Path(local_path(other.file_path)).exists()
        else:
            self.rows[second] = day

    def die(self) -> Turns:
        """Write, and end without a word."""
        _, files = self.write(files=self.chance.choice([1, 2]))
        yield
        write_id = _write_id(files[0].file_path)
        registry = self.table.lake.registry
        (record,) = [each for each in registry.writes() if each.write_id == write_id]
        registry.end_writes([write_id])
        registry.begin_write(replace(record, pid=_ended_process(), process_start_ticks=1))
        self.landed(files)

    def compact(self) -> Turns:
        """Put small files together, if nobody was faster."""
        yield
        try:
            compact(self.table)
        except CommitConflictError:
            return

    def expire(self) -> Turns:
        """Let old snapshots die."""
        yield
        operations.expire(self.table, keep=self.chance.choice([1, 3]), before_ms=1 << 62)

    def tag(self) -> Turns:
        """Keep a snapshot for some time, which must read the same all the while."""
        head = self.table.head()
        if head.snapshot_id is None:
            return
        self.tags += 1
        name, ids = f"t{self.tags}", self.read_ids(head)
        try:
            refs.tag(self.table, name, snapshot_id=head.snapshot_id)
        except SnapshotNotFoundError:
            return
        for _ in range(self.chance.choice([1, 4])):
            yield
            assert self.read_ids(self.table.at(tag=name)) == ids
        refs.drop(self.table, name, snapshot_id=head.snapshot_id)

    def read(self) -> Turns:
        """Pin the newest version, which can be read for as long as the grace time."""
        loaded = self.table.iceberg()
        snapshot = loaded.current_snapshot()
        if snapshot is not None:
            self.pinned.append((self.hours, needed_by_snapshot(snapshot, loaded.io)))
        yield

    def clean_up(self) -> Turns:
        """Plan, let others go on, apply."""
        plan = plan_cleanup(self.table)
        yield
        apply_cleanup(self.table, plan)

    def restore(self) -> Turns:
        """Bring back what some clean-up took; it is nobody's all the same."""
        yield
        for run in trash_list(self.table)[-1:]:
            restore(self.table, run.run_id)


def _write_id(location: str) -> str:
    found = intents.write_id_of(location.rpartition("/")[2])
    assert found is not None
    return found


def _days_since_epoch(day: int) -> object:
    (date,) = day_key(day)
    return (date - type(date)(1970, 1, 1)).days


_ENDED: list[int] = []


def _ended_process() -> int:
    """The id of a process that has ended."""
    if not _ENDED:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        _ENDED.append(ended.pid)
    return _ENDED[0]
