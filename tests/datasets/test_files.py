"""A file plan lists the files of a version, down to their row groups, and survives the disk."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.datasets.files import FilePlan, PlannedFile
from headrace.errors import CorruptFileError, StorageFullError
from tests.datasets.conftest import River, day_of, sample
from tests.disks import room_for


def planned(name: str, *, day: str, groups: tuple[int, ...] = (3, 2)) -> PlannedFile:
    return PlannedFile(
        path=f"/lake/{name}.parquet",
        rows=sum(groups),
        row_group_rows=groups,
        bytes=100,
        partition=(day,),
    )


PLAN = FilePlan(
    (
        planned("b", day="2019-11-25"),
        planned("z", day="2019-11-24", groups=()),
        planned("a", day="2019-11-25", groups=(1,)),
    )
)


def test_files_are_ordered_by_partition_then_path() -> None:
    assert [file.path[6] for file in PLAN.files] == ["z", "a", "b"]
    assert (PLAN.rows, PLAN.bytes) == (6, 300)


def test_a_plan_reads_back_equal(tmp_path: Path) -> None:
    PLAN.write(tmp_path / "plan.parquet")
    assert FilePlan.read(tmp_path / "plan.parquet") == PLAN


def test_a_range_of_days_keeps_both_ends() -> None:
    assert PLAN.between(day_of(0), day_of(1)) == PLAN
    assert [file.path[6] for file in PLAN.between(day_of(1), day_of(9)).files] == ["a", "b"]


def test_the_plan_of_a_version_has_the_row_groups_of_its_files(river: River) -> None:
    river.build(0, [sample(0, n) for n in range(5)])
    river.build(1, [sample(1, 0)])
    plan = FilePlan.of(river.samples.head())
    assert [(file.partition, file.rows, file.row_group_rows) for file in plan.files] == [
        (("2019-11-24",), 5, (5,)),
        (("2019-11-25",), 1, (1,)),
    ]
    assert all(file.bytes == Path(file.path).stat().st_size for file in plan.files)
    assert FilePlan.of(river.samples.head(), partitions=[(day_of(1),)]).files == plan.files[1:]


def test_a_file_with_other_rows_than_its_metadata_says_is_corrupt(river: River) -> None:
    river.build(0, [sample(0, 0)])
    version = river.samples.head()
    path = Path(version.files()[0].path)
    pq.write_table(pa.table({"sample_id": ["a", "b"]}), path)
    with pytest.raises(CorruptFileError) as raised:
        FilePlan.of(version)
    assert raised.value.path == str(path)


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    with pytest.raises(CorruptFileError):
        FilePlan.read(path)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(CorruptFileError):
        FilePlan.read(path)
    pq.write_table(pa.table({"path": ["a"]}), path)
    with pytest.raises(CorruptFileError) as raised:
        FilePlan.read(path)
    assert raised.value.path == str(path)


def test_a_file_that_finds_no_room_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "datasets" / "ctr-v1.files.parquet"
    plan = PLAN
    with room_for(100), pytest.raises(StorageFullError):
        plan.write(path)
    assert list(path.parent.iterdir()) == []
    plan.write(path)
    assert FilePlan.read(path) == plan
