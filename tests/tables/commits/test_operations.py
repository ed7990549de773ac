"""The committer: what a table holds after commits, races, lost answers and kills."""

import os
import signal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.table.snapshots import Summary

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.extensions import load_iceberg_extension
from headrace.errors import (
    CommitConflictError,
    CommitOutcomeUnknownError,
    DatabaseUnavailableError,
    FencedError,
    FileReason,
    UnfitFileError,
)
from headrace.identifiers import TableName
from headrace.tables.commits import attempt, operations, staging
from headrace.tables.commits.operations import Fence, Provenance
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from headrace.tables.refs import refs
from headrace.tables.writer import write_batches
from tests.processes import CONTEXT
from tests.raising import refused
from tests.tables.factories import add, day_key, events, events_table, ids_of

pytestmark = pytest.mark.slow

BOUNDARIES = ("commit.after_data_files", "commit.after_manifests", "commit.after_swap")


def fenced_append(table: LakeTable, ids: list[int], *, expected: int) -> operations.Commit:
    fence = Fence(
        key="events",
        expected={"log": expected} if expected else {},
        offsets={"log": expected + len(ids)},
    )
    files = write_batches(table, [events(ids)])
    return operations.append(table, files, provenance=Provenance(), fence=fence)


def test_appended_rows_are_read_back_as_they_were_written(lake: Lake) -> None:
    table = events_table(lake)
    batch = events(range(50))
    operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    assert table.head().to_arrow().to_pylist() == batch.to_pylist()


def test_an_older_snapshot_reads_the_same_after_later_commits(lake: Lake) -> None:
    table = events_table(lake)
    first = add(table, [1, 2])
    add(table, [3])
    operations.overwrite_partitions(table, [], partitions=[day_key(0)], provenance=Provenance())
    old = table.at(snapshot_id=first.snapshot_id)
    assert sorted(old.to_arrow().column("id").to_pylist()) == [1, 2]
    assert ids_of(table) == []


def test_offsets_and_rows_become_visible_together(lake: Lake) -> None:
    table = events_table(lake)
    fenced_append(table, [0, 1], expected=0)
    assert operations.offsets(table.head(), "events") == {"log": 2}
    assert ids_of(table) == [0, 1]


def test_a_writer_with_stale_offsets_is_fenced_and_changes_nothing(lake: Lake) -> None:
    table = events_table(lake)
    fenced_append(table, [0, 1], expected=0)
    before = table.head().snapshot_id
    with refused(FencedError, table=str(table.name)):
        fenced_append(table, [0, 1], expected=0)
    assert table.head().snapshot_id == before


def test_offsets_survive_expiry_of_the_snapshot_that_brought_them(settings: Settings) -> None:
    few = Settings(**{**settings.__dict__, "snapshots_kept": 3})
    with Lake.open(few) as lake:
        table = events_table(lake)
        fenced_append(table, [0], expected=0)
        for i in range(1, 12):
            add(table, [i])
        assert len(table.iceberg().metadata.snapshots) <= 4
        assert operations.offsets(table.head(), "events") == {"log": 1}


def test_tagged_snapshots_outlive_expiry_and_the_chain_stays_known(settings: Settings) -> None:
    few = Settings(**{**settings.__dict__, "snapshots_kept": 3})
    with Lake.open(few) as lake:
        table = events_table(lake)
        first = add(table, [0], day=0)
        refs.tag(table, "v1", snapshot_id=first.snapshot_id)
        for i in range(1, 12):
            add(table, [i], day=i)
        assert table.at(tag="v1").row_count == 1
        touched = changes(table, since=first.snapshot_id)
        assert touched.partitions == {day_key(i) for i in range(1, 12)}


def test_overwriting_partitions_is_one_snapshot_and_leaves_the_others(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2], day=0)
    add(table, [3], day=1)
    before = len(table.iceberg().metadata.snapshots)
    files = write_batches(table, [events([9], day=0)])
    operations.overwrite_partitions(table, files, partitions=[day_key(0)], provenance=Provenance())
    assert ids_of(table) == [3, 9]
    assert len(table.iceberg().metadata.snapshots) == before + 1


def test_files_outside_the_overwritten_partitions_are_refused(lake: Lake) -> None:
    table = events_table(lake)
    files = write_batches(table, [events([9], day=1)])
    with pytest.raises(ValueError, match="outside"):
        operations.overwrite_partitions(
            table, files, partitions=[day_key(0)], provenance=Provenance()
        )


def test_replacing_files_that_are_gone_is_refused_and_changes_nothing(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    removed = [file.data_file for file in table.head().files()]
    added = write_batches(table, [events([1, 2])])
    operations.overwrite_partitions(table, [], partitions=[day_key(0)], provenance=Provenance())
    before = table.head().snapshot_id
    with refused(CommitConflictError, path=min(file.file_path for file in removed)):
        operations.replace_files(table, removed=removed, added=added, provenance=Provenance())
    assert table.head().snapshot_id == before


def test_replacing_files_by_other_rows_is_refused(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    removed = [file.data_file for file in table.head().files()]
    added = write_batches(table, [events([1])])
    with pytest.raises(ValueError, match="would change its data"):
        operations.replace_files(table, removed=removed, added=added, provenance=Provenance())


def test_a_lost_answer_after_the_swap_counts_as_landed_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    swap = lake.catalog.commit_table

    def lose_the_answer(*arguments: object) -> None:
        swap(*arguments)
        raise DatabaseUnavailableError("catalog", "connection lost")

    # only a broken connection at exactly this moment shows it; no server is there to break it
    monkeypatch.setattr(lake.catalog, "commit_table", lose_the_answer)
    fenced_append(table, [0, 1], expected=0)
    assert ids_of(table) == [0, 1]
    assert len(table.iceberg().metadata.snapshots) == 1


def test_an_answer_that_cannot_be_found_out_says_so_and_names_the_snapshot(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    files = write_batches(table, [events([1])])
    broken = DatabaseUnavailableError("catalog", "gone")
    loads = iter([table.iceberg()])

    def load_then_break(_name: object) -> object:
        try:
            return next(loads)
        except StopIteration:
            raise broken from None

    def refuse(*_: object) -> None:
        raise broken

    # the catalog disappears between the load and the swap: no real server can be timed to do so
    monkeypatch.setattr(lake.catalog, "load_table", load_then_break)
    monkeypatch.setattr(lake.catalog, "commit_table", refuse)
    monkeypatch.setattr(attempt.time, "sleep", lambda _: None)
    with refused(CommitOutcomeUnknownError, table=str(table.name)):
        operations.append(table, files, provenance=Provenance())


def test_duckdb_and_pyiceberg_read_what_the_committer_wrote(lake: Lake, tmp_path: Path) -> None:
    table = events_table(lake)
    for i in range(20):
        add(table, [i], day=i % 3)
    operations.overwrite_partitions(table, [], partitions=[day_key(1)], provenance=Provenance())
    wanted = [i for i in range(20) if i % 3 != 1]
    assert ids_of(table) == wanted
    read = table.iceberg().scan().to_arrow().column("id").to_pylist()
    assert sorted(read) == wanted
    connection = duckdb.connect()
    load_iceberg_extension(connection)
    location = table.head().metadata_location
    rows = connection.execute(f"select id from iceberg_scan('{location}') order by id").fetchall()
    assert [row[0] for row in rows] == wanted


def _writer(settings: Settings, first: int, count: int) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        for i in range(first, first + count):
            add(table, [i], day=i % 2)


def test_processes_that_append_at_once_lose_and_double_nothing(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        workers = [
            CONTEXT.Process(target=_writer, args=(settings, first, 8)) for first in (0, 100, 200)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        assert ids_of(table) == [i for first in (0, 100, 200) for i in range(first, first + 8)]


def _fenced_writer(settings: Settings, crash_at: str, batches: int) -> None:
    os.environ["HEADRACE_CRASH_AT"] = crash_at
    with Lake.open(settings) as lake:
        table = events_table(lake)
        while (done := operations.offsets(table.head(), "events").get("log", 0)) < 3 * batches:
            fenced_append(table, [done, done + 1, done + 2], expected=done)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_kill_at_any_boundary_loses_and_doubles_nothing(
    settings: Settings, boundary: str
) -> None:
    killed = CONTEXT.Process(target=_fenced_writer, args=(settings, f"{boundary}:2", 4))
    killed.start()
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    _fenced_writer(settings, "", 4)
    with Lake.open(settings) as lake:
        table = events_table(lake)
        assert ids_of(table) == list(range(12))
        recorded = lake.registry.commits("raw.events")
        assert len(recorded) == 4


def test_a_kill_before_the_record_leaves_no_gap_once_the_snapshot_has_expired(
    settings: Settings,
) -> None:
    few = Settings(**{**settings.__dict__, "snapshots_kept": 1})
    killed = CONTEXT.Process(target=_fenced_writer, args=(few, "commit.after_swap:3", 8))
    killed.start()
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    with Lake.open(few) as lake:
        table = events_table(lake)
        assert len(lake.registry.commits("raw.events")) == 2
        for i in range(9, 14):
            add(table, [i], day=i)
        assert changes(table, since=None).partitions == {
            day_key(0),
            *(day_key(i) for i in range(9, 14)),
        }
        assert len(lake.registry.commits("raw.events")) == 8


def test_snapshot_times_never_go_back_with_the_clock(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    first = add(table, [1])
    monkeypatch.setattr(attempt.time, "time_ns", lambda: 10**18)  # a clock set back to 2001
    add(table, [2])
    before = table.at(snapshot_id=first.snapshot_id).committed_at_ms
    assert before is not None
    assert (table.head().committed_at_ms or 0) >= before


def test_totals_another_program_left_out_are_counted_and_not_guessed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    with monkeypatch.context() as patch:
        full = staging.summarize

        def without_totals(*arguments: object, **named: object) -> Summary:
            found = full(*arguments, **named)  # pyright: ignore[reportArgumentType, reportCallIssue]
            kept = {k: v for k, v in found.additional_properties.items() if "total" not in k}
            return Summary(operation=found.operation, **kept)

        patch.setattr(staging, "summarize", without_totals)  # no such program is at hand
        add(table, [1, 2])
    assert table.head().row_count == 2
    add(table, [3])
    assert table.head().row_count == 3


def test_a_file_without_field_ids_is_an_error_and_never_reads_as_nulls(
    lake: Lake, tmp_path: Path
) -> None:
    table = lake.create(TableName("raw", "plain"), pa.schema([("a", pa.int64())]))
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": [1, 2]}), path)
    table.iceberg().add_files([str(path)])
    assert table.head().to_arrow().column("a").to_pylist() == [1, 2]  # by the name mapping
    with table.iceberg().transaction() as transaction:
        transaction.remove_properties("schema.name-mapping.default")
    with refused(UnfitFileError, reason=FileReason.NO_FIELD_ID, column="a"):
        table.head().to_arrow()
