"""Altering tables beside others: nothing of theirs is lost, and a lost answer is found out."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pyarrow as pa
import pytest
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import TableRequirement, TableUpdate
from pyiceberg.types import StringType
from typing_extensions import override

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import CommitConflictError, ConflictReason, DatabaseUnavailableError
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.tables import alter
from headrace.tables.alter import (
    AddColumn,
    DropColumn,
    RenameColumn,
    Repartition,
)
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches
from tests.processes import CONTEXT
from tests.raising import refused
from tests.tables.factories import EVENTS, add, events_table, ids_of
from tests.tables.visits import EVENT_ROWS, NOON, rows_of

pytestmark = pytest.mark.slow


class _IsOvertaken(MemoCatalog):
    """The real catalog; before the first commit another program, without our lock, changes it."""

    first: Callable[[], None] | None = None

    @override
    def commit_table(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> CommitTableResponse:
        first, self.first = self.first, None
        if first is not None:
            first()
        return super().commit_table(table, requirements, updates)


@pytest.fixture
def overtaken(lake: Lake) -> Iterator[_IsOvertaken]:
    """A second client of the lake's catalog."""
    uri, warehouse = lake.settings.catalog_uri, f"file://{lake.settings.warehouse}"
    with closing(_IsOvertaken("lake", uri=uri, warehouse=warehouse)) as catalog:
        yield catalog


def test_what_another_program_changed_meanwhile_is_kept(
    lake: Lake, overtaken: _IsOvertaken
) -> None:
    table = events_table(Lake(lake.settings, overtaken, lake.registry))

    def theirs() -> None:
        other = lake.catalog.load_table("raw.events")
        with other.update_schema() as update:
            update.add_column("theirs", StringType())
        with other.update_spec() as spec:
            spec.add_identity("id")

    overtaken.first = theirs
    alter.alter(table, AddColumn("ours", type=pa.string()), RenameColumn("name", to="title"))
    current = table.iceberg()
    assert current.schema().column_names[-2:] == ["theirs", "ours"]
    assert {each.field_id for each in current.schema().fields} >= {6, 7}
    assert table.head().partition_by == ("day(event_time)", "id")

    def append() -> None:
        rows = pa.Table.from_pylist([{"id": 1, "event_time": NOON}], EVENTS)
        fields = [each for each in rows.schema if each.name in ("id", "event_time")]
        lake.catalog.load_table("raw.events").append(rows.select([0, 3]).cast(pa.schema(fields)))

    overtaken.first = append
    alter.repartition(table, partition_by=["bucket(4, id)"])
    assert ids_of(table) == [1]
    planned = alter.plan(table, DropColumn("ours"))

    def drop_theirs() -> None:
        with lake.catalog.load_table("raw.events").update_schema() as update:
            update.delete_column("theirs")

    overtaken.first = drop_theirs
    with refused(CommitConflictError, reason=ConflictReason.COLUMNS_CHANGED):
        alter.apply_alter(table, planned)
    assert table.head().schema.names[-1] == "ours"


class _LosesAnswers(MemoCatalog):
    """The real catalog, whose answers get lost after, or before, it did what it was asked."""

    loses: str = "nothing"

    @override
    def commit_table(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> CommitTableResponse:
        detail = "no answer"
        if self.loses == "the request":
            raise DatabaseUnavailableError("catalog", detail)
        answer = super().commit_table(table, requirements, updates)
        if self.loses == "the answer":
            raise DatabaseUnavailableError("catalog", detail)
        return answer


@pytest.fixture
def losing(lake: Lake) -> Iterator[_LosesAnswers]:
    """A second client of the lake's catalog."""
    uri, warehouse = lake.settings.catalog_uri, f"file://{lake.settings.warehouse}"
    with closing(_LosesAnswers("lake", uri=uri, warehouse=warehouse)) as catalog:
        yield catalog


def test_a_lost_answer_is_resolved_by_looking_and_a_lost_request_is_an_error(
    lake: Lake, losing: _LosesAnswers
) -> None:
    table = events_table(Lake(lake.settings, losing, lake.registry))
    losing.loses = "the answer"
    alter.rename_column(table, "name", to="title")
    alter.repartition(table, partition_by=["bucket(4, id)"])
    losing.loses = "the request"
    with pytest.raises(DatabaseUnavailableError):
        alter.rename_column(table, "title", to="label")
    assert table.head().schema.names == ["id", "title", "tags", "event_time"]
    assert table.head().partition_by == ("bucket(4, id)",)


def _alter_often(settings: Settings, mine: str) -> None:
    with Lake.open(settings) as lake:
        table = lake.table("raw.events")
        for i in range(4):
            alter.add_column(table, f"{mine}_{i}", pa.int64())
            alter.rename_column(table, f"{mine}_{i}", to=f"{mine}_{i}_new")


def test_processes_that_alter_a_table_beside_an_appender_all_succeed(settings: Settings) -> None:
    with Lake.open(settings) as lake:
        table = events_table(lake)
        workers = [
            CONTEXT.Process(target=_alter_often, args=(settings, name)) for name in ("a", "b")
        ]
        for worker in workers:
            worker.start()
        rows = 0
        while any(worker.is_alive() for worker in workers):
            add(table, [rows])
            rows += 1
        assert [worker.exitcode for worker in workers] == [0, 0]
        names = table.head().schema.names
        expected = [*EVENTS.names, *(f"{who}_{i}_new" for who in ("a", "b") for i in range(4))]
        assert sorted(names) == sorted(expected)
        ids = [each.field_id for each in table.iceberg().schema().fields]
        assert len(set(ids)) == len(ids)
        assert ids_of(table) == list(range(rows))


def test_a_writer_that_was_open_when_the_table_was_altered_still_lands_right(lake: Lake) -> None:
    table = events_table(lake)
    files = write_batches(table, [pa.RecordBatch.from_pylist(EVENT_ROWS, EVENTS)])
    alter.alter(
        table,
        DropColumn("tags"),
        RenameColumn("name", to="title"),
        AddColumn("name", type=pa.int64()),
        Repartition(("bucket(4, id)",)),
    )
    operations.append(table, files, provenance=Provenance())
    (row,) = rows_of(table)
    assert (row["title"], row["name"]) == ("one", None)
    assert "tags" not in row
