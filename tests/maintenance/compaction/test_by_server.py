"""An engine's server rewrites plain bins, and headrace commits them as its own."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import DataFile

from headrace.api import Lake
from headrace.definitions.properties import CLUSTER_BY
from headrace.errors import CommitConflictError, EngineUnavailableError
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import CompactionResult, apply_compaction, compact
from headrace.maintenance.compaction.plan import plan_compaction
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.maintenance.compaction.test_compact import stray_files
from tests.tables.delete_files import delete_positions
from tests.tables.factories import EVENTS, add, day_key, events, events_table, ids_of

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


class Server:
    """A rewriter as an engine's server is one: it keeps no order, and looks at no deletes."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.asked: list[int] = []
        self._then = then

    def rewrite(
        self, files: Sequence[DataFile], *, of: LakeTable, target_bytes: int
    ) -> tuple[DataFile, ...]:
        self.asked.append(len(files))
        rows = pa.concat_tables(pq.read_table(local_path(each.file_path)) for each in files)
        made = write_batches(of, rows.sort_by([("id", "descending")]).to_batches())
        self._then()
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def small_files(table: LakeTable, count: int, *, day: int = 0) -> None:
    for number in range(count):
        add(table, [100 * day + number], day=day)


def compacted(table: LakeTable, server: Server, *, target_bytes: int = MIB) -> CompactionResult:
    plan = plan_compaction(table.head(), target_bytes=target_bytes)
    return apply_compaction(table, plan, server=server, run_id="run")


def test_files_of_a_server_are_committed_with_the_same_rows(lake: Lake) -> None:
    table, server = events_table(lake), Server()
    small_files(table, 4)
    before = table.head().to_arrow().sort_by("id")
    done = compacted(table, server)
    assert server.asked == [4]
    assert (done.files_before, done.files_after, done.rows) == (4, 1, 4)
    assert table.head().to_arrow().sort_by("id").equals(before)
    assert stray_files(table) == []
    assert not compact(table).changed


def test_files_with_deleted_rows_and_those_to_sort_are_rewritten_here(lake: Lake) -> None:
    table, server = events_table(lake), Server()
    for day in range(2):
        small_files(table, 3, day=day)
    first = table.head().files(partitions=[day_key(0)])[0]
    delete_positions(table, {first: [0]})
    left = ids_of(table)
    compacted(table, server)
    assert server.asked == [3]
    assert ids_of(table) == left
    assert len(left) == 5

    clustered = lake.create(TableName("raw", "sorted"), EVENTS, properties={CLUSTER_BY: '["id"]'})
    for number in (2, 1):
        add(clustered, [number])
    compacted(clustered, server)
    assert server.asked == [3]
    assert clustered.head().to_arrow().column("id").to_pylist() == [1, 2]


def test_a_server_is_asked_in_the_first_pass_only(lake: Lake) -> None:
    table, server = events_table(lake), Server()
    for number in range(60):
        add(table, range(number * 5, number * 5 + 5))
    target = sum(file.bytes for file in table.head().files()) // 3
    compacted(table, server, target_bytes=target)
    assert server.asked == [60]
    assert ids_of(table) == list(range(300))
    assert not compact(table, target_bytes=target).changed


def test_files_of_a_server_are_removed_where_another_commit_won(lake: Lake) -> None:
    table = events_table(lake)
    small_files(table, 3)

    def overwrite() -> None:
        files = write_batches(table, [events([7])])
        operations.overwrite_partitions(
            table, files, partitions=[day_key(0)], provenance=Provenance()
        )

    with pytest.raises(CommitConflictError):
        apply_compaction(
            table,
            plan_compaction(table.head(), target_bytes=MIB),
            server=Server(overwrite),
            passes_max=1,
        )
    assert ids_of(table) == [7]
    assert stray_files(table) == []


def test_files_of_a_server_are_removed_where_it_fails_at_a_later_bin(lake: Lake) -> None:
    table = events_table(lake)
    for day in range(2):
        small_files(table, 3, day=day)

    def fail_at_the_second() -> None:
        if len(server.asked) == 2:
            stray.extend(stray_files(table))
            raise EngineUnavailableError("http://trino", "it ended")

    stray: list[str] = []
    server = Server(fail_at_the_second)
    before, head = ids_of(table), table.head().snapshot_id
    with pytest.raises(EngineUnavailableError):
        compacted(table, server)
    assert (ids_of(table), table.head().snapshot_id) == (before, head)
    assert len(stray) == 2
    # a real one removes what it wrote for the bin at which it fails; this one leaves that file
    assert len(stray_files(table)) == 1
