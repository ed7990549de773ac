"""Deleting rows by a condition: what SQL would delete, from the files it concerns only."""

import os
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pyiceberg.expressions import AlwaysTrue, EqualTo

from headrace.api import Lake
from headrace.dml.condition import Condition
from headrace.dml.delete import Deleted, apply_delete, count_deletion, delete_where, plan_delete
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import ConditionError, ConditionReason, CorruptFileError
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from tests.amounts import examples
from tests.dml import conditions, keyed
from tests.dml.keyed import SCHEMES, Row, add_rows, in_order, keyed_table, paths, rows_of
from tests.dml.test_merge import delete_some, key, others_count, row
from tests.raising import refused
from tests.tables.delete_files import delete_values


@pytest.fixture
def engine(lake: Lake) -> Iterator[DuckDBEngine]:
    with DuckDBEngine.open(lake.settings) as opened:
        yield opened


def delete(table: LakeTable, condition: str) -> Deleted:
    return delete_where(table, condition, provenance=Provenance())


@pytest.mark.slow
@limits(
    max_examples=examples(25, few=10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_deletes_leave_what_sql_would_leave(
    lake: Lake, engine: DuckDBEngine, data: st.DataObject
) -> None:
    table = keyed_table(lake, data.draw(st.sampled_from(SCHEMES)))
    held: list[Row] = []
    for step in data.draw(
        st.lists(st.sampled_from(["append", "delete file", "delete"]), max_size=6)
    ):
        if step == "append":
            new = data.draw(st.lists(keyed.rows, min_size=1, max_size=5))
            add_rows(table, new)
            held += new
        elif step == "delete file":
            held = delete_some(table, held, data)
        else:
            condition = data.draw(conditions.conditions)
            done = delete(table, condition.text)
            left = [each for each in held if condition.is_true(each) is not True]
            assert done.rows == len(held) - len(left)
            assert (done.commit is None) == (left == held)
            assert delete(table, condition.text).commit is None
            held = left
        assert repr(rows_of(table)) == repr(in_order(held))
    assert others_count(engine, table, held)


def test_a_file_proven_to_match_goes_unread_and_one_that_cannot_match_stays_unread(
    lake: Lake,
) -> None:
    table = keyed_table(lake)
    for user_id in range(3):
        add_rows(table, [row(user_id), row(user_id)])
    since = table.head().snapshot_id
    for file in table.head().files():
        os.truncate(file.path, 0)  # reading it would fail
    done = delete(table, "user_id = 1")
    assert (done.rows, done.files_dropped, done.files_rewritten) == (2, 1, 0)
    assert done.commit is not None
    assert done.commit.operation == "delete"
    assert changes(table, since=since).operations == ("delete",)
    with pytest.raises(CorruptFileError):
        delete(table, "value = 0 and item like 'a%'")


def test_only_files_with_matching_rows_are_written_anew(lake: Lake) -> None:
    table = keyed_table(lake, ["day(at)"])
    for day in range(3):
        add_rows(table, [row(1, day=day, value=day), row(9, day=day, value=5)])
    before, since = paths(table), table.head().snapshot_id
    done = delete(table, "value = 1")
    assert (done.rows, done.files_dropped, done.files_rewritten) == (1, 0, 1)
    assert len(before & paths(table)) == 2
    assert changes(table, since=since).partitions == {key(1)}


def test_a_file_whose_every_row_matches_when_read_is_dropped_and_not_written(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1, "a"), row(2, "b")])
    done = delete(table, "item in ('a', 'b')")
    assert (done.rows, done.files_dropped, done.files_rewritten) == (2, 1, 0)
    assert table.head().files() == ()
    assert table.head().row_count == 0


def test_rows_for_which_the_condition_is_null_stay(lake: Lake) -> None:
    table = keyed_table(lake)
    nothing: Row = (None, None, None, None, None)
    add_rows(table, [nothing])
    add_rows(table, [nothing, row(1)])
    for condition in ("user_id != 7", "not (item = 'z')", "value not in (8, 9)", "score < 100.0"):
        assert delete(table, condition).rows in (0, 1)
    assert rows_of(table) == [nothing, nothing]
    assert delete(table, "user_id is null").rows == 2


@pytest.mark.parametrize(
    "condition",
    ["not (score between 0 and 1)", "not (score < 1)", "not (score > 1 or score <= 0)"],
)
def test_nan_is_in_no_range_and_so_in_what_a_range_is_not(lake: Lake, condition: str) -> None:
    table = keyed_table(lake)
    kept: Row = (2, "a", None, 0, 0.5)
    add_rows(table, [(1, "a", None, 0, float("nan")), (3, "a", None, 0, None), kept])
    add_rows(table, [(4, "a", None, 0, float("nan"))])
    assert delete(table, f"{condition} and user_id != 2").rows == 2
    assert {each[0] for each in rows_of(table)} == {2, 3}


def test_a_file_with_nan_is_not_dropped_for_its_bounds(lake: Lake) -> None:
    table = keyed_table(lake)
    nan: Row = (1, "a", None, 0, float("nan"))
    add_rows(table, [nan, (2, "a", None, 0, 0.5)])
    assert delete(table, "score < 10.0").rows == 1
    assert repr(rows_of(table)) == repr([nan])


def test_deleting_everything_and_nothing(lake: Lake) -> None:
    table = keyed_table(lake)
    assert delete(table, "user_id = 1").commit is None
    add_rows(table, [row(1), row(2)])
    head = table.head().snapshot_id
    assert delete(table, "user_id = 7").commit is None
    assert delete(table, "false").commit is None
    assert table.head().snapshot_id == head
    done = delete_where(table, AlwaysTrue(), provenance=Provenance())
    assert (done.rows, done.files_dropped) == (2, 1)


def test_rows_appended_after_the_plan_are_not_looked_at(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1), row(2)])
    version = table.head()
    checked = Condition("user_id = 1", version.metadata, table="raw.keyed")
    found = count_deletion(version, plan_delete(version, checked), checked)
    add_rows(table, [row(1, "late")])
    apply_delete(table, version, found, checked, provenance=Provenance())
    assert rows_of(table) == in_order([row(2), row(1, "late")])


def test_a_plan_counts_what_reading_can_tell(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1), row(1)])
    add_rows(table, [row(1), row(2)])
    add_rows(table, [row(0), row(2)])
    add_rows(table, [row(5)])
    version = table.head()
    checked = Condition(EqualTo("user_id", 1), version.metadata, table="raw.keyed")
    plan = plan_delete(version, checked)
    assert (len(plan.whole), len(plan.unsure), plan.files_untouched) == (1, 2, 1)
    found = count_deletion(version, plan, checked)
    assert (len(found.dropped), len(found.rewritten), found.files_untouched) == (1, 1, 2)
    assert (found.rows, found.files_read) == (3, 2)
    assert rows_of(table) == in_order([row(0), row(1), row(1), row(1), row(2), row(2), row(5)])


def test_deletes_reach_files_of_an_older_partition_spec(lake: Lake) -> None:
    table = keyed_table(lake, ["day(at)"])
    add_rows(table, [row(1), row(2)])
    with table.iceberg().update_spec() as update:
        update.add_identity("item")
    add_rows(table, [row(1, "b"), row(2, "b", day=1)])
    assert delete(table, "user_id = 1").rows == 2
    assert rows_of(table) == in_order([row(2), row(2, "b", day=1)])
    assert delete(table, "item = 'a'").rows == 1
    assert rows_of(table) == [row(2, "b", day=1)]


def test_a_wrong_condition_names_its_column(lake: Lake) -> None:
    table = keyed_table(lake)
    with refused(ConditionError, reason=ConditionReason.UNKNOWN_COLUMN, column="nope"):
        delete(table, "nope = 1")
    with refused(ConditionError, reason=ConditionReason.NOT_COMPARABLE, column="item"):
        delete(table, "item = 7")


def test_rows_deleted_by_value_are_neither_counted_nor_brought_back(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1), row(2), row(3)])
    delete_values(table, pa.table({"user_id": pa.array([2], pa.int64())}))
    assert delete(table, "user_id <= 2").rows == 1
    assert rows_of(table) == [row(3)]
