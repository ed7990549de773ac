"""A lake moved to where another profile has its own: the same in every snapshot, ref, version and record."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyiceberg.manifest import DataFile

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.move import is_moved, move_lake
from headrace.datasets.publish import publish
from headrace.datasets.verify import verify
from headrace.datasets.versions import load_dataset
from headrace.errors import CorruptFileError, LakeError, LakeMoveError, MoveReason
from headrace.registry import Registry
from headrace.registry.schema import METADATA, OWNER, WRITES
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import OpenLake
from headrace.tables.move import plan_move
from headrace.tables.writer import write_batches
from tests.datasets.conftest import SAMPLE_SET, River
from tests.processes import CONTEXT
from tests.raising import refused
from tests.s3 import S3Place
from tests.tables.delete_files import delete_positions
from tests.tables.factories import add, day_key, events, events_table, ids_of
from tests.tables.test_relocate import KILLED, NAMES, WHAT, act, bytes_of, reading
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow


def moved(source: Settings, target: Settings) -> list[str]:
    return list(move_lake(source, target, plan_move(source, target)))


def records(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    """Read what the registry of a lake keeps for good."""
    with OpenLake.existing(settings) as lake:
        registry: Registry = lake.registry
        with registry.engine.connect() as connection:
            return {
                table.name: sorted(tuple(row) for row in connection.execute(sa.select(table)))
                for table in METADATA.sorted_tables
                if table.name not in {OWNER.name, WRITES.name}
            }


@pytest.fixture
def there(settings: Settings, tmp_path: Path) -> Settings:
    return replace(settings, state_dir=tmp_path / "there")


@pytest.fixture
def on_s3(s3: S3Place, tmp_path: Path) -> Settings:
    return s3.settings(tmp_path / "state-of-s3")


def two_tables(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        for name in NAMES:
            add(events_table(lake, name), [1, 2, 3])


def commit(settings: Settings, ids: list[int], *, name: str = NAMES[0]) -> None:
    with Lake.existing(settings) as lake:
        add(lake.table(name), ids)


@pytest.mark.parametrize("place", ["there", "on_s3"])
def test_every_snapshot_ref_and_record_is_as_it_was(
    settings: Settings, place: str, request: pytest.FixtureRequest
) -> None:
    target: Settings = request.getfixturevalue(place)
    source = replace(settings, snapshots_kept=6)
    with Lake.open(source) as lake:
        for name in NAMES:
            table = events_table(lake, name)
            for number, what in enumerate(["append", *WHAT]):
                act(table, what, number)
    before, held, kept = reading(source), records(source), bytes_of(source.warehouse)
    done = moved(source, target)
    assert done == [*NAMES, "registry"]
    assert bytes_of(source.warehouse) == kept
    assert records(target) == held
    after = reading(target)
    assert after.keys() == before.keys()
    for key, rows in before.items():
        assert after[key].equals(rows), key
    assert is_moved(source, target, plan_move(source, target))
    with Lake.existing(target) as lake:
        add(lake.table(NAMES[0]), [777])
        assert 777 in ids_of(lake.table(NAMES[0]))


def test_files_of_both_lakes_that_have_one_name_have_the_same_bytes(
    settings: Settings, there: Settings
) -> None:
    """Trino's cache knows a file by its path, without the bucket."""
    with Lake.open(settings) as lake:
        table = events_table(lake)
        for number, what in enumerate(["append", *WHAT]):
            act(table, what, number)
    moved(settings, there)
    here, copied = below(settings.warehouse), below(there.warehouse)
    both = here.keys() & copied.keys()
    assert any(name.endswith(".parquet") for name in both)
    assert {name for name in both if here[name] != copied[name]} == set()
    assert {name for name in copied if name.endswith((".json", ".avro"))} - both != set()


def below(folder: Path) -> dict[str, bytes]:
    return {str(Path(name).relative_to(folder)): each for name, each in bytes_of(folder).items()}


def test_dataset_versions_verify_where_they_are_now(three_days: River, on_s3: Settings) -> None:
    lock = publish(three_days.lake, SAMPLE_SET).lock
    plan = load_dataset(three_days.lake, "ctr").files
    source = three_days.lake.settings
    moved(source, on_s3)
    with Lake.existing(on_s3) as lake:
        assert verify(lake, "ctr").rows == 9
        there = load_dataset(lake, "ctr")
        assert there.lock == lock
        assert publish(lake, SAMPLE_SET).outcome == "unchanged"
    # the loader's order is a function of this one
    warehouse = local_path(on_s3.warehouse_uri)
    assert [each.path for each in there.files.files] == [
        each.path.replace(str(source.warehouse), warehouse) for each in plan.files
    ]


@pytest.mark.parametrize(
    "point", ["move.after_data_files:2", "move.before_swap", "move.before_records"]
)
def test_a_kill_leaves_tables_whole_and_the_next_run_does_the_rest(
    settings: Settings, there: Settings, point: str
) -> None:
    two_tables(settings)
    process = CONTEXT.Process(target=_crash, args=(settings, there, point))
    process.start()
    process.join(timeout=WAIT_S)
    assert process.exitcode == KILLED
    assert not is_moved(settings, there, plan_move(settings, there))
    commit(settings, [4])
    moved(settings, there)
    assert records(there) == records(settings)
    with Lake.existing(there) as lake:
        assert [ids_of(lake.table(name)) for name in NAMES] == [[1, 2, 3, 4], [1, 2, 3]]


def _crash(source: Settings, target: Settings, point: str) -> None:
    os.environ["HEADRACE_CRASH_AT"] = point
    moved(source, target)


def test_a_part_of_a_file_that_a_kill_left_is_copied_again(
    settings: Settings, there: Settings
) -> None:
    two_tables(settings)
    with Lake.existing(settings) as lake:
        file = Path(local_path(lake.table(NAMES[0]).head().files()[0].path))
    with Lake.open(there):
        part = there.warehouse / file.relative_to(settings.warehouse)
    part.parent.mkdir(parents=True)
    part.write_bytes(file.read_bytes()[:100])
    moved(settings, there)
    assert part.read_bytes() == file.read_bytes()


def test_what_is_there_and_not_here_is_never_lost(settings: Settings, there: Settings) -> None:
    two_tables(settings)
    moved(settings, there)
    commit(there, [10])
    with refused(LakeMoveError, reason=MoveReason.CHANGED_THERE, table=NAMES[0]):
        plan_move(settings, there)
    commit(settings, [20])
    with refused(LakeMoveError, reason=MoveReason.CHANGED_THERE, table=NAMES[0]):
        plan_move(settings, there)
    with Lake.existing(there) as lake:
        assert ids_of(lake.table(NAMES[0])) == [1, 2, 3, 10]
        events_table(lake, "raw.third")
    with refused(LakeMoveError, reason=MoveReason.TABLE_ONLY_THERE, table="raw.third"):
        plan_move(settings, there)


@pytest.mark.parametrize("when", ["planned", "copied"])
def test_a_table_that_changes_meanwhile_is_refused(
    settings: Settings, there: Settings, when: str
) -> None:
    two_tables(settings)
    plan = plan_move(settings, there)
    if when == "planned":
        commit(settings, [4])
    steps = move_lake(settings, there, plan)
    with refused(LakeMoveError, reason=MoveReason.CHANGED_MEANWHILE, table=NAMES[0]) as found:
        for each in steps:
            if each == NAMES[1]:
                commit(settings, [4])
    assert found.value.retryable
    moved(settings, there)
    with Lake.existing(there) as lake:
        assert ids_of(lake.table(NAMES[0])) == [1, 2, 3, 4]


def test_a_table_moved_before_that_changes_meanwhile_is_refused(
    settings: Settings, there: Settings
) -> None:
    two_tables(settings)
    moved(settings, there)
    commit(settings, [4])
    held = records(there)
    plan = plan_move(settings, there)
    assert [each.table for each in plan.tables] == [NAMES[0]]
    steps = move_lake(settings, there, plan)
    assert next(steps) == NAMES[0]
    commit(settings, [5], name=NAMES[1])
    with refused(LakeMoveError, reason=MoveReason.CHANGED_MEANWHILE, table=NAMES[1]):
        list(steps)
    assert records(there) == held


def test_two_moves_at_once_do_not_undo_each_other(settings: Settings, there: Settings) -> None:
    two_tables(settings)
    late = plan_move(settings, there)
    moved(settings, there)
    commit(there, [10])
    with refused(LakeMoveError, reason=MoveReason.CHANGED_MEANWHILE):
        list(move_lake(settings, there, late))
    with Lake.existing(there) as lake:
        assert ids_of(lake.table(NAMES[0])) == [1, 2, 3, 10]


def test_a_file_that_is_missing_is_named_and_its_table_is_not_there(
    settings: Settings, there: Settings
) -> None:
    two_tables(settings)
    with Lake.existing(settings) as lake:
        file = Path(local_path(lake.table(NAMES[1]).head().files()[0].path))
    file.unlink()
    with pytest.raises(CorruptFileError) as found:
        moved(settings, there)
    assert local_path(found.value.path) == str(file)
    with Lake.open(there) as lake:
        assert [str(name) for name in lake.names()] == [NAMES[0]]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (lambda settings: settings, MoveReason.SAME_LAKE),
        (lambda settings: replace(settings, catalog="theirs"), MoveReason.OTHER_CATALOG),
    ],
)
def test_a_lake_that_cannot_be_moved_there_is_refused(
    settings: Settings, target: Callable[[Settings], Settings], reason: MoveReason
) -> None:
    two_tables(settings)
    with refused(LakeMoveError, reason=reason):
        plan_move(settings, target(settings))


def test_a_table_elsewhere_is_refused_by_name(
    settings: Settings, there: Settings, tmp_path: Path
) -> None:
    source = replace(settings, tables_also_in=(f"file://{tmp_path}/elsewhere",))
    two_tables(source)
    with Lake.existing(source) as lake:
        schema = lake.table(NAMES[0]).iceberg().schema()
        lake.catalog.create_table(
            ("raw", "far"), schema, location=f"file://{tmp_path}/elsewhere/far"
        )
    with refused(LakeMoveError, reason=MoveReason.OUTSIDE_WAREHOUSE, table="raw.far"):
        plan_move(source, there)


def test_a_lake_that_is_not_there_is_not_made(settings: Settings, there: Settings) -> None:
    with pytest.raises(LakeError):
        plan_move(settings, there)
    assert not there.state_dir.exists()


def test_deleted_rows_stay_deleted_where_files_of_two_folders_have_one_name(
    settings: Settings, on_s3: Settings
) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake, NAMES[0])
        files = [
            _renamed(file)
            for day in range(2)
            for file in write_batches(table, [events([10 * day, 10 * day + 1], day=day)])
        ]
        operations.append(table, files, provenance=Provenance())
        first = table.head().files(partitions=[day_key(0)])[0]
        delete_positions(table, {first: [0]})
        left = ids_of(table)
        assert left == [1, 10, 11]
    moved(settings, on_s3)
    with Lake.open(on_s3) as lake:
        assert ids_of(lake.table(NAMES[0])) == left


def _renamed(file: DataFile) -> DataFile:
    """Give a data file a name that those of other folders have too, as some writers do."""
    path = Path(local_path(file.file_path))
    path.rename(path.with_name("part-0.parquet"))
    at = next(n for n, value in enumerate(file._data) if value == file.file_path)
    file._data[at] = file.file_path.replace(path.name, "part-0.parquet")
    return file
