"""Health: every part says what is wrong, in points, words and numbers, and what fixing it gains."""

import dataclasses
import datetime as dt
import itertools
import json
import os
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.properties import CLUSTER_BY
from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup
from headrace.maintenance.cleanup.orphans import ORPHAN_BYTES, ORPHAN_FILES
from headrace.maintenance.compaction.compact import compact
from headrace.maintenance.compaction.minor_major import BinSize
from headrace.maintenance.health.health import health, health_of
from headrace.maintenance.health.layout import DeleteLayout
from headrace.maintenance.health.limits import Limits
from headrace.maintenance.health.state import TableState, table_state
from headrace.registry import Measure
from headrace.tables import intents
from headrace.tables.commits import operations
from headrace.tables.flaws import Flaw
from headrace.tables.refs.refs import tag
from headrace.tables.verified import VerifiedFiles
from headrace.tables.writer import write_batches
from tests.maintenance.factories import (
    HOUR_MS,
    MIB,
    NOW_MS,
    layout_with,
    part,
    scattered,
    small_files,
    state,
)
from tests.tables.delete_files import delete_positions, delete_values
from tests.tables.factories import add, day_key, events, events_table

PARTS = {
    "small files",
    "deletes",
    "snapshots",
    "manifests",
    "orphan bytes",
    "metadata bytes",
    "clustering",
    "flawed files",
}
GAINS_NO_TIME = {"metadata bytes", "flawed files"}
MEASURED = Measure(value=40 * MIB, measured_at_ms=NOW_MS)


def sick_of(name: str) -> TableState:
    """A table with one thing wrong."""
    plain = state(partitions=[part((1,), files=4)])
    held = dataclasses.replace(plain, layout=dataclasses.replace(plain.layout, bytes=40 * MIB))
    overlapping = BinSize(files=12, files_out=12, bytes=40 * MIB, sequence=1)
    return {
        "small files": state(partitions=[part((1,), major=[small_files(10)])]),
        "deletes": layout_with(
            held,
            deletes=DeleteLayout(delete_files=2, data_files=4, data_bytes=20 * MIB, opened=8),
        ),
        "snapshots": state(snapshots=400, expirable=299),
        "manifests": layout_with(held, manifests=scattered()),
        "orphan bytes": dataclasses.replace(held, orphan_bytes=MEASURED, orphan_files=MEASURED),
        "clustering": layout_with(
            state(partitions=[part((1,), files=12, major=[overlapping], depth=9.0)]),
            sorted_by="session",
        ),
        "metadata bytes": state(limits=Limits(properties={"a": "b"})),
        "flawed files": layout_with(held, flaws={Flaw.UNPROVED_BOUNDS: 2}, flawed_bytes=MIB),
    }[name]


@pytest.mark.parametrize("name", sorted(PARTS))
def test_each_part_is_named_first_when_it_alone_is_wrong(name: str) -> None:
    found = health_of(sick_of(name))
    assert found.worst is not None
    assert found.worst.name == name
    assert found.worst.gain
    assert found.worst.gain_s > 0 or found.worst.gain_bytes > 0 or name in GAINS_NO_TIME
    assert found.worst.cost_bytes > 0 or name == "orphan bytes"
    assert found.score == 100 - found.worst.penalty
    assert [each.penalty for each in found.parts[1:]] == [0] * (len(PARTS) - 1)


def test_a_healthy_table_has_every_part_and_nothing_to_gain() -> None:
    found = health_of(state(partitions=[part((1,), files=3)]))
    assert {each.name for each in found.parts} == PARTS
    assert (found.score, found.worst) == (100, None)
    assert not any(each.gain or each.gain_s or each.gain_bytes for each in found.parts)


numbers = st.integers(0, 10**6)


@given(
    files=st.integers(2, 5_000),
    snapshots=numbers,
    expirable=numbers,
    metadata_bytes=st.integers(0, 10**9),
    orphan_bytes=st.integers(0, 10**12),
    deletes=st.builds(
        DeleteLayout,
        delete_files=st.integers(0, 5),
        data_files=st.integers(0, 5),
        data_bytes=st.integers(0, MIB),
        opened=numbers,
        by_value=st.booleans(),
    ),
)
def test_a_score_is_from_0_to_100_and_the_worst_part_first(
    files: int,
    snapshots: int,
    expirable: int,
    metadata_bytes: int,
    orphan_bytes: int,
    deletes: DeleteLayout,
) -> None:
    found = layout_with(
        state(
            partitions=[part((1,), major=[small_files(files)])],
            snapshots=snapshots,
            expirable=expirable,
            metadata_bytes=metadata_bytes,
            orphan_bytes=Measure(value=orphan_bytes, measured_at_ms=NOW_MS),
        ),
        deletes=deletes,
    )
    scored = health_of(found)
    assert 0 <= scored.score <= 100
    assert all(each.penalty >= 0 for each in scored.parts)
    assert all(a.penalty >= b.penalty for a, b in itertools.pairwise(scored.parts))
    assert scored.score == max(0, 100 - sum(each.penalty for each in scored.parts))


def test_orphan_bytes_say_when_they_were_measured_and_before_that_that_nobody_looked(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, [1])
    (before,) = [each for each in health(table).parts if each.name == "orphan bytes"]
    assert (before.finding, before.penalty) == ("not searched yet", 0)
    for name, value in ((ORPHAN_BYTES, 3 * MIB), (ORPHAN_FILES, 12)):
        lake.registry.record_measure("raw.events", name, value, measured_at_ms=NOW_MS)
    worst = health(table).worst
    assert worst is not None
    assert worst.finding == "12 files, 3.0 MiB of orphan files, as of 2024-05-01 12:00 UTC"
    assert worst.gain_bytes == 3 * MIB


def test_deleted_rows_are_found_with_the_files_they_are_in(lake: Lake) -> None:
    table = events_table(lake)
    add(table, range(5))
    add(table, range(5, 9), day=1)
    (first,) = table.head().files(partitions=[day_key(0)])
    delete_positions(table, {first: [1, 3]})
    found = health(table)
    deletes = next(each for each in found.parts if each.name == "deletes")
    assert deletes.finding == "1 delete file takes rows from 1 of 2 files"
    assert 0 < deletes.penalty < 40
    assert deletes.cost_bytes == first.bytes


def test_rows_deleted_by_value_cost_most_as_most_readers_cannot_read_them(lake: Lake) -> None:
    table = events_table(lake)
    add(table, range(5))
    (file,) = table.head().files()
    gone = pa.table({"id": pa.array([1], pa.int64())})
    delete_values(table, gone, partition=file.data_file.partition)
    worst = health(table).worst
    assert worst is not None
    assert (worst.name, worst.penalty) == ("deletes", 40)
    assert "by value" in worst.finding


def test_snapshots_that_tags_keep_are_no_gain_anyone_can_have(settings: Settings) -> None:
    few = dataclasses.replace(settings, snapshots_kept=2)
    with Lake.open(few) as lake:
        table = events_table(lake)
        for number in range(8):
            add(table, [number])
            tag(table, f"t{number}", snapshot_id=table.head().snapshot_id or 0)
        found = next(each for each in health(table).parts if each.name == "snapshots")
    assert found.penalty > 0
    assert found.gain == ""
    assert "tags and branches keep them" in found.finding


def test_a_layout_is_remembered_by_snapshot_and_nothing_else_is(lake: Lake) -> None:
    table = events_table(lake)
    for number in range(4):
        add(table, [number])
    first, again = table_state(table), table_state(table)
    assert again.layout is first.layout
    lake.registry.record_measure("raw.events", ORPHAN_BYTES, 5, measured_at_ms=1)
    assert table_state(table).orphan_bytes == Measure(value=5, measured_at_ms=1)
    add(table, [9])
    assert table_state(table).layout is not first.layout
    assert table_state(table).layout.files == 5
    assert table_state(table, target_bytes=1).layout.removable == 0


def test_a_state_knows_which_partitions_are_still_written_to(lake: Lake) -> None:
    table = events_table(lake)
    for number in range(3):
        add(table, [number])
    add(table, [9], day=1)
    written = table_state(table).written_ms
    assert written.keys() == {'["2024-05-01"]', '["2024-05-02"]'}
    compact(table)
    assert table_state(table).written_ms == written  # a compaction is no write
    now_ms = max(written.values()) + 3_600_001
    assert table_state(table, now_ms=now_ms).written_ms == {}
    assert table_state(table, cold_after_s=0.0).written_ms == {}


def test_a_stream_whose_rows_come_late_keeps_its_partitions_open_longer(lake: Lake) -> None:
    table = events_table(lake)
    assert table_state(table).cold_after_s == 3_600
    late = {"headrace.lateness_s": "86400.0"}
    lake.create(table.name, table.head().schema, partition_by=["day(event_time)"], properties=late)
    assert table_state(table).cold_after_s == 86_400
    assert table_state(table, cold_after_s=5.0).cold_after_s == 5


def test_health_of_a_table_does_not_change_with_commits_that_expired(settings: Settings) -> None:
    few = dataclasses.replace(settings, snapshots_kept=3)
    with Lake.open(few) as lake:
        table = events_table(lake)
        for number in range(12):
            add(table, [number])
        operations.expire(table, keep=1, before_ms=10**15)
        found = health(table)
    assert found.files == 12
    assert found.snapshots <= 4


def test_the_orphans_a_plan_of_clean_up_finds_are_known_until_they_are_gone(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, [1])
    left = write_batches(table, [events([99])])
    intents.landed(lake.registry, left)  # as if its writer had ended
    soon, later = NOW_MS, time.time_ns() // 1_000_000 + 100 * HOUR_MS
    assert not table_state(table, now_ms=soon).look_due
    assert table_state(table, now_ms=later).look_due
    then = dt.datetime.fromtimestamp(later / 1000, dt.UTC)
    plan = plan_cleanup(table, now=then)
    found = table_state(table, now_ms=later)
    assert found.orphan_bytes == Measure(value=plan.bytes, measured_at_ms=later)
    assert (found.orphan_files is not None, found.look_due) == (True, False)
    assert table_state(table, now_ms=later + 25 * HOUR_MS).look_due
    apply_cleanup(table, plan, now=then)
    assert table_state(table).orphan_bytes == Measure(value=0, measured_at_ms=later)


def test_files_that_overlap_in_the_declared_order_cost_points_until_they_are_sorted(
    lake: Lake,
) -> None:
    by_id = {CLUSTER_BY: json.dumps(["id"])}
    table = events_table(lake)
    lake.create(table.name, table.head().schema, partition_by=["day(event_time)"], properties=by_id)
    for number in range(8):
        add(table, [number, number + 100])
    found = next(each for each in health(table).parts if each.name == "clustering")
    assert found.finding == "a look-up by `id` opens 4.5 of 8 files of its partition"
    assert found.penalty > 0
    compact(table)
    found = next(each for each in health(table).parts if each.name == "clustering")
    assert found.finding == "a look-up by `id` opens 1 of 1 files of its partition"
    assert (found.penalty, found.gain) == (0, "")


def test_files_that_cannot_be_checked_for_damage_are_shown_once_they_were_met(lake: Lake) -> None:
    table = events_table(lake)
    for day in range(3):
        add(table, range(10), day=day)
    (path, *_) = (file.path for file in table.head().files())
    pq.write_table(pq.ParquetFile(path).read(), path, write_page_checksum=False)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    VerifiedFiles.of(lake.settings).verify(table.head())
    assert table_state(table).unverifiable_files == 1
    (part,) = (part for part in health(table).parts if part.name == "checksums")
    assert part.finding.startswith("1 of 3 files")
