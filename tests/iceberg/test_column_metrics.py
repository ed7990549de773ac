"""Bounds in manifests: on what prunes and the first columns, while every column keeps its counts."""

import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, ListType, LongType, NestedField

from headrace.api import Lake
from headrace.definitions.properties import CLUSTER_BY, FEATURE_VIEW_PROPERTY, KEY
from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT
from headrace.iceberg.column_metrics import BOUNDED_MAX, limits, renamed
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches

BOUNDED = "truncate(16)"
_PREFIX = "write.metadata.metrics.column."


def schema_of(names: list[str]) -> Schema:
    fields = [NestedField(at, name, DoubleType()) for at, name in enumerate(names, start=1)]
    return Schema(*fields)


def bounded(properties: dict[str, str]) -> list[str]:
    return [name.removeprefix(_PREFIX) for name in properties if name.startswith(_PREFIX)]


@given(
    count=st.integers(1, 90),
    cluster=st.lists(st.integers(0, 99), max_size=4, unique=True),
    key=st.lists(st.integers(0, 99), max_size=2),
)
def test_what_prunes_is_always_bounded_and_a_second_look_changes_nothing(
    count: int, cluster: list[int], key: list[int]
) -> None:
    names = [f"c{at}" for at in range(count)]
    said = {CLUSTER_BY: json.dumps([f"c{at}" for at in cluster])} | {
        KEY: json.dumps([f"c{at}" for at in key])
    }
    found = limits(schema_of(names), PartitionSpec(), said)
    if count <= BOUNDED_MAX:
        assert found == {}
        return
    wanted = {f"c{at}" for at in (*cluster, *key)} & set(names)
    assert found["write.metadata.metrics.default"] == "counts"
    assert wanted <= set(bounded(found)) <= set(names)
    assert len(bounded(found)) == BOUNDED_MAX
    assert limits(schema_of(names), PartitionSpec(), said | found) == {}


def test_more_columns_prune_than_others_may_have_bounds() -> None:
    names = [f"c{at}" for at in range(100)]
    said = {CLUSTER_BY: json.dumps(names[50:90])}
    assert bounded(limits(schema_of(names), PartitionSpec(), said)) == names[50:90]


def test_times_and_row_coordinates_prune_wherever_they_stand() -> None:
    last = [EVENT_TIME, KNOWN_AT, *COORDINATES.names]
    wide = schema_of([*(f"c{at}" for at in range(100)), *last])
    assert set(last) <= set(bounded(limits(wide, PartitionSpec(), {})))


def test_what_is_said_of_columns_goes_along_with_new_names() -> None:
    said = {f"{_PREFIX}a": "full", f"{_PREFIX}b": "none", f"{_PREFIX}c": "counts", "d": "e"}
    assert renamed(said, {"a": "b", "b": "a", "d": "f"}) == {
        f"{_PREFIX}a": "none",
        f"{_PREFIX}b": "full",
    }
    assert renamed(said, {"c": "g"}) == {f"{_PREFIX}c": None, f"{_PREFIX}g": "counts"}


def test_what_is_inside_of_lists_takes_no_place_for_it_never_has_bounds() -> None:
    inner = ListType(200, LongType(), element_required=False)
    lists = [NestedField(at, f"l{at}", inner) for at in range(1, 40)]
    schema = Schema(*lists, NestedField(99, "last", DoubleType()))
    assert limits(schema, PartitionSpec(), {}) == {}


def test_what_someone_has_set_stays() -> None:
    wide = schema_of([f"c{at}" for at in range(100)])
    for said in ({"write.metadata.metrics.default": "none"}, {f"{_PREFIX}c7": "full"}):
        assert limits(wide, PartitionSpec(), said) == {}
    assert limits(wide, PartitionSpec(), {"write.metadata.metrics.default": BOUNDED}) != {}


def test_properties_written_by_hand_are_no_reason_to_fail() -> None:
    wide = schema_of([f"c{at}" for at in range(100)])
    for text in ("{", "7", '"c99"'):
        assert "c99" not in bounded(limits(wide, PartitionSpec(), {CLUSTER_BY: text}))


def wide_table(lake: Lake) -> LakeTable:
    view = json.dumps({"entity": ["c58"], "event_time": "c57", "known_at": "c56"})
    return lake.create(
        TableName("raw", "wide"),
        pa.schema([pa.field(f"c{at}", pa.int64()) for at in range(60)]),
        partition_by=["c59"],
        properties={FEATURE_VIEW_PROPERTY: view, CLUSTER_BY: '["c55"]'},
    )


def test_a_wide_table_has_bounds_of_what_prunes_and_counts_of_everything(lake: Lake) -> None:
    table = wide_table(lake)
    schema = table.iceberg().schema()
    rows = {name: pa.array([None, 1, 2], pa.int64()) for name in schema.column_names}
    batch = pa.record_batch(rows | {"c59": pa.array([7, 7, 7], pa.int64())})
    operations.append(table, write_batches(table, [batch]), provenance=Provenance())
    (file,) = table.head().files()
    found = {schema.find_column_name(at) for at in file.data_file.lower_bounds}
    assert {"c55", "c56", "c57", "c58", "c59", "c0"} <= found
    assert "c54" not in found
    assert len(found) == BOUNDED_MAX
    assert len(file.data_file.value_counts) == 60
    assert list(file.data_file.null_value_counts.values()) == [1] * 59 + [0]


def test_a_narrow_table_says_nothing_per_column(lake: Lake) -> None:
    table = wide_table(lake)
    narrow = lake.create(TableName("raw", "narrow"), pa.schema([pa.field("a", pa.int64())]))
    assert bounded(dict(table.head().properties))
    assert bounded(dict(narrow.head().properties)) == []
    assert narrow.head().properties["write.metadata.metrics.default"] == BOUNDED
