"""Remembering which files were checked: each is read once, whoever asks, until it changes."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyiceberg.io import FileIO

from headrace.api import Lake
from headrace.errors import CorruptFileError
from headrace.storage.file_cache import DATABASE
from headrace.storage.pages import check_pages
from headrace.tables import verified
from headrace.tables.commits import operations
from headrace.tables.lake import LakeTable
from headrace.tables.verified import VerifiedFiles
from headrace.tables.writer import write_batches
from tests.tables.delete_files import delete_positions
from tests.tables.factories import add, events, events_table

pytestmark = pytest.mark.slow

LONG_AGO_S = 1_700_000_000


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, in order; checking them is as real as ever."""
    paths: list[str] = []

    def counted(path: str, *, io: FileIO) -> bool:
        paths.append(path)
        return check_pages(path, io=io)

    monkeypatch.setattr(verified, "check_pages", counted)
    return paths


@pytest.fixture
def table(lake: Lake) -> LakeTable:
    """A table of three files that have been at rest for long."""
    made = events_table(lake)
    for day in range(3):
        add(made, range(100), day=day)
    _let_rest(made)
    return made


def _let_rest(table: LakeTable) -> None:
    for file in table.head().files():
        os.utime(file.path, (LONG_AGO_S, LONG_AGO_S))


def _of_another_process(table: LakeTable) -> VerifiedFiles:
    return VerifiedFiles(table.lake.settings.state_dir)


def test_every_file_is_read_once_by_all_processes_together(
    table: LakeTable, read: list[str]
) -> None:
    mine = _of_another_process(table)
    assert [mine.verify(table.head()) for _ in range(2)] == [0, 0]
    assert _of_another_process(table).verify(table.head()) == 0
    assert sorted(read) == sorted(file.path for file in table.head().files())
    add(table, [1], day=5)
    _let_rest(table)
    mine.verify(table.head())
    _of_another_process(table).verify(table.head())
    assert len(read) == 4


def test_a_file_that_changed_is_read_again(table: LakeTable, read: list[str]) -> None:
    mine, path = _of_another_process(table), table.head().files()[1].path
    mine.verify(table.head())
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 3] ^= 1
    Path(path).write_bytes(content)
    for each in (mine, _of_another_process(table)):
        with pytest.raises(CorruptFileError) as found:
            each.verify(table.head())
        assert found.value.path == path
    assert read[3:] == [path, path]


def test_a_file_put_in_the_place_of_another_with_its_size_and_time_is_read_again(
    table: LakeTable, read: list[str], tmp_path: Path
) -> None:
    mine, path = _of_another_process(table), Path(table.head().files()[0].path)
    mine.verify(table.head())
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / "other").write_bytes(content)
    os.utime(tmp_path / "other", (LONG_AGO_S, LONG_AGO_S))
    (tmp_path / "other").rename(path)
    with pytest.raises(CorruptFileError):
        mine.verify(table.head())
    assert len(read) == 4


def test_a_file_is_not_taken_for_known_while_its_time_may_stand_still(
    table: LakeTable, read: list[str]
) -> None:
    file = table.head().files()[0].path
    mine = _of_another_process(table)
    Path(file).write_bytes(Path(file).read_bytes())  # a write a moment later may leave that time
    mine.verify(table.head())
    mine.verify(table.head())
    assert read.count(file) == 2
    assert len(read) == 4


def test_files_that_are_missing_are_named_also_when_they_were_known(table: LakeTable) -> None:
    mine = _of_another_process(table)
    mine.verify(table.head())
    path = table.head().files()[2].path
    Path(path).unlink()
    with pytest.raises(CorruptFileError) as found:
        mine.verify(table.head())
    assert found.value.path == path


def test_delete_files_are_checked_with_their_data_files(table: LakeTable) -> None:
    delete_positions(table, {table.head().files()[0]: [1, 2]})
    (deletes,) = table.head().files()[0].deletes
    path = Path(deletes.file_path.removeprefix("file://"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptFileError) as found:
        _of_another_process(table).verify(table.head())
    assert found.value.path == str(path)


def test_files_without_checksums_are_counted_and_not_refused(
    table: LakeTable, read: list[str]
) -> None:
    for file in table.head().files()[:2]:
        pq.write_table(pq.read_table(file.path), file.path, write_page_checksum=False)
    _let_rest(table)
    mine = _of_another_process(table)
    assert [mine.verify(table.head()) for _ in range(2)] == [2, 2]
    assert _of_another_process(table).verify(table.head()) == 2
    assert _of_another_process(table).unverifiable(table.head()) == 2
    assert len(read) == 3


@pytest.mark.parametrize("content", [b"no database at all" * 300, b""])
def test_a_damaged_record_costs_reading_again_and_fails_nothing(
    table: LakeTable, read: list[str], content: bytes
) -> None:
    database = table.lake.settings.state_dir / DATABASE
    _of_another_process(table).verify(table.head())
    database.write_bytes(content)
    for _ in range(2):
        assert _of_another_process(table).verify(table.head()) == 0
    assert len(read) in (6, 9)  # read once more, or twice where the record had to go first
    _of_another_process(table).verify(table.head())
    assert len(read) in (6, 9)


def test_what_is_on_record_does_not_grow_with_files_that_are_gone(
    table: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified, "_SPARE_ROWS", 2)
    mine = _of_another_process(table)
    for number in range(8):
        gone = table.head().files()
        files = write_batches(table, [events([number])])
        operations.overwrite(table, files, provenance=operations.Provenance())
        for file in gone:
            Path(file.path).unlink()
        _let_rest(table)
        mine.verify(table.head())
    with closing(sqlite3.connect(table.lake.settings.state_dir / DATABASE)) as database:
        (held,) = database.execute("select count(*) from files").fetchone()
    assert held <= 2 * 1 + 2
