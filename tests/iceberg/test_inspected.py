"""Remembering what footers said: each is read once by all processes, until its file changes."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyiceberg.io import FileIO
from pyiceberg.table.name_mapping import NameMapping

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.condition import Condition
from headrace.dml.delete import plan_delete
from headrace.dml.merge import NewRows, plan_merge
from headrace.iceberg import inspected
from headrace.iceberg.inspected import InspectedFiles
from headrace.iceberg.inspection import Inspection, inspect
from headrace.iceberg.standard_properties import ROW_GROUP_ROWS
from headrace.identifiers import TableName
from headrace.storage import file_cache
from headrace.storage.file_cache import DATABASE, FileCache, FileState
from headrace.tables.commits import operations
from headrace.tables.flaws import find_flaws
from headrace.tables.lake import LakeTable
from headrace.tables.verified import VerifiedFiles
from headrace.tables.version import TableVersion
from headrace.tables.writer import write_batches
from tests.processes import CONTEXT
from tests.tables.catalogs.test_foreign import sql_catalog
from tests.tables.flawed import COLUMNS, GROUP_ROWS, LONG, NAME, ROWS, unmarked_text

pytestmark = pytest.mark.slow

LONG_AGO_S = 1_700_000_000
FILES = 3


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose footers were read, in order; reading them is as real as ever."""
    paths: list[str] = []

    def counted(path: str, *, io: FileIO, mapping: NameMapping | None = None) -> Inspection:
        paths.append(path)
        return inspect(path, io=io, mapping=mapping)

    monkeypatch.setattr(inspected, "inspect", counted)
    return paths


@pytest.fixture
def table(lake: Lake) -> LakeTable:
    """A table of files of several row groups that have been at rest for long."""
    made = lake.create(TableName("raw", "t"), COLUMNS, properties={ROW_GROUP_ROWS: str(GROUP_ROWS)})
    for number in range(FILES):
        _add(made, number)
    return made


def _add(table: LakeTable, number: int) -> str:
    texts = [f"{number}-{row:03}" for row in range(ROWS)]
    batch = pa.record_batch([range(ROWS), texts], schema=COLUMNS)
    operations.append(table, write_batches(table, [batch]), provenance=operations.Provenance())
    for path in _paths(table):
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return _paths(table)[-1]


def _paths(table: LakeTable) -> list[str]:
    return [file.path for file in table.head().files()]


def _in_another_process(settings: Settings, act: Callable[[TableVersion], object]) -> None:
    """Do something as a process does that starts now: it remembers nothing."""
    inspected._shared.cache_clear()
    with Lake.open(settings) as lake:
        act(lake.table("raw.t").head())
    inspected._shared.cache_clear()


def _find(version: TableVersion) -> None:
    assert find_flaws(version, version.files()) == {}


def _delete(version: TableVersion) -> None:
    condition = Condition("s > 'x'", version.metadata, table="raw.t", inspector=version.inspector)
    assert plan_delete(version, condition).files_untouched == FILES


def _merge(version: TableVersion) -> None:
    rows = pa.table([[777], ["x"]], schema=COLUMNS)
    assert plan_merge(version, NewRows.of(rows, version, key=["s"])) == ()


@pytest.mark.parametrize("first", [_find, _delete, _merge])
@pytest.mark.parametrize("second", [_find, _delete, _merge])
def test_a_second_process_reads_no_footer(
    table: LakeTable,
    read: list[str],
    first: Callable[[TableVersion], None],
    second: Callable[[TableVersion], None],
) -> None:
    _in_another_process(table.lake.settings, first)
    assert sorted(read) == sorted(_paths(table))
    _in_another_process(table.lake.settings, second)
    assert len(read) == FILES


def test_only_files_that_were_added_since_are_read(table: LakeTable, read: list[str]) -> None:
    _in_another_process(table.lake.settings, _find)
    added = set(_paths(table)), _add(table, FILES)
    _in_another_process(table.lake.settings, _find)
    assert len(read) == FILES + 1
    assert read[-1] not in added[0]


def test_many_files_cost_one_query_and_one_transaction(
    table: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    recall, record = FileCache.recall, FileCache.record
    monkeypatch.setattr(FileCache, "recall", lambda *a: used.append("read") or recall(*a))
    monkeypatch.setattr(FileCache, "record", lambda *a: used.append("written") or record(*a))
    for act in (_find, _delete):
        used.clear()
        (table.lake.settings.state_dir / DATABASE).unlink(missing_ok=True)
        _in_another_process(table.lake.settings, act)
        assert used == ["read", "written"]
        _in_another_process(table.lake.settings, act)
        assert used == ["read", "written", "read"]


def test_what_was_read_is_not_read_again_by_the_same_process(
    table: LakeTable, read: list[str]
) -> None:
    (table.lake.settings.state_dir / DATABASE).mkdir()  # there is nothing to write to
    for act in (_find, _delete, _merge, _find):
        act(table.head())
    assert len(read) == FILES


@pytest.mark.parametrize("other", ["size", "time", "file"])
def test_a_file_that_was_replaced_is_inspected_again(
    table: LakeTable, read: list[str], tmp_path: Path, other: str
) -> None:
    _in_another_process(table.lake.settings, _find)
    path, source = _paths(table)[1], tmp_path / "other"
    source.write_bytes(b"\0" * (other == "size") + Path(path).read_bytes())
    changed_s = LONG_AGO_S + (other == "time")
    os.utime(source, (changed_s, changed_s))
    source.rename(path)
    if other == "size":  # the file, and nothing else of it
        assert FileState.of(path, table.iceberg().io).bytes == table.head().files()[1].bytes + 1
    for _ in range(2):
        _in_another_process(table.lake.settings, _find)
    assert read[FILES:] == [path]


def test_a_file_that_was_replaced_is_seen_by_the_process_that_knew_it(
    table: LakeTable, read: list[str]
) -> None:
    version, path = table.head(), _paths(table)[0]
    _find(version)
    batch = pa.record_batch([range(ROWS), [*["a"] * (ROWS - 1), LONG]], schema=COLUMNS)
    (other,) = write_batches(table, [batch])
    Path(other.file_path.removeprefix("file://")).rename(path)
    (flaws,) = find_flaws(version, version.files()).values()
    assert flaws.unproved_bounds == {2}
    assert read[FILES:] == [path]


def test_a_file_is_not_taken_for_known_while_its_time_may_stand_still(
    table: LakeTable, read: list[str]
) -> None:
    path = Path(_paths(table)[0])
    path.write_bytes(path.read_bytes())  # a write a moment later may leave that time
    _find(table.head())
    _find(table.head())
    assert read.count(str(path)) == 2
    assert len(read) == FILES + 1


def test_files_that_are_missing_have_no_flaws_also_when_they_were_known(
    table: LakeTable, read: list[str]
) -> None:
    version = table.head()
    _find(version)
    Path(_paths(table)[2]).unlink()
    assert len(version.inspector.inspect_all(_paths(table))) == FILES - 1
    assert len(read) == FILES


@pytest.mark.parametrize("content", [b"no database at all" * 300, b""])
def test_a_damaged_record_costs_reading_again_and_fails_nothing(
    table: LakeTable, read: list[str], content: bytes
) -> None:
    database = table.lake.settings.state_dir / DATABASE
    _in_another_process(table.lake.settings, _find)
    database.write_bytes(content)
    for _ in range(3):
        _in_another_process(table.lake.settings, _find)
    assert len(read) == 2 * FILES


def test_a_record_of_an_earlier_version_is_kept_and_added_to(
    table: LakeTable, read: list[str]
) -> None:
    settings = table.lake.settings
    VerifiedFiles(settings.state_dir).verify(table.head())
    with closing(sqlite3.connect(settings.state_dir / DATABASE)) as database:
        assert _count(database, "files") == FILES
        tables = database.execute("select name from sqlite_master where name like 'insp%'")
        assert tables.fetchall() == []
    for _ in range(2):
        _in_another_process(settings, _find)
    assert len(read) == FILES
    with closing(sqlite3.connect(settings.state_dir / DATABASE)) as database:
        assert [_count(database, name) for name in ("files", "inspections")] == [FILES, FILES]


@pytest.mark.parametrize(
    "change",
    [
        "update inspections set said = json_set(said, '$.form', 0)",
        "update inspections set said = json_remove(said, '$.unproved')",
        "update inspections set said = '{'",
        "update inspections set said = '[]'",
        "drop table inspections",
        "drop table inspections; create table inspections (path text)",
    ],
)
def test_what_another_version_put_on_record_is_not_believed(
    table: LakeTable, read: list[str], change: str
) -> None:
    _in_another_process(table.lake.settings, _find)
    with closing(sqlite3.connect(table.lake.settings.state_dir / DATABASE)) as database:
        database.executescript(change)
    _in_another_process(table.lake.settings, _find)
    assert len(read) == 2 * FILES


def test_what_a_name_mapping_made_of_a_file_holds_for_that_mapping(
    settings: Settings, tmp_path: Path, read: list[str]
) -> None:
    with sql_catalog(tmp_path) as catalog:
        table = unmarked_text(catalog, tmp_path)
        mapped = table.metadata
        table = table.transaction().remove_properties("schema.name-mapping.default")
        plain = table.commit_transaction().metadata
        with Lake.of(catalog, settings=settings) as lake:
            (path,) = _paths(lake.table(NAME))
            os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    for metadata, bytes_only in ((plain, set()), (mapped, {2}), (mapped, {2})):
        inspector = inspected.Inspector(metadata, InspectedFiles(FileCache(tmp_path)))
        assert inspector.inspect_all([path])[path].bytes_only == bytes_only
        assert inspector.inspect(path).bytes_only == bytes_only
    assert len(read) == 2


def test_processes_that_inspect_the_same_files_at_once_all_succeed(
    table: LakeTable, read: list[str]
) -> None:
    settings = table.lake.settings
    for number in range(FILES, 20):
        _add(table, number)
    programs = [CONTEXT.Process(target=_inspect_each, args=(settings,)) for _ in range(4)]
    for each in programs:
        each.start()
    for each in programs:
        each.join()
    assert [each.exitcode for each in programs] == [0] * 4
    _in_another_process(settings, _find)
    assert read == []


def _inspect_each(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        version = lake.table("raw.t").head()
        for file in version.files():
            version.inspector.inspect(file.path)
            version.inspector.write()


def test_files_of_any_inode_number_go_on_record(
    table: LakeTable, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def numbered_high(path: str) -> SimpleNamespace:  # as overlays do, which tests have none of
        found = os.stat(path)  # noqa: PTH116  what it stands in for
        return SimpleNamespace(
            st_size=found.st_size, st_mtime_ns=found.st_mtime_ns, st_ino=found.st_ino | 1 << 63
        )

    monkeypatch.setattr(file_cache, "os", SimpleNamespace(stat=numbered_high))
    for _ in range(2):
        _in_another_process(table.lake.settings, _find)
    assert len(read) == FILES


def test_what_is_on_record_does_not_grow_with_files_that_are_gone(table: LakeTable) -> None:
    settings = table.lake.settings
    for number in range(40):
        gone = _paths(table)
        batch = pa.record_batch([range(ROWS), [str(number)] * ROWS], schema=COLUMNS)
        operations.overwrite(
            table, write_batches(table, [batch]), provenance=operations.Provenance()
        )
        for path in gone:
            Path(path).unlink()
        for path in _paths(table):
            os.utime(path, (LONG_AGO_S, LONG_AGO_S))
        _find(table.head())
    with closing(sqlite3.connect(settings.state_dir / DATABASE)) as database:
        assert 1 <= _count(database, "inspections") <= 20


def _count(database: sqlite3.Connection, name: str) -> int:
    (found,) = database.execute(f"select count(*) from {name}").fetchone()
    return found
