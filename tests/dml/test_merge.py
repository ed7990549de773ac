"""Merging by key: the rows of a dictionary, the files of the keys only, whoever else commits."""

import datetime as dt
import os
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.copy_on_write import until_it_lands
from headrace.dml.merge import Merged, NewRows, merge, merge_into, plan_merge
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import (
    ColumnReason,
    ContractError,
    DuplicateKeyError,
    MergeKeyError,
    MergeKeyReason,
    SnapshotNotFoundError,
)
from headrace.iceberg.delete_files import has_equality
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.history.changes import changes
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.amounts import examples
from tests.dml import keyed
from tests.dml.keyed import (
    SCHEMA,
    SCHEMES,
    START,
    Row,
    add_rows,
    arrow,
    in_order,
    keyed_table,
    paths,
    rows_of,
)
from tests.raising import refused
from tests.tables.delete_files import delete_positions, delete_values

pytestmark = pytest.mark.slow

USER_AND_ITEM = ("user_id", "item")


@pytest.fixture
def engine(lake: Lake) -> Iterator[DuckDBEngine]:
    with DuckDBEngine.open(lake.settings) as opened:
        yield opened


def put(table: LakeTable, rows: Sequence[Row], key: Sequence[str] = USER_AND_ITEM) -> Merged:
    return merge(table, arrow(rows), key=key, provenance=Provenance())


def row(user_id: int | None, item: str | None = "a", *, day: int = 0, value: int = 0) -> Row:
    return user_id, item, START + dt.timedelta(days=day), value, 0.5


def key(day: int) -> tuple[object, ...]:
    return ((START + dt.timedelta(days=day)).date(),)


def merged_rows(old: Sequence[Row], new: Sequence[Row], key: Sequence[str]) -> list[Row]:
    """What the table holds after a merge, said with sets."""
    at = [SCHEMA.names.index(name) for name in key]
    keys = {tuple(each[i] for i in at) for each in new}
    return [*(each for each in old if tuple(each[i] for i in at) not in keys), *new]


@limits(
    max_examples=examples(30, few=10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_merges_hold_what_a_dictionary_would(
    lake: Lake, engine: DuckDBEngine, data: st.DataObject
) -> None:
    table = keyed_table(lake, data.draw(st.sampled_from(SCHEMES)))
    key = data.draw(
        st.lists(st.sampled_from(SCHEMA.names[:4]), min_size=1, max_size=3, unique=True)
    )
    at = [SCHEMA.names.index(name) for name in key]
    held: list[Row] = []
    for step in data.draw(st.lists(st.sampled_from(["merge", "append", "delete"]), max_size=6)):
        if step == "append":
            new = data.draw(st.lists(keyed.rows, min_size=1, max_size=5))
            add_rows(table, new)
            held += new
        elif step == "delete":
            held = delete_some(table, held, data)
        else:
            new = data.draw(
                st.lists(keyed.rows, max_size=5, unique_by=lambda r: tuple(r[i] for i in at))
            )
            known = {tuple(each[i] for i in at) for each in held}
            done = put(table, new, key)
            wanted = merged_rows(held, new, key)
            if done.commit is not None:
                assert done.rows_replaced == len(held) + len(new) - len(wanted)
                assert done.rows_inserted == sum(tuple(r[i] for i in at) not in known for r in new)
            held = wanted
            assert put(table, new, key).commit is None
        assert repr(rows_of(table)) == repr(in_order(held))
    assert others_count(engine, table, held)


def others_count(engine: DuckDBEngine, table: LakeTable, rows: Sequence[Row]) -> bool:
    """Whether another reader of the format counts as many rows.

    DuckDB 1.5.5 takes null for deleted where any value of its column is, so it cannot be asked then.
    """
    version = table.head()
    if any(has_equality(file.deletes) for file in version.files()):
        return True
    engine.bind("t", version)
    found = engine.query("select count(*) as n from t").read_all()["n"][0].as_py()
    return found == len(rows)


def delete_some(table: LakeTable, held: list[Row], data: st.DataObject) -> list[Row]:
    """Delete rows in a delete file, as other engines do: by position or by value."""
    files = [file for file in table.head().files() if file.rows]
    if not files:
        return held
    if data.draw(st.booleans()):
        user_id = data.draw(keyed.user_ids)
        values = pa.table({"user_id": pa.array([user_id], pa.int64())})
        if table.iceberg().spec().fields:
            return held  # a delete by value of a partitioned table concerns one partition only
        delete_values(table, values)
        return [each for each in held if each[0] != user_id]
    file = data.draw(st.sampled_from(files))
    bounded = data.draw(st.booleans())
    delete_positions(table, {file: [0]}, bounded=bounded)
    return rows_of(table)


def test_only_the_files_of_matched_keys_are_written_anew(lake: Lake) -> None:
    table = keyed_table(lake)
    for user_id in range(4):
        add_rows(table, [row(user_id, "a"), row(user_id, "b")])
    before = paths(table)
    done = put(table, [row(2, "a", value=9), row(7, "a")])
    assert (done.rows_replaced, done.rows_inserted, done.files_rewritten) == (1, 1, 1)
    assert len(before & paths(table)) == 3
    assert rows_of(table) == in_order(
        merged_rows(
            [row(user_id, item) for user_id in range(4) for item in "ab"],
            [row(2, "a", value=9), row(7, "a")],
            USER_AND_ITEM,
        )
    )


def test_bounds_and_partitions_rule_files_out_before_any_is_read(lake: Lake) -> None:
    table = keyed_table(lake, ["bucket(16, user_id)"])
    for user_id in range(40):
        add_rows(table, [row(user_id, "a")])
    version = table.head()
    new = NewRows.of(arrow([row(11, "a"), row(23, "zzz")]), version, key=USER_AND_ITEM)
    planned = plan_merge(version, new)
    assert len(planned) == 1
    for file in table.head().files():
        if file not in planned:
            os.truncate(file.path, 0)  # reading it would fail
    assert put(table, [row(11, "a", value=9), row(23, "zzz")]).files_examined == 1


def test_a_file_whose_bounds_hold_a_key_but_whose_rows_do_not_is_left_alone(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1), row(9)])
    before = paths(table)
    done = put(table, [row(5)])
    assert (done.files_examined, done.files_rewritten) == (1, 0)
    assert before < paths(table)
    assert done.commit is not None
    assert done.commit.operation == "append"


def test_a_row_moves_to_the_partition_its_new_values_say(lake: Lake) -> None:
    table = keyed_table(lake, ["day(at)"])
    add_rows(table, [row(1, day=0), row(2, day=0), row(3, day=1)])
    before = table.head()
    put(table, [row(1, day=2, value=1), row(4, day=1)])
    days = [key(day) for day in range(3)]
    files = [(file.partition, file.rows) for file in table.head().files()]
    assert files == [(days[0], 1), (days[1], 1), (days[1], 1), (days[2], 1)]
    assert rows_of(table) == in_order(
        [row(1, day=2, value=1), row(2), row(3, day=1), row(4, day=1)]
    )
    touched = changes(table, since=before.snapshot_id)
    assert touched.operations == ("overwrite",)
    assert touched.partitions == set(days)


def test_new_rows_join_the_file_their_partition_writes_anew(lake: Lake) -> None:
    table = keyed_table(lake, ["day(at)"])
    add_rows(table, [row(1), row(2), row(3, day=1)])
    put(table, [row(1, value=1), *(row(number) for number in range(10, 20))])
    assert sorted(file.rows for file in table.head().files()) == [1, 12]


def test_rewritten_files_are_closed_at_the_target_size(settings: Settings) -> None:
    small = Settings(**{**settings.__dict__, "target_file_mib": 1})
    with Lake.open(small) as lake:
        table = lake.create(TableName("raw", "large"), pa.schema([("id", pa.int64())]))
        ids = np.random.default_rng(1).integers(0, 2**62, 280_000)
        for half in np.split(ids, 2):
            rows = [pa.record_batch({"id": half})]
            operations.append(table, write_batches(table, rows), provenance=Provenance())
        again = pa.table({"id": [ids[0], ids[-1], -1]})
        assert merge(table, again, key=["id"], provenance=Provenance()).files_rewritten == 2
        files = table.head().files()
        assert sum(file.rows for file in files) == 280_001
        assert max(file.rows for file in files) < 150_000
        assert sorted(table.head().to_arrow()["id"].to_pylist()) == sorted([*ids.tolist(), -1])


@pytest.mark.parametrize("bounded", [True, False])
def test_position_deletes_of_rewritten_files_go_with_them(lake: Lake, *, bounded: bool) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1), row(2)])
    add_rows(table, [row(11), row(12), row(13)])
    add_rows(table, [row(21)])
    first, second, third = sorted(table.head().files(), key=lambda file: file.sequence)
    if bounded:
        delete_positions(table, {first: [1]})
        delete_positions(table, {second: [0]})
    else:
        delete_positions(table, {first: [1], second: [0]}, bounded=False)
    put(table, [row(1, value=7)])
    wanted = [row(1, value=7), row(12), row(13), row(21)]
    assert rows_of(table) == in_order(wanted)
    version = table.head()
    assert version.row_count == len(wanted)
    # one delete file for both: it may go only if what it says of the second is done there too
    assert (second.path in paths(table)) == bounded
    assert third.path in paths(table)
    assert sum(len(file.deletes) for file in version.files()) == (1 if bounded else 0)


def test_the_same_merge_again_commits_nothing(lake: Lake) -> None:
    table = keyed_table(lake, ["day(at)"])
    new = [row(1), row(None, None), (3, "b", None, None, float("nan"))]
    assert put(table, new).commit is not None
    head = table.head().snapshot_id
    again = put(table, new)
    assert (again.commit, again.rows_replaced, again.rows_inserted) == (None, 0, 0)
    assert table.head().snapshot_id == head
    assert put(table, []).commit is None


def test_rows_of_one_key_that_the_table_has_twice_become_one(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1), row(1)])
    add_rows(table, [row(1), row(2)])
    done = put(table, [row(1)])
    assert (done.rows_replaced, done.rows_inserted) == (3, 0)
    assert rows_of(table) == [row(1), row(2)]


def test_nested_values_are_told_apart_bit_by_bit(lake: Lake) -> None:
    kinds = {"id": pa.int64(), "xs": pa.list_(pa.float32()), "s": pa.struct([("x", pa.float64())])}
    table = lake.create(TableName("raw", "nested"), pa.schema(list(kinds.items())))

    def put_one(xs: list[float | None] | None, s: dict[str, float | None] | None) -> bool:
        new = pa.table(
            {"id": [1], "xs": pa.array([xs], kinds["xs"]), "s": pa.array([s], kinds["s"])}
        )
        return merge(table, new, key=["id"], provenance=Provenance()).commit is not None

    nan = float("nan")
    for xs, s in [
        ([0.0, nan, None], {"x": nan}),
        ([-0.0, nan, None], {"x": nan}),
        ([], {"x": None}),
        (None, {"x": None}),
        (None, None),
        ([None], None),
    ]:
        assert put_one(xs, s)
        assert not put_one(xs, s)


def test_the_whole_row_is_replaced_so_a_column_not_given_becomes_null(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1, value=3), row(2, value=4)])
    new = arrow([row(1, value=5)]).select(["user_id", "item", "value"])
    merge(table, new, key=USER_AND_ITEM, provenance=Provenance())
    assert rows_of(table) == in_order([(1, "a", None, 5, None), row(2, value=4)])


def test_rows_come_from_a_stream_too(lake: Lake) -> None:
    table = keyed_table(lake)
    batches = [batch for i in range(3) for batch in arrow([row(i)]).to_batches()]
    stream = pa.RecordBatchReader.from_batches(SCHEMA, batches)
    assert merge(table, stream, key=USER_AND_ITEM, provenance=Provenance()).rows_inserted == 3


def test_columns_added_and_widened_since_the_rows_came_merge_as_they_are_now(lake: Lake) -> None:
    name = TableName("raw", "evolving")
    table = lake.create(name, pa.schema([("k", pa.int32()), ("v", pa.int32())]))
    old = pa.record_batch({"k": pa.array([1, 2], pa.int32()), "v": pa.array([1, 2], pa.int32())})
    operations.append(table, write_batches(table, [old]), provenance=Provenance())
    lake.create(name, pa.schema([("k", pa.int64()), ("v", pa.int64()), ("w", pa.string())]))
    new = pa.table({"k": [2, 2**40], "v": [2**41, 0], "w": ["x", "y"]})
    done = merge(table, new, key=["k"], provenance=Provenance())
    assert (done.rows_replaced, done.rows_inserted) == (1, 1)
    assert sorted(table.head().to_arrow().to_pylist(), key=str) == [
        {"k": 1, "v": 1, "w": None},
        {"k": 2**40, "v": 0, "w": "y"},
        {"k": 2, "v": 2**41, "w": "x"},
    ]


def test_a_merge_lands_on_the_branch_it_is_for(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1)])
    head = table.head().snapshot_id
    assert head is not None
    table.iceberg().manage_snapshots().create_branch(head, "audit").commit()
    merge(table, arrow([row(1, value=1)]), key=["user_id"], provenance=Provenance(), branch="audit")
    assert rows_of(table) == [row(1)]
    assert rows_of(table, branch="audit") == [row(1, value=1)]
    with refused(SnapshotNotFoundError, wanted="branch `nope`"):
        merge(table, arrow([row(1)]), key=["user_id"], provenance=Provenance(), branch="nope")


def test_two_new_rows_of_one_key_are_refused_by_name(lake: Lake) -> None:
    table = keyed_table(lake)
    with refused(DuplicateKeyError, keys=1, example="user_id=1, item=None"):
        put(table, [row(1, None), row(2), row(1, None, value=2)])
    assert table.head().snapshot_id is None


@pytest.mark.parametrize(
    ("key", "reason", "column"),
    [
        ([], MergeKeyReason.NOT_A_KEY, None),
        (["item", "item"], MergeKeyReason.NOT_A_KEY, None),
        (["nope"], MergeKeyReason.UNKNOWN_COLUMN, "nope"),
        (["score"], MergeKeyReason.NO_EQUALITY, "score"),
    ],
)
def test_columns_that_cannot_be_a_key_are_refused(
    lake: Lake, key: list[str], reason: MergeKeyReason, column: str | None
) -> None:
    table = keyed_table(lake)
    with refused(MergeKeyError, reason=reason, column=column):
        put(table, [row(1)], key)


def test_rows_that_do_not_fit_are_refused_and_change_nothing(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1)])
    head = table.head().snapshot_id
    new = arrow([row(1)])
    with refused(MergeKeyError, reason=MergeKeyReason.COLUMN_NOT_GIVEN, column="item"):
        merge(table, new.drop_columns(["item"]), key=USER_AND_ITEM, provenance=Provenance())
    with refused(ContractError, reason=ColumnReason.UNKNOWN_COLUMN, column="nope"):
        merge(table, new.append_column("nope", [[1]]), key=["item"], provenance=Provenance())
    assert table.head().snapshot_id == head


def test_a_commit_in_between_makes_it_plan_again_if_it_may_hold_a_key(lake: Lake) -> None:
    table = keyed_table(lake)
    add_rows(table, [row(1), row(2)])
    tried: list[int] = []

    def attempt(number: int) -> None:
        version = table.head()
        if number == 1:
            add_rows(table, [row(3, value=7)])
        tried.append(number)
        new = NewRows.of(arrow([row(3), row(4)]), version, key=["user_id"])
        merge_into(table, version, new, provenance=Provenance())

    until_it_lands(table, attempt)
    assert tried == [1, 2]
    assert rows_of(table) == in_order([row(1), row(2), row(3), row(4)])
