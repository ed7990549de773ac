"""Compaction: fewer files, the same rows, beside running writers."""

from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.maintenance.compaction.compact import apply_compaction, compact
from headrace.maintenance.compaction.plan import plan_compaction
from headrace.maintenance.health.health import health
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.tables.factories import add, day_key, events, events_table, ids_of

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


def stray_files(table: LakeTable) -> list[str]:
    """Data files on disk that no live snapshot names."""
    loaded = table.iceberg()
    named = {
        local_path(entry.data_file.file_path)
        for snapshot in loaded.metadata.snapshots
        for manifest in snapshot.manifests(loaded.io)
        for entry in manifest.fetch_manifest_entry(loaded.io)
    }
    on_disk = Path(local_path(loaded.location()), "data").rglob("*.parquet")
    return sorted(str(path) for path in on_disk if str(path) not in named)


def test_compaction_keeps_every_row_in_fewer_files(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(12):
        add(table, [i], day=i % 2)
    before = table.head().to_arrow().sort_by("id")
    done = compact(table)
    assert (done.files_before, done.files_after) == (12, 2)
    assert table.head().to_arrow().sort_by("id").equals(before)
    assert [len(table.head().files(partitions=[day_key(d)])) for d in (0, 1)] == [1, 1]


def test_compacting_twice_changes_nothing_the_second_time(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(5):
        add(table, [i])
    compact(table)
    after = table.head().snapshot_id
    assert not compact(table).changed
    assert table.head().snapshot_id == after


def test_compacting_twice_changes_nothing_though_files_shrink_when_put_together(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(60):
        add(table, range(i * 5, i * 5 + 5))
    target = sum(file.bytes for file in table.head().files()) // 3
    done = compact(table, target_bytes=target)
    assert (done.files_before, done.files_after, done.rows) == (60, 1, 300)
    assert ids_of(table) == list(range(300))
    assert not compact(table, target_bytes=target).changed


def test_an_append_during_a_compaction_survives_and_so_does_the_compaction(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(6):
        add(table, [i])
    plan = plan_compaction(table.head(), target_bytes=128 * MIB)
    add(table, [100])
    add(table, [101], day=1)
    apply_compaction(table, plan)
    assert ids_of(table) == [*range(6), 100, 101]
    assert len(table.head().files()) == 3


def test_a_compaction_never_brings_back_overwritten_rows(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(6):
        add(table, [i])
    plan = plan_compaction(table.head(), target_bytes=128 * MIB)
    files = write_batches(table, [events([50])])
    operations.overwrite_partitions(table, files, partitions=[day_key(0)], provenance=Provenance())
    done = apply_compaction(table, plan)
    assert not done.changed
    assert ids_of(table) == [50]
    assert stray_files(table) == []


def test_the_row_order_inside_a_partition_is_the_order_of_arrival(lake: Lake) -> None:
    table = events_table(lake)
    for ids in ([5, 3], [9, 1], [4]):
        add(table, ids)
    compact(table)
    assert table.head().to_arrow().column("id").to_pylist() == [5, 3, 9, 1, 4]


def test_health_names_small_files_first_and_compaction_heals_it(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(10):
        add(table, [i])
    sick = health(table)
    assert sick.worst is not None
    assert sick.worst.name == "small files"
    assert "9 fewer files" in sick.worst.gain
    compact(table)
    assert health(table).score > sick.score
    assert health(table).worst is None


def test_an_empty_table_is_healthy(lake: Lake) -> None:
    assert health(events_table(lake)).score == 100
