"""Rows that a job of Flink keeps in a Paimon table too are not removed behind its back."""

from collections.abc import Callable

import pytest
from pyiceberg.table.metadata import TableMetadata

from headrace.api import Lake
from headrace.dml.delete import delete_where
from headrace.errors import KeyedRowsError, StreamOwnedError
from headrace.ingest.owner import FLINK, HEADRACE, Owner
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits import attempt, operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.refs import refs
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from tests.raising import refused
from tests.tables.factories import add, events_table, ids_of
from tests.tables.histories import write

SUBJECT = "paimon:shop.events"


def owned(table: LakeTable, by: str) -> None:
    note = Owner(by=by, epoch=1).note(stream=SUBJECT)
    operations.move_properties(table, lambda _: dict(note))


def delete(table: LakeTable) -> None:
    delete_where(table, "id = 1", provenance=Provenance())


def overwrite(table: LakeTable) -> None:
    operations.overwrite(table, [], provenance=Provenance())


def roll_back(table: LakeTable) -> None:
    apply_rollback(table, plan_rollback(table, "first"))


def publish(table: LakeTable) -> None:
    refs.fast_forward(table, "main", to="emptied")


@pytest.mark.parametrize("remove", [delete, overwrite, roll_back, publish])
def test_rows_are_removed_only_where_no_job_keeps_them_elsewhere(
    lake: Lake, remove: Callable[[LakeTable], None]
) -> None:
    table = events_table(lake)
    refs.tag(table, "first", snapshot_id=write(table, [1]).snapshot_id)
    write(table, [2])
    refs.create_branch(table, "emptied")
    operations.overwrite(table, [], provenance=Provenance(), branch="emptied")
    owned(table, FLINK)
    with refused(KeyedRowsError, table="raw.events", subject=SUBJECT):
        remove(table)
    assert ids_of(table) == [1, 2]
    owned(table, HEADRACE)
    remove(table)
    assert ids_of(table) != [1, 2]


@pytest.mark.parametrize("remove", [delete, overwrite, roll_back, publish])
def test_a_handover_between_the_look_at_a_table_and_the_swap_is_obeyed(
    lake: Lake, remove: Callable[[LakeTable], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    refs.tag(table, "first", snapshot_id=write(table, [1]).snapshot_id)
    write(table, [2])
    refs.create_branch(table, "emptied")
    operations.overwrite(table, [], provenance=Provenance(), branch="emptied")
    left = [lambda: owned(table, FLINK)]

    def hand_over(point: str) -> None:
        """Change the owner as a program on another host, whose lock files are others."""
        if left and point in ("commit.after_manifests", "updates.before_swap"):
            left.pop()()

    monkeypatch.setattr(attempt, "crash_point", hand_over)
    with refused(KeyedRowsError, table="raw.events", subject=SUBJECT):
        remove(table)
    assert ids_of(table) == [1, 2]


def test_of_two_handovers_at_once_one_is_refused(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    add(table, [1])
    left = [lambda: owned(table, FLINK)]

    def hand_over(point: str) -> None:
        if left and point == "updates.before_swap":
            left.pop()()

    def changes_of(metadata: TableMetadata) -> dict[str, str | None]:
        if Owner.read(metadata.properties, stream=SUBJECT).by == FLINK:
            raise StreamOwnedError(SUBJECT, owner=FLINK, epoch=1, wanted=HEADRACE)
        return dict(Owner(by=HEADRACE, epoch=1).note(stream=SUBJECT))

    monkeypatch.setattr(attempt, "crash_point", hand_over)
    with refused(StreamOwnedError, owner=FLINK):
        operations.move_properties(table, changes_of)
    assert Owner.read(table.head().properties, stream=SUBJECT).by == FLINK


def test_rows_are_added_compacted_and_published_beside_such_a_job(lake: Lake) -> None:
    table = events_table(lake)
    owned(table, FLINK)
    for each in range(3):
        add(table, [each])
    refs.create_branch(table, "more")
    write(table, [3], branch="more")
    refs.fast_forward(table, "main", to="more")
    compact(table)
    assert ids_of(table) == [0, 1, 2, 3]
