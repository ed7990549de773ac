"""A copied lake made its own: every snapshot and ref reads the same, and the original is not touched."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import FileFormat

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.errors import CorruptFileError, LakeError, TablesElsewhereError, UnsupportedTableError
from headrace.iceberg.standard_properties import METADATA_PATH
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.refs import refs
from headrace.tables.relocate import apply_relocation, plan_relocation
from headrace.tables.writer import write_batches
from tests.maintenance.cleanup.needed import needed_by
from tests.processes import CONTEXT
from tests.tables.delete_files import delete_positions, delete_values
from tests.tables.factories import add, day_key, events, events_table, ids_of
from tests.tables.histories import few_snapshots
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

KILLED = -9
NAMES = ("raw.events", "raw.other")
Reading = Mapping[tuple[str, str | int], pa.Table]


def reading(settings: Settings) -> Reading:
    """Read every snapshot and every ref of every table."""
    found: dict[tuple[str, str | int], pa.Table] = {}
    with Lake.open(settings) as lake:
        for name in lake.names():
            table = lake.table(name)
            metadata = table.iceberg().metadata
            for snapshot in metadata.snapshots:
                version = table.at(snapshot_id=snapshot.snapshot_id)
                found[str(name), snapshot.snapshot_id] = version.to_arrow().sort_by("id")
            for ref, named in metadata.refs.items():
                found[str(name), ref] = found[str(name), named.snapshot_id]
    return found


def stock_ids(settings: Settings, name: str) -> list[int]:
    """Read a table as a program without headrace does."""
    catalog = SqlCatalog("lake", uri=settings.catalog_uri, warehouse=f"file://{settings.warehouse}")
    try:
        rows = catalog.load_table(name).scan(selected_fields=("id",)).to_arrow()
    finally:
        catalog.close()
    return sorted(rows.column("id").to_pylist())


def bytes_of(folder: Path) -> dict[str, bytes]:
    # readers open databases too, which SQLite notes beside them
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".db-shm", ".db-wal"}
    }


def act(table: LakeTable, what: str, number: int) -> None:
    """Do one thing that leaves its mark in metadata, to ids that only this number has."""
    ids = [10 * number, 10 * number + 1, 10 * number + 2]
    if what == "append":
        add(table, ids, day=number % 2)
    elif what == "overwrite":
        files = write_batches(table, [events(ids)])
        operations.overwrite_partitions(
            table, files, partitions=[day_key(0)], provenance=Provenance()
        )
    elif what == "delete":
        delete_where(table, f"id = {10 * (number - 1)}", provenance=Provenance())
    elif what == "compact":
        compact(table)
    elif what == "branch":
        refs.create_branch(table, f"b{number}")
        files = write_batches(table, [events(ids)])
        operations.append(table, files, provenance=Provenance(), branch=f"b{number}")
    elif what == "tag":
        refs.tag(table, f"t{number}", snapshot_id=table.head().snapshot_id or 0)
    elif what == "positions":
        file = table.head().files()[0]
        delete_positions(table, {file: [0]}, bounded=number % 2 == 0)
    elif what == "values":
        delete_values(table, pa.table({"id": pa.array([1], pa.int64())}), partition=None)


WHAT = ("append", "overwrite", "delete", "compact", "branch", "tag", "positions")


@hypothesis_settings(
    deadline=None,
    max_examples=3,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example has its own lake
)
@given(story=st.lists(st.sampled_from(WHAT), min_size=4, max_size=7), original_stays=st.booleans())
def test_every_snapshot_and_ref_of_a_copy_reads_as_in_the_original(
    tmp_path_factory: pytest.TempPathFactory,
    settings: Settings,
    story: list[str],
    original_stays: bool,
) -> None:
    home = tmp_path_factory.mktemp("lake")
    original = replace(settings, state_dir=home / "state", snapshots_kept=5)
    with Lake.open(original) as lake:
        for name in NAMES:
            table = events_table(lake, name)
            for number, what in enumerate(["append", *story, "positions", "tag"]):
                if what != "positions" or table.head().files():
                    act(table, what, number)
    before, folder = reading(original), bytes_of(original.state_dir)
    copy = replace(original, state_dir=home / "copy")
    shutil.copytree(original.state_dir, copy.state_dir)
    if not original_stays:
        original.state_dir.rename(home / "away")

    plan = plan_relocation(copy)
    assert [each.table for each in plan.tables] == list(NAMES)
    assert [each.table for each in apply_relocation(copy, plan)] == list(NAMES)
    assert not plan_relocation(copy).tables

    after = reading(copy)
    assert after.keys() == before.keys()
    for key, rows in before.items():
        assert after[key].equals(rows), key
    with Lake.existing(copy) as lake:
        for name in NAMES:
            table = lake.table(name)
            assert {str(copy.warehouse)} == {
                path[: len(str(copy.warehouse))] for path in needed_by(table.iceberg())
            }
            ids = ids_of(table)
            assert stock_ids(copy, name) == ids
            add(table, [777])
            compact(table)
            assert ids_of(table) == sorted([*ids, 777])
    if original_stays:
        assert bytes_of(original.state_dir) == folder
        with Lake.existing(original) as lake:
            assert 777 not in ids_of(lake.table(NAMES[0]))


def copied(settings: Settings) -> Settings:
    """A lake of two tables, copied."""
    copy = replace(settings, state_dir=settings.state_dir.with_name("copy"))
    shutil.copytree(settings.state_dir, copy.state_dir)
    return copy


def two_tables(settings: Settings) -> None:
    with Lake.open(few_snapshots(settings)) as lake:
        for name in NAMES:
            add(events_table(lake, name), [1, 2, 3])


def _relocate(settings: Settings) -> None:
    for _ in apply_relocation(settings, plan_relocation(settings)):
        pass


def test_a_kill_leaves_tables_whole_and_the_next_run_does_the_rest(
    settings: Settings,
) -> None:
    two_tables(settings)
    copy = copied(settings)
    process = CONTEXT.Process(target=_crash, args=(copy,))
    process.start()
    process.join(timeout=WAIT_S)
    assert process.exitcode == KILLED
    with pytest.raises(TablesElsewhereError) as caught:
        Lake.open(copy)
    assert caught.value.tables == 1
    _relocate(copy)
    with Lake.open(copy) as lake:
        assert [ids_of(lake.table(name)) for name in NAMES] == [[1, 2, 3]] * 2


def _crash(settings: Settings) -> None:
    os.environ["HEADRACE_CRASH_AT"] = "relocate.before_swap:2"
    _relocate(settings)


def test_deletes_in_an_unknown_format_are_named_and_nothing_is_left_behind(
    settings: Settings,
) -> None:
    two_tables(settings)
    with Lake.open(settings) as lake:
        table = lake.table(NAMES[0])
        delete_positions(table, {table.head().files()[0]: [0]}, file_format=FileFormat.AVRO)
    _refused(copied(settings), UnsupportedTableError)


def test_a_file_that_was_not_copied_is_named_and_nothing_is_left_behind(settings: Settings) -> None:
    two_tables(settings)
    copy = copied(settings)
    with Lake.open(settings) as lake:
        lost = lake.table(NAMES[0]).head().files()[0].path
    Path(lost.replace(str(settings.warehouse), str(copy.warehouse))).unlink()
    _refused(copy, CorruptFileError)


def test_of_a_snapshot_begun_nothing_is_left_behind_either(settings: Settings) -> None:
    with Lake.open(replace(settings, snapshots_kept=1)) as lake:
        table = events_table(lake)
        for number in range(4):
            add(table, [number])
        assert len(table.iceberg().metadata.snapshots) < table.head().manifest_count
        oldest = min(table.head().files(), key=lambda each: each.sequence).path
    copy = copied(settings)
    Path(oldest.replace(str(settings.warehouse), str(copy.warehouse))).unlink()
    _refused(copy, CorruptFileError)


def test_new_metadata_lies_where_the_table_says(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        folder = f"{table.iceberg().location()}/newer"
        operations.move_properties(table, lambda _: {METADATA_PATH: folder})
        add(table, [1])
    copy = copied(settings)
    _relocate(copy)
    with Lake.open(copy) as lake:
        table = lake.table(NAMES[0])
        assert table.iceberg().metadata_location.startswith(
            f"file://{copy.warehouse}/raw/events/newer/"
        )
        assert ids_of(table) == [1]


def _refused(copy: Settings, error: type[LakeError]) -> None:
    before = bytes_of(copy.warehouse)
    with pytest.raises(error):
        _relocate(copy)
    assert bytes_of(copy.warehouse) == before


def test_a_table_without_a_copy_here_is_told_apart(settings: Settings) -> None:
    two_tables(settings)
    copy = copied(settings)
    shutil.rmtree(copy.warehouse / "raw" / "other")
    plan = plan_relocation(copy)
    assert [each.table for each in plan.tables] == ["raw.events"]
    assert plan.strangers == ("raw.other",)
