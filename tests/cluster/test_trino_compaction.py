"""Large partitions are merged by Trino's `optimize`, and headrace commits: every row stays, once."""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import DataFile
from trino.exceptions import TrinoQueryError

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.engines import trino_optimize
from headrace.engines.trino_client import Page, TrinoClient
from headrace.engines.trino_stage import Answered, Clone
from headrace.errors import CommitConflictError, CorruptFileError, RewriteRefusedError
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.maintenance.queue.maintain import MaintenanceRun, maintain
from headrace.maintenance.queue.perform import ActionResult, Outcome
from headrace.tables.alter import add_column, widen_column
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.cluster.proxy import answering_502_once
from tests.cluster.servers import Servers
from tests.cluster.test_trino_engine import EXACT, data_files, staged
from tests.cluster.test_trino_maintenance import missing_files, optimize, read_by_trino
from tests.cluster.trino_lakes import on_servers, shared_lake
from tests.tables.factories import add, events_table, ids_of

pytestmark = pytest.mark.cluster

OPTIMIZE = b"alter table"


def large(settings: Settings) -> Settings:
    """Settings by which every partition is large."""
    return replace(settings, trino_compaction_mib=0)


@pytest.fixture
def lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(large(on_servers(servers, settings))) as opened:
        yield opened


@pytest.fixture
def s3_lake(servers: Servers, settings: Settings) -> Iterator[Lake]:
    with shared_lake(large(on_servers(servers, settings, catalog="lake"))) as opened:
        yield opened


def untidy(lake: Lake) -> LakeTable:
    """A table of three small files in each of two days."""
    table = events_table(lake)
    for number in range(6):
        add(table, [2 * number, 2 * number + 1], day=number % 2)
    return table


def append(table: LakeTable, rows: pa.Table) -> None:
    files = write_batches(table, rows.to_batches())
    operations.append(table, files, provenance=Provenance())


def tidied(lake: Lake) -> MaintenanceRun:
    """A round of maintenance that takes every partition as finished."""
    return maintain(lake, cold_after_s=0.0)


def only(run: MaintenanceRun) -> ActionResult:
    (result,) = run.results
    return result


def assert_merged_by_trino(table: LakeTable, *, files: int) -> None:
    io, found = table.iceberg().io, table.head().files()
    assert len(found) == files
    for each in found:
        with io.new_input(each.data_file.file_path).open() as source:
            assert "trino" in pq.read_metadata(pa.PythonFile(source)).created_by.lower()


def test_trino_merges_files_on_s3_and_rows_and_changes_stay_what_they_were(s3_lake: Lake) -> None:
    table = untidy(s3_lake)
    start, before = table.head().snapshot_id, table.head().to_arrow().sort_by("id")
    done = tidied(s3_lake)
    assert [(each.outcome, each.action.executor.value) for each in done.results] == [
        (Outcome.DONE, "trino")
    ] * 2
    assert_merged_by_trino(table, files=2)
    assert table.head().to_arrow().sort_by("id").equals(before)
    assert not changes(table, since=start)
    head = table.iceberg().current_snapshot()
    assert head is not None
    assert head.summary is not None
    assert head.summary.operation.value == "replace"
    assert not tidied(s3_lake).plan
    assert missing_files(table) == []
    assert staged(s3_lake) == []


def test_values_of_every_type_and_of_evolved_columns_stay_exactly(lake: Lake) -> None:
    table = lake.create(TableName("raw", "exact"), EXACT.schema)
    for at in range(2):
        append(table, EXACT.slice(at, 1))
    widen_column(table, "small", pa.int64())
    add_column(table, "later", pa.string())
    append(table, pa.Table.from_pylist([{"small": 2**40, "later": "now"}], table.head().schema))
    before = table.head().to_arrow().sort_by("small").to_pylist()
    assert only(tidied(lake)).outcome is Outcome.DONE
    assert_merged_by_trino(table, files=1)
    assert table.head().to_arrow().sort_by("small").to_pylist() == before


@pytest.mark.timeout(900)  # each waits for the others, on a busy machine too
def test_maintenance_by_trino_and_by_headrace_optimize_and_appends_at_once_lose_nothing(
    servers: Servers, lake: Lake
) -> None:
    table = events_table(lake)
    add(table, [-1])
    stop, failures = threading.Event(), list[BaseException]()
    landed = {"maintain": 0, "compact": 0, "optimize": 0}

    def until_stopped(name: str, act: Callable[[], bool]) -> None:
        try:
            # the fastest of the three would win each race: who has landed waits for the others
            while not stop.wait(2.0 ** landed[name] - 1):
                with contextlib.suppress(CommitConflictError, TrinoQueryError):
                    landed[name] += act()
        except BaseException as error:  # noqa: BLE001 - the test raises it
            failures.append(error)

    def by_trino() -> bool:
        outcomes = [each.outcome for each in tidied(lake).results]
        assert Outcome.FAILED not in outcomes
        return Outcome.DONE in outcomes

    def by_optimize() -> bool:
        optimize(servers, table)
        return True

    acts: dict[str, Callable[[], bool]] = {
        "maintain": by_trino,
        "compact": lambda: compact(table).changed,
        "optimize": by_optimize,
    }
    threads = [threading.Thread(target=until_stopped, args=each) for each in acts.items()]
    for thread in threads:
        thread.start()
    rows = [-1]
    try:
        deadline = time.monotonic() + 600  # until each of them won a race
        while not failures and min(landed.values()) == 0 and time.monotonic() < deadline:
            add(table, [len(rows), len(rows) + 1], day=len(rows) % 3)
            rows += [len(rows), len(rows) + 1]
            stop.wait(0.2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert min(landed.values()) > 0, landed
    assert ids_of(table) == rows
    assert read_by_trino(table, table.head()) == rows
    assert missing_files(table) == []
    assert staged(lake) == []


@contextlib.contextmanager
def during_optimize(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> Generator[list[str]]:
    """Do something after Trino merged the files of a clone, and before headrace looks at them."""
    asked: list[str] = []
    pages = TrinoClient.pages

    def and_act(
        self: TrinoClient, sql: str, *, session: Mapping[str, str] | None = None
    ) -> Generator[Page]:
        yield from pages(self, sql, session=session)
        if sql.encode().startswith(OPTIMIZE):
            asked.append(sql)
            if len(asked) == 1:
                act()

    with monkeypatch.context() as patch:
        patch.setattr(TrinoClient, "pages", and_act)
        yield asked


def test_rows_deleted_while_trino_merges_their_files_stay_deleted(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    for number in range(3):
        add(table, [2 * number, 2 * number + 1])

    def delete_one() -> None:
        delete_where(table, "id = 3", provenance=Provenance())

    with during_optimize(monkeypatch, delete_one) as asked:
        tidied(lake)
    assert len(asked) >= 1
    assert ids_of(table) == [0, 1, 2, 4, 5]
    assert missing_files(table) == []
    tidied(lake)
    assert ids_of(table) == [0, 1, 2, 4, 5]


def test_a_merge_that_lost_to_another_commit_leaves_no_file_of_its_own(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    for number in range(3):
        add(table, [number])
    before = data_files(lake)
    with during_optimize(monkeypatch, lambda: compact(table)):
        assert only(tidied(lake)).outcome is Outcome.NOTHING
    mine = {file.path for file in table.head().files()}
    assert data_files(lake) == before | mine
    assert ids_of(table) == [0, 1, 2]


def test_an_optimize_that_the_client_sends_again_adds_no_row(servers: Servers, lake: Lake) -> None:
    untidy(lake)
    with answering_502_once(servers, when=OPTIMIZE) as proxy:
        assert lake.settings.trino is not None
        there = replace(lake.settings.trino, uri=proxy.address)
        with Lake.open(replace(lake.settings, trino=there)) as behind:
            tidied(behind)
        assert proxy.forwarded >= 2
    table = lake.table(TableName("raw", "events"))
    assert ids_of(table) == list(range(12))
    assert missing_files(table) == []
    assert staged(lake) == []


def test_files_that_trino_left_as_they_are_are_no_success(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    for number in range(3):
        add(table, [number])
    before = data_files(lake)
    monkeypatch.setattr(trino_optimize, "_ANY_SIZE", "1B")
    found = only(tidied(lake))
    assert found.outcome is Outcome.FAILED
    assert isinstance(found.error, RewriteRefusedError)
    assert found.error.query_id
    assert data_files(lake) == before
    assert ids_of(table) == [0, 1, 2]
    assert staged(lake) == []


def test_a_merge_that_loses_values_of_a_column_is_refused_and_leaves_the_old_files(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    for number in range(3):
        add(table, [number])
    before, name_id = data_files(lake), table.iceberg().schema().find_field("name").field_id
    adopt = Clone.adopt

    def without_names(self: Clone, answers: Sequence[Answered]) -> tuple[DataFile, ...]:
        files = adopt(self, answers)
        for each in files:
            counts = {**dict(each.null_value_counts or {}), name_id: each.record_count}
            at = next(n for n, v in enumerate(each._data) if v is each.null_value_counts)
            each._data[at] = counts
        return files

    monkeypatch.setattr(Clone, "adopt", without_names)
    found = only(tidied(lake))
    assert isinstance(found.error, RewriteRefusedError)
    assert "`name`" in found.error.detail
    assert data_files(lake) == before
    assert ids_of(table) == [0, 1, 2]


def test_a_damaged_file_is_named_before_trino_reads_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    for number in range(3):
        add(table, [number])
    victim = table.head().files()[1].path
    with open(victim, "r+b") as file:  # noqa: PTH123
        file.seek(8)
        byte = file.read(1)
        file.seek(8)
        file.write(bytes([byte[0] ^ 1]))
    with during_optimize(monkeypatch, lambda: None) as asked:
        found = only(tidied(lake))
    assert isinstance(found.error, CorruptFileError)
    assert found.error.path == victim
    assert asked == []


@pytest.mark.timeout(900)  # it starts Trino again
def test_trino_killed_while_it_merges_leaves_a_table_whose_every_file_is_there(
    servers: Servers, lake: Lake
) -> None:
    table = untidy(lake)
    timer = threading.Timer(0.5, servers.kill, ["trino"])
    timer.start()
    failed = None
    while failed is None:
        for result in tidied(lake).results:
            failed = failed or result.error
        rows = ids_of(table)
        add(table, [rows[-1] + 1])
    timer.join()
    rows = ids_of(table)
    assert failed.retryable
    assert rows == list(range(len(rows)))
    assert missing_files(table) == []
    assert compact(table).changed
    servers.start("trino")
    assert Outcome.FAILED not in [each.outcome for each in tidied(lake).results]
    assert ids_of(table) == rows
    assert staged(lake) == []
