"""Light runs: only full tiers are taken, so that few rows are written anew however often they run."""

from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.manifest import DataFile

from headrace.maintenance.compaction.tiers import FILES_PER_TIER, full_tiers
from headrace.tables.version import FileEntry

TARGET = 10_000


def file_of(rows: int, number: int, *, bytes: int = 1, deletes: int = 0) -> FileEntry:
    gone = tuple(DataFile() for _ in range(deletes))
    return FileEntry(f"{number}", rows, bytes, (), number, DataFile(), gone)


def files_of(rows: list[int]) -> list[FileEntry]:
    return [file_of(each, number) for number, each in enumerate(rows)]


@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_only_tiers_that_are_full_are_taken(rows: list[int]) -> None:
    files = files_of(rows)
    taken = full_tiers(files, target_bytes=TARGET)
    assert not taken or len(taken) >= FILES_PER_TIER
    left = [file for file in files if file.path not in taken]
    assert full_tiers(left, target_bytes=TARGET) == frozenset()


def test_large_files_and_those_with_deleted_rows_are_not_for_light_runs() -> None:
    large = [file_of(1, number, bytes=TARGET) for number in range(20)]
    deleted = [file_of(1, number, deletes=1) for number in range(20)]
    assert full_tiers([*large, *deleted], target_bytes=TARGET) == frozenset()


@given(
    arrivals=st.lists(st.integers(1, 7), min_size=1, max_size=300),
)
def test_a_row_is_written_anew_once_for_each_power_of_eight(arrivals: list[int]) -> None:
    files: list[FileEntry] = []
    written = 0
    for number, rows in enumerate(arrivals):
        files.append(file_of(rows, number))
        taken = full_tiers(files, target_bytes=TARGET)
        merged = sum(file.rows for file in files if file.path in taken)
        written += merged
        files = [file for file in files if file.path not in taken]
        if merged:
            files.append(file_of(merged, 1_000 + number))
    total = sum(arrivals)
    assert sum(file.rows for file in files) == total
    powers = (total.bit_length() - 1) // 3
    assert written <= powers * total
    assert len(files) <= (powers + 1) * (FILES_PER_TIER - 1) + 1
