"""Write intents: announced before the first file, taken back by a commit, dead with their process."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import sqlalchemy as sa

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    CatalogBusyError,
    ColumnReason,
    CommitConflictError,
    ContractError,
    DatabaseUnavailableError,
    FencedError,
)
from headrace.registry import WriteRecord, heartbeat
from headrace.registry.schema import WRITES
from headrace.storage.locations import local_path
from headrace.tables import intents
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Fence, Provenance
from headrace.tables.writer import TableWriter, write_batches
from tests.raising import refused
from tests.tables.commits.test_faults import impatient, locked
from tests.tables.factories import add, day_key, events, events_table, ids_of
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

HOUR_S = 3600


def unfinished(lake: Lake, *, later_h: float = 0) -> intents.Intents:
    """Judge the writes as if they had been begun and renewed `later_h` earlier."""
    earlier_ms = int(later_h * HOUR_S * 1000)
    with lake.registry.engine.begin() as connection:
        connection.execute(
            sa.update(WRITES).values(
                started_at_ms=WRITES.c.started_at_ms - earlier_ms,
                renewed_at_ms=WRITES.c.renewed_at_ms - earlier_ms,
            )
        )
    return intents.unfinished(lake.registry)


def this_write(lake: Lake) -> WriteRecord:
    (record,) = lake.registry.writes()
    return record


def test_a_writer_is_announced_before_its_first_file_and_names_its_files_after_it(
    lake: Lake,
) -> None:
    table = events_table(lake)
    with TableWriter(table) as writer:
        assert lake.registry.writes() == []
        writer.write(events([1, 2]))
        record = this_write(lake)
        writer.write(events([3], day=1))
    names = sorted(Path(file.file_path).name for file in writer.files)
    assert names == [f"{record.write_id}-00001.parquet", f"{record.write_id}-00002.parquet"]
    assert (record.table, record.location) == ("raw.events", table.iceberg().location())
    assert record.pid == os.getpid()
    found = unfinished(lake, later_h=1000)
    assert found.live == {record.write_id}
    assert all(found.protects(name) for name in names)
    assert not found.protects(names[0].replace("-00001", "-1"))
    assert not found.protects("part-0.parquet")


def test_a_commit_ends_the_writes_of_its_files_and_of_no_others(lake: Lake) -> None:
    table = events_table(lake)
    waiting = write_batches(table, [events([1])])
    add(table, [2])
    assert [intents.write_id_of(Path(f.file_path).name) for f in waiting] == [
        this_write(lake).write_id
    ]
    operations.append(table, waiting, provenance=Provenance())
    assert lake.registry.writes() == []


def test_a_discarded_writer_is_in_flight_no_more(lake: Lake) -> None:
    table = events_table(lake)
    with pytest.raises(ContractError), TableWriter(table) as writer:
        writer.write(events([1]))
        raise ContractError("raw.events", "refused", reason=ColumnReason.UNKNOWN_COLUMN)
    assert lake.registry.writes() == []


def test_a_commit_that_can_be_run_again_leaves_its_files_in_flight(lake: Lake) -> None:
    with impatient(lake) as other:
        table = events_table(other)
        files = write_batches(table, [events([1])])
        busy = pytest.raises((DatabaseUnavailableError, CatalogBusyError))
        with locked(lake.settings.state_dir / "catalog.db"), busy:
            operations.append(table, files, provenance=Provenance())
        assert unfinished(lake).live == {this_write(lake).write_id}
        operations.append(table, files, provenance=Provenance())
        assert ids_of(table) == [1]
        assert lake.registry.writes() == []


def test_a_commit_that_was_refused_for_good_ends_its_writes(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    files = write_batches(table, [events([2])])
    fence = Fence(key="s", expected={"a": 5}, offsets={"a": 6})
    with pytest.raises(FencedError):
        operations.append(table, files, provenance=Provenance(), fence=fence)
    assert lake.registry.writes() == []
    assert all(Path(local_path(file.file_path)).exists() for file in files)
    old = table.head().files()[0].data_file
    merged = write_batches(table, [events([1])])
    operations.overwrite_partitions(table, [], partitions=[day_key(0)], provenance=Provenance())
    with pytest.raises(CommitConflictError):
        operations.replace_files(table, removed=[old], added=merged, provenance=Provenance())
    assert lake.registry.writes() == []


def test_a_commit_whose_file_is_gone_is_refused_and_the_table_stays_readable(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    kept, lost = (write_batches(table, [events([i])])[0] for i in (2, 3))
    Path(local_path(lost.file_path)).unlink()
    with refused(CommitConflictError, path=local_path(lost.file_path)):
        operations.append(table, [kept, lost], provenance=Provenance())
    assert ids_of(table) == [1]


def test_a_locked_registry_does_not_stop_writing_or_committing(lake: Lake) -> None:
    with impatient(lake) as other:
        table = events_table(other)
        with locked(lake.settings.state_dir / "registry.db"):
            add(table, [1])
        assert ids_of(table) == [1]
        assert lake.registry.writes() == []


def test_a_row_that_a_landed_commit_could_not_take_back_ends_with_its_process(lake: Lake) -> None:
    with impatient(lake) as other:
        table = events_table(other)
        files = write_batches(table, [events([1])])
        with locked(lake.settings.state_dir / "registry.db"):
            operations.append(table, files, provenance=Provenance())
        assert unfinished(lake).live == {this_write(lake).write_id}


def _write_and_wait(settings: Settings, pipe: Connection) -> None:
    with Lake.open(settings) as lake, TableWriter(events_table(lake)) as writer:
        writer.write(events([1]))
        pipe.send("written")
        pipe.recv()


def test_a_write_is_live_as_long_as_its_process_and_dead_right_after(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        events_table(lake)
        # a child of this very process, which alone is told that it ended
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_write_and_wait, args=(settings, theirs)
        )
        process.start()
        assert ours.recv() == "written"
        write_id = this_write(lake).write_id
        assert unfinished(lake, later_h=10_000).live == {write_id}
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)  # hangs, as on a slow disk: still its files
        assert unfinished(lake, later_h=10_000).live == {write_id}
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has noticed
        assert unfinished(lake).dead == {write_id}
        process.join(WAIT_S)
        assert unfinished(lake).dead == {write_id}


def test_a_process_id_given_to_another_process_does_not_keep_a_write_alive(lake: Lake) -> None:
    write_batches(events_table(lake), [events([1])])
    record = this_write(lake)
    lake.registry.end_writes([record.write_id])
    lake.registry.begin_write(replace(record, process_start_ticks=record.process_start_ticks - 1))
    assert unfinished(lake).dead == {record.write_id}


@pytest.mark.parametrize("fact", ["host", "boot_id"])
def test_a_write_that_cannot_be_looked_up_counts_as_live_as_long_as_it_is_renewed(
    lake: Lake, fact: str
) -> None:
    write_batches(events_table(lake), [events([1])])
    record = this_write(lake)
    with lake.registry.engine.begin() as connection:
        connection.execute(sa.text(f"update writes set {fact} = 'another', pid = 1"))
    assert unfinished(lake, later_h=0.15).live == {record.write_id}
    assert lake.registry.renew_writes([record.write_id]) == {record.write_id}
    assert unfinished(lake, later_h=0.15).live == {record.write_id}
    assert unfinished(lake, later_h=0.1).dead == {record.write_id}
    assert lake.registry.renew_writes([record.write_id]) == frozenset()
    assert unfinished(lake).dead == {record.write_id}


def test_a_process_that_may_not_be_signalled_or_looked_at_exists() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert intents._start_ticks(ended.pid) is None
    assert not intents._exists(ended.pid)
    assert intents._exists(1)


def test_a_write_is_renewed_as_long_as_it_lasts(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.01)
    files = write_batches(events_table(lake), [events([1])])
    record = this_write(lake)
    while this_write(lake).renewed_at_ms < record.renewed_at_ms + 20:
        time.sleep(0.01)
    operations.append(lake.table("raw.events"), files, provenance=Provenance())
    assert not lake.registry.heartbeat.keeps(record.write_id)


def test_writes_are_listed_by_table_and_ending_unknown_ones_is_no_matter(lake: Lake) -> None:
    write_batches(events_table(lake), [events([1])])
    write_batches(events_table(lake, "raw.other"), [events([1])])
    assert [w.table for w in lake.registry.writes("raw.other")] == ["raw.other"]
    lake.registry.end_writes(["unknown", *(w.write_id for w in lake.registry.writes("raw.other"))])
    assert [w.table for w in lake.registry.writes()] == ["raw.events"]
