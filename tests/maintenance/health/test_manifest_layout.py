"""Whether listing a table's files anew pays, foreseen from bounds and confirmed by doing it."""

import datetime as dt
import itertools
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.iceberg.manifests import live_entries, manifests_of
from headrace.identifiers import TableName
from headrace.maintenance.health.health import health
from headrace.maintenance.health.manifest_layout import (
    Extent,
    ManifestLayout,
    layout_of,
    manifest_layout,
)
from headrace.maintenance.health.state import table_state
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.tables.factories import START, UTC_US, add, day_key, events_table

pytestmark = pytest.mark.slow

SERIAL = itertools.count()
COLUMNS = pa.schema(
    [pa.field("id", pa.int64()), pa.field("kind", pa.string()), pa.field("at", UTC_US)]
)


def measured(table: LakeTable, *, entries_max: int) -> ManifestLayout:
    loaded, files = table.iceberg(), table.head().files()
    return manifest_layout(
        manifests_of(loaded.metadata.current_snapshot(), loaded.io),
        loaded.metadata,
        files=Counter(file.partition for file in files),
        entries_max=entries_max,
    )


def opened_by_plans(table: LakeTable) -> float:
    """Count, for each partition in turn, the manifests whose entries a plan would read."""
    loaded = table.iceberg()
    listed = manifests_of(loaded.metadata.current_snapshot(), loaded.io)
    partitions = table.head().partitions
    opened = 0
    for key in partitions:
        paths = {file.path for file in table.head().files(partitions=[key])}
        for manifest in listed:
            held = {e.data_file.file_path for e in live_entries([manifest], loaded.io)}
            opened += any(path in location for path in paths for location in held)
    return opened / len(partitions)


def test_a_plan_of_one_day_that_opens_every_manifest_pays_for_one_rewrite(lake: Lake) -> None:
    table = events_table(lake)
    for number in range(21):
        for day in range(3):
            add(table, [number], day=day)
    before = table_state(table).layout.manifests
    assert before.pays
    assert before.opened > before.opened_ideal
    operations.rewrite_manifests(table, provenance=Provenance())
    after = table_state(table).layout.manifests
    assert not after.pays
    assert after.saved_s == 0
    assert (after.opened, after.manifests) == (1, 1)
    assert table_state(table).snapshot_id == table.head().snapshot_id


def test_what_a_rewrite_would_open_is_foreseen_exactly(lake: Lake) -> None:
    table = events_table(lake)
    for number in range(20):
        add(table, [number], day=number * 7 % 5)
    foreseen = measured(table, entries_max=3).opened_ideal
    operations.rewrite_manifests(table, provenance=Provenance(), entries_max=3)
    found = measured(table, entries_max=3)
    assert found.opened == foreseen == found.opened_ideal == opened_by_plans(table)


@hypothesis_settings(
    max_examples=examples(15, few=6),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    files=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", "c", None])),
        min_size=1,
        max_size=14,
    ),
    entries_max=st.integers(1, 5),
)
def test_a_second_rewrite_never_pays_whatever_files_are_partitioned_by(
    lake: Lake, files: list[tuple[int, str | None]], entries_max: int
) -> None:
    name = TableName("raw", f"t{next(SERIAL)}")  # each example has a table of its own
    table = lake.create(name, COLUMNS, partition_by=["day(at)", "kind"])
    for number, (day, kind) in enumerate(files):
        at = START + dt.timedelta(days=day)
        rows = {"id": [number], "kind": [kind], "at": [at]}
        batch = pa.record_batch(rows, schema=COLUMNS)
        operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    operations.rewrite_manifests(table, provenance=Provenance(), entries_max=entries_max)
    found = measured(table, entries_max=entries_max)
    assert found.opened == found.opened_ideal
    assert found.saved_s == 0
    assert not found.pays


def extent(entries: int, *, days: range) -> Extent:
    return Extent(entries=entries, bytes=100 * entries, holds=lambda key: key[0] in days)


def test_a_large_table_is_not_listed_anew_for_a_small_gain() -> None:
    files = {(day,): 100 for day in range(1_000)}
    # one manifest more for every plan saves 1.6 ms; listing 100,000 files takes 25 s
    tidy = [extent(1_000, days=range(at, at + 10)) for at in range(0, 1_000, 10)]
    found = layout_of([*tidy, extent(10, days=range(1_000))], files=files)
    assert found.saved_s > 0
    assert not found.pays
    scattered = [extent(1_000, days=range(1_000)) for _ in range(100)]
    assert layout_of(scattered, files=files).pays


def test_files_that_stay_apart_are_no_reason_to_list_others_anew() -> None:
    everything = range(10)
    apart = [extent(50, days=everything), extent(30, days=everything)]
    current = extent(10, days=everything)
    found = layout_of([current, *apart], files={(0,): 10}, apart=(50, 30))
    assert found.opened == found.opened_ideal == 3
    assert not found.pays


def test_an_unpartitioned_table_opens_all_its_manifests(lake: Lake) -> None:
    name = TableName("raw", "flat")
    table = lake.create(name, pa.schema([pa.field("id", pa.int64())]))
    for number in range(6):
        files = write_batches(table, [pa.record_batch({"id": pa.array([number], pa.int64())})])
        operations.append(table, files, provenance=Provenance())
    found = table_state(table).layout.manifests
    assert (found.opened, found.opened_ideal) == (6, 1)
    assert health(table).parts[0].name == "small files"


def test_nothing_is_opened_of_a_table_without_files(lake: Lake) -> None:
    table = events_table(lake)
    assert not table_state(table).layout.manifests.pays
    add(table, [1])
    assert table_state(table).layout.manifests.opened == 1
    assert day_key(0) in table.head().partitions
