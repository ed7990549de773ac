"""Altering tables by hand: what changes, what it must not do to older rows, and what is refused."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.io import load_file_io
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import (
    AlterRefusedError,
    CommitConflictError,
    DatabaseUnavailableError,
    InvalidNameError,
    LakeError,
    UnsupportedTableError,
)
from headrace.identifiers import TableName
from headrace.ingest.run import table_properties
from headrace.maintenance.compact import compact
from headrace.tables import alter, commit, partitions, refs, schema
from headrace.tables.alter import (
    AddColumn,
    DropColumn,
    MakeOptional,
    MoveColumn,
    RenameColumn,
    Repartition,
    Step,
    WidenColumn,
)
from headrace.tables.catalog import MemoCatalog
from headrace.tables.commit import Provenance
from headrace.tables.files import write_batches
from headrace.tables.lake import Lake, LakeTable
from headrace.tables.schema_edit import edit
from tests.processes import CONTEXT
from tests.tables import evolution
from tests.tables.delete_files import delete_values
from tests.tables.factories import EVENTS, add, events_table, ids_of

PLACE = pa.struct([pa.field("city", pa.string()), pa.field("zip", pa.int32())])
VISITS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("place", PLACE),
        pa.field("stops", pa.list_(pa.field("element", PLACE))),
        pa.field("labels", pa.map_(pa.string(), PLACE)),
        pa.field("only", pa.struct([pa.field("one", pa.int64())])),
        pa.field("price", pa.decimal128(5, 2)),
    ]
)
BONN = {"city": "Bonn", "zip": 53111}


def visits_table(lake: Lake, *, partition_by: tuple[str, ...] = ()) -> LakeTable:
    return lake.create(TableName("raw", "visits"), VISITS, partition_by=partition_by)


def put(table: LakeTable, *rows: dict[str, Any]) -> commit.Commit:
    """Append rows, in the table's schema of now."""
    now = schema.to_arrow(table.iceberg().schema())
    files = write_batches(table, [pa.RecordBatch.from_pylist(list(rows), now)])
    return commit.append(table, files, provenance=Provenance())


def rows_of(table: LakeTable) -> list[dict[str, Any]]:
    """The rows, which our reader, DuckDB and stock pyiceberg must agree about."""
    head = table.head()
    ours = in_order(head.to_arrow())
    theirs = in_order(table.iceberg().scan().to_arrow())
    with DuckDBEngine.open(table.lake.settings) as engine:
        engine.bind("head", head)
        read = engine.query("select * from head").read_all()
    assert in_order(read) == ours
    kind = table.iceberg().schema().as_struct()
    flat = [evolution.without_null_lists(each, kind) for each in theirs]
    assert flat == [evolution.without_null_lists(each, kind) for each in ours]
    return ours


def in_order(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: (row["id"], repr(row)))


def metadata_with(now: Schema, *, last_column_id: int) -> TableMetadata:
    """A table's metadata that keeps the ids of `now`; a new table would number them anew."""
    metadata = new_table_metadata(
        now, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, "file:///nowhere"
    )
    changed = {"schemas": [now], "current_schema_id": now.schema_id}
    return metadata.model_copy(update=changed | {"last_column_id": last_column_id})


@hypothesis_settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_edit_gives_the_schema_that_pyiceberg_makes_of_it(data: st.DataObject) -> None:
    columns = data.draw(evolution.structs(evolution.types()))
    row = NestedField(0, "row", LongType(), required=True)
    now = assign_fresh_schema_ids(Schema(row, *columns.fields))
    last_column_id = now.highest_field_id
    for _ in range(data.draw(st.integers(1, 4))):
        step = evolution.a_step(data.draw, now)
        metadata = metadata_with(now, last_column_id=last_column_id)
        table = Table(("t",), metadata, "", load_file_io(), catalog=None)  # nothing is committed
        update = UpdateSchema(table.transaction())
        evolution.take_with_pyiceberg(step, update)
        expected = update._apply()
        now = edit(now, step, last_column_id=last_column_id, table="t")
        last_column_id = max(last_column_id, now.highest_field_id)
        assert now == expected
        assert schema.to_arrow(now, field_ids=True).equals(
            schema.to_arrow(expected, field_ids=True), check_metadata=True
        )


@pytest.mark.parametrize("path", ["place.zip", "stops.element.zip", "labels.value.zip", "price"])
def test_a_column_dropped_and_added_again_never_shows_the_old_values(lake: Lake, path: str) -> None:
    table = visits_table(lake)
    row = {
        "id": 1,
        "place": BONN,
        "stops": [BONN, None],
        "labels": [("home", BONN)],
        "only": {"one": 1},
        "price": None,
    }
    put(table, row)
    refs.tag(table, "before", snapshot_id=table.head().snapshot_id or 0)
    kind = pa.decimal128(5, 2) if path == "price" else pa.int32()
    alter.drop_column(table, path)
    alter.add_column(table, path, kind)
    (read,) = rows_of(table)
    expected = {**row, path: None} if path == "price" else row | _without_zip(path)
    assert read == expected
    (tagged,) = table.at(tag="before").to_arrow().to_pylist()
    assert tagged == expected
    (then,) = table.at(tag="before").in_schema_then().to_arrow().to_pylist()
    assert then == row


def _without_zip(path: str) -> dict[str, Any]:
    blank = {"city": "Bonn", "zip": None}
    nested = {"place": blank, "stops": [blank, None], "labels": [("home", blank)]}
    column = path.partition(".")[0]
    return {column: nested[column]}


def test_one_plan_takes_steps_in_order_and_lands_in_one_change_of_the_table(lake: Lake) -> None:
    table = visits_table(lake)
    put(table, {"id": 1, "place": BONN, "price": None})
    before = table.iceberg().metadata
    plan = alter.plan(
        table,
        DropColumn("labels"),
        RenameColumn("place", to="labels"),
        AddColumn("labels.country", type=pa.string()),
        AddColumn("notes", type=pa.list_(pa.string())),
        MoveColumn("labels.country", where="before", other="city"),
        MoveColumn("price", where="after", other="id"),
        WidenColumn("price", type=pa.decimal128(9, 2)),
        MakeOptional("id"),
    )
    assert plan
    assert "rename `place` to `labels`" in str(plan)
    assert table.iceberg().metadata == before  # a plan changes nothing
    alter.apply_alter(table, plan)
    assert len(table.iceberg().metadata.schemas) == len(before.schemas) + 1
    head = table.head()
    assert head.schema.names == ["id", "price", "labels", "stops", "only", "notes"]
    assert head.schema.field("id").nullable
    assert head.schema.field("price").type == pa.decimal128(9, 2)
    (row,) = rows_of(table)
    assert row["labels"] == {"country": None, "city": "Bonn", "zip": 53111}


def test_steps_that_are_true_already_make_an_empty_plan(lake: Lake) -> None:
    table = visits_table(lake)
    before = table.iceberg().metadata_location
    plan = alter.alter(
        table,
        WidenColumn("place.zip", type=pa.int32()),
        MakeOptional("place"),
        MoveColumn("id", where="first"),
        Repartition(()),
    )
    assert not plan
    assert "nothing to change" in str(plan)
    assert table.iceberg().metadata_location == before


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        (WidenColumn("id", type=pa.int32()), "`id` is long and cannot become int.*int to long"),
        (WidenColumn("id", type=pa.string()), "cannot become string"),
        (WidenColumn("price", type=pa.decimal128(9, 3)), "same scale"),
        (WidenColumn("price", type=pa.decimal128(4, 2)), "more digits"),
        (WidenColumn("place", type=pa.struct([("city", pa.string())])), "cannot become struct"),
        (WidenColumn("labels.key", type=pa.int64()), r"`labels\.key` is the key of a map"),
        (WidenColumn("id", type=pa.timestamp("ns")), "cannot become"),
        (AddColumn("at", type=pa.timestamp("ns")), r"`at` cannot be timestamp\[ns\]"),
        (AddColumn("at", type=pa.null()), "`at` cannot be null"),
        (AddColumn("id", type=pa.int64()), "there is a column `id` already, of type long"),
        (AddColumn("place.zip", type=pa.int64()), r"there is a column `place\.zip` already"),
        (AddColumn("id.part", type=pa.int64()), "`id` is no struct"),
        (AddColumn("stops.street", type=pa.string()), r"write `stops\.element\.street`"),
        (AddColumn("labels.street", type=pa.string()), r"write `labels\.value\.street`"),
        (AddColumn("plaza.street", type=pa.string()), "did you mean `place`"),
        (DropColumn("plase"), r"no column `plase`; did you mean `place`\? there are `fine`, `id`"),
        (DropColumn("only.one"), "last column of struct `only`"),
        (DropColumn("stops.element"), "belongs to what `stops` is and cannot be dropped"),
        (DropColumn("labels.key"), "the key of a map"),
        (DropColumn("stops.city"), "no column `stops.city`; did you mean `stops.element.city`"),
        (RenameColumn("place", to="id"), "there is a column `id` already"),
        (RenameColumn("place.zip", to="city"), r"there is a column `place\.city` already"),
        (RenameColumn("labels.value", to="text"), "cannot be renamed"),
        (MoveColumn("id", where="after", other="nothing"), "those are `place`, `stops`"),
        (MoveColumn("id", where="after", other="id"), "is not another column"),
        (MoveColumn("place.zip", where="before", other="id"), "those are `city`"),
        (MoveColumn("place.zip", where="before", other="only.one"), "those are `city`"),
        (MakeOptional("nothing"), "no column `nothing`"),
        (Repartition(("day(id)",)), "cannot be partitioned by"),
        (Repartition(("nothing",)), "which is not a column"),
        (Repartition(("id", "id")), "`id` is there twice"),
        (Repartition(("place",)), "cannot be partitioned by `place`"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_by_name_and_changes_nothing(
    lake: Lake, step: Step, complaint: str
) -> None:
    table = visits_table(lake)
    before = table.iceberg().metadata_location
    with pytest.raises(AlterRefusedError, match=complaint):
        # also when a step before it was fine
        alter.alter(table, AddColumn("fine", type=pa.int64()), step)
    assert table.iceberg().metadata_location == before


def test_the_last_column_stays(lake: Lake) -> None:
    table = lake.create(TableName("raw", "narrow"), pa.schema([("a", pa.int64())]))
    with pytest.raises(AlterRefusedError, match="last column of the table"):
        alter.drop_column(table, "a")


@pytest.mark.parametrize("name", ["Bad", "two words", "a;b", ""])
def test_new_names_are_plain(lake: Lake, name: str) -> None:
    table = visits_table(lake)
    for step in (AddColumn(name, type=pa.int64()), RenameColumn("place", to=name)):
        with pytest.raises(InvalidNameError):
            alter.alter(table, step)


def stream_table(lake: Lake) -> LakeTable:
    """A table as ingesting a stream makes it, with all that its contract may say."""
    stream = Stream.model_validate(
        {
            "stream": "clicks",
            "table": "raw.clicks",
            "source": {"files": "clicks/*.jsonl"},
            "format": "json",
            "fields": {
                "user_id": {"type": "long", "required": True},
                "item": {"type": "int"},
                "session": {"type": "string"},
                "at": {"type": "timestamptz", "required": True},
            },
            "event_time": "at",
            "cluster_by": ["session"],
            "feature_view": {"entity": ["user_id"]},
        }
    )
    return lake.create(
        stream.table,
        stream.table_schema(),
        partition_by=stream.partition_by,
        properties=table_properties(stream),
    )


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        (DropColumn("event_time"), r"`event_time` partitions it \(`day\(event_time\)`\)"),
        (RenameColumn("event_time", to="happened_at"), "time every record of its stream has"),
        (MakeOptional("known_at"), "time every record of its stream has"),
        (DropColumn("known_at"), "cannot be dropped"),
        (DropColumn("_source"), "row coordinate"),
        (RenameColumn("_offset", to="at"), "row coordinate headrace writes and cannot be renamed"),
        (WidenColumn("_partition", type=pa.int64()), "cannot be widened"),
        (DropColumn("session"), "its order of rows"),
        (RenameColumn("session", to="visit"), "its order of rows"),
        (DropColumn("user_id"), "entity or a time of the feature view"),
        (MakeOptional("user_id"), "cannot be made optional"),
    ],
    ids=str,
)
def test_columns_that_a_stream_or_view_lives_on_are_left_alone(
    lake: Lake, step: Step, complaint: str
) -> None:
    table = stream_table(lake)
    with pytest.raises(AlterRefusedError, match=complaint):
        alter.alter(table, step)


def test_other_columns_of_a_stream_change_and_the_plan_says_what_its_contract_needs(
    lake: Lake,
) -> None:
    table = stream_table(lake)
    plan = alter.widen_column(table, "item", pa.int64())
    assert plan.notes
    assert "the contract of stream `clicks` must say the same" in str(plan)
    assert not alter.add_column(table, "note", pa.string()).notes
    alter.move_column(table, "_source", where="first")
    assert table.head().schema.names[0] == "_source"


def test_partition_sort_and_identity_columns_of_any_program_stay(lake: Lake) -> None:
    fields = [
        NestedField(1, "id", LongType(), required=True),
        NestedField(2, "place", StringType(), required=False),
        NestedField(3, "city", StringType(), required=False),
        NestedField(4, "rest", StringType(), required=False),
    ]
    lake.catalog.create_namespace("raw")
    lake.catalog.create_table(
        "raw.foreign",
        Schema(*fields, identifier_field_ids=[1]),
        sort_order=SortOrder(SortField(source_id=2, transform=IdentityTransform())),
    )
    table = lake.table("raw.foreign")
    alter.repartition(table, partition_by=["city"])
    for step, complaint in [
        (DropColumn("id"), "row identity"),
        (MakeOptional("id"), "row identity"),
        (DropColumn("place"), "sort order"),
        (DropColumn("city"), "partitions it"),
    ]:
        with pytest.raises(AlterRefusedError, match=complaint):
            alter.alter(table, step)
    alter.alter(table, RenameColumn("place", to="town"), RenameColumn("id", to="key"))
    assert table.iceberg().schema().identifier_field_names() == {"key"}
    alter.repartition(table, partition_by=[])
    with pytest.raises(AlterRefusedError, match="in an older scheme"):
        alter.drop_column(table, "city")


def test_a_column_cannot_take_the_name_of_a_partition_field(lake: Lake) -> None:
    table = events_table(lake)
    with pytest.raises(AlterRefusedError, match="`event_time_day` is the name of a partition"):
        alter.add_column(table, "event_time_day", pa.int64())
    alter.repartition(table, partition_by=["name"])
    alter.rename_column(table, "name", to="title")
    with pytest.raises(AlterRefusedError, match="`name` is the name of a partition field"):
        alter.add_column(table, "name", pa.string())


def test_a_plan_lands_after_other_rows_but_not_after_other_columns(lake: Lake) -> None:
    table = events_table(lake)
    plan = alter.plan(table, AddColumn("note", type=pa.string()))
    add(table, [1])
    alter.apply_alter(table, plan)
    assert rows_of(table)[0]["note"] is None
    stale = alter.plan(table, DropColumn("note"))
    alter.alter(table, DropColumn("note"), AddColumn("note", type=pa.int64()))
    before = table.iceberg().metadata_location
    with pytest.raises(CommitConflictError, match="changed since the plan was made"):
        alter.apply_alter(table, stale)
    assert table.iceberg().metadata_location == before


@pytest.mark.parametrize("step", [DropColumn("name"), WidenColumn("place", type=pa.int64())])
def test_a_column_that_tells_which_rows_are_deleted_stays_as_it_is(lake: Lake, step: Step) -> None:
    # DuckDB 1.5 ends its process where it is gone, and compares nothing where it is wider
    fields = [("id", pa.int64()), ("name", pa.string()), ("place", pa.int32())]
    table = lake.create(TableName("raw", "deleted"), pa.schema(fields))
    put(table, {"id": 1, "name": "a", "place": 1}, {"id": 2, "name": "b", "place": 2})
    planned = alter.plan(table, step)
    delete_values(table, pa.table({"name": ["a"], "place": pa.array([1], pa.int32())}))
    before = table.iceberg().metadata_location
    for act in (lambda: alter.alter(table, step), lambda: alter.apply_alter(table, planned)):
        with pytest.raises(AlterRefusedError, match="tells which rows are deleted"):
            act()
    assert table.iceberg().metadata_location == before
    alter.alter(table, RenameColumn("name", to="title"), MoveColumn("place", where="first"))
    put(table, {"id": 3})
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("head", table.head())
        read = engine.query("select id, title from head order by id").read_all()
    assert read.to_pylist() == [{"id": 2, "title": "b"}, {"id": 3, "title": None}]


class _IsOvertaken(MemoCatalog):
    """The real catalog; before the first commit another program, without our lock, changes it."""

    first: Callable[[], None] | None = None

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> Any:  # noqa: ANN401
        first, self.first = self.first, None
        if first is not None:
            first()
        return super().commit_table(table, requirements, updates)


def test_what_another_program_changed_meanwhile_is_kept(lake: Lake) -> None:
    settings = lake.settings
    catalog = _IsOvertaken(
        "lake", uri=settings.catalog_uri, warehouse=f"file://{settings.warehouse}"
    )
    table = events_table(Lake(settings, catalog, lake.registry))

    def theirs() -> None:
        other = lake.catalog.load_table("raw.events")
        with other.update_schema() as update:
            update.add_column("theirs", StringType())
        with other.update_spec() as spec:
            spec.add_identity("id")

    catalog.first = theirs
    alter.alter(table, AddColumn("ours", type=pa.string()), RenameColumn("name", to="title"))
    current = table.iceberg()
    assert current.schema().column_names[-2:] == ["theirs", "ours"]
    assert {each.field_id for each in current.schema().fields} >= {6, 7}
    assert table.head().partition_by == ("day(event_time)", "id")

    def append() -> None:
        rows = pa.Table.from_pylist([{"id": 1, "event_time": NOON}], EVENTS)
        fields = [each for each in rows.schema if each.name in ("id", "event_time")]
        lake.catalog.load_table("raw.events").append(rows.select([0, 3]).cast(pa.schema(fields)))

    catalog.first = append
    alter.repartition(table, partition_by=["bucket(4, id)"])
    assert ids_of(table) == [1]
    planned = alter.plan(table, DropColumn("ours"))

    def drop_theirs() -> None:
        with lake.catalog.load_table("raw.events").update_schema() as update:
            update.delete_column("theirs")

    catalog.first = drop_theirs
    with pytest.raises(CommitConflictError, match="changed since the plan was made"):
        alter.apply_alter(table, planned)
    assert table.head().schema.names[-1] == "ours"


class _LosesAnswers(MemoCatalog):
    """The real catalog, whose answers get lost after, or before, it did what it was asked."""

    loses: str = "nothing"

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> Any:  # noqa: ANN401
        detail = "no answer"
        if self.loses == "the request":
            raise DatabaseUnavailableError("catalog", detail)
        answer = super().commit_table(table, requirements, updates)
        if self.loses == "the answer":
            raise DatabaseUnavailableError("catalog", detail)
        return answer


def test_a_lost_answer_is_resolved_by_looking_and_a_lost_request_is_an_error(lake: Lake) -> None:
    settings = lake.settings
    catalog = _LosesAnswers(
        "lake", uri=settings.catalog_uri, warehouse=f"file://{settings.warehouse}"
    )
    table = events_table(Lake(settings, catalog, lake.registry))
    catalog.loses = "the answer"
    alter.rename_column(table, "name", to="title")
    alter.repartition(table, partition_by=["bucket(4, id)"])
    catalog.loses = "the request"
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
    commit.append(table, files, provenance=Provenance())
    (row,) = rows_of(table)
    assert (row["title"], row["name"]) == ("one", None)
    assert "tags" not in row


NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
EVENT_ROWS: list[dict[str, Any]] = [{"id": 1, "name": "one", "tags": [1], "event_time": NOON}]


@pytest.mark.parametrize("by", ["id", "bucket(4, id)", "truncate(2, id)"])
def test_a_widened_column_still_finds_its_rows_and_partitions(lake: Lake, by: str) -> None:
    narrow = pa.schema([pa.field("id", pa.int32()), pa.field("x", pa.float32())])
    table = lake.create(TableName("raw", "narrow"), narrow, partition_by=[by])
    put(table, {"id": 1, "x": 0.5}, {"id": 7, "x": 1.5})
    alter.alter(table, WidenColumn("id", type=pa.int64()), WidenColumn("x", type=pa.float64()))
    put(table, {"id": 2**40, "x": 1e300}, {"id": 7, "x": None})
    assert [row["id"] for row in rows_of(table)] == [1, 7, 7, 2**40]
    # bounds of older files are of the narrow type
    found = table.iceberg().scan(row_filter="id > 6 and x < 2").to_arrow()
    assert found.to_pylist() == [{"id": 7, "x": 1.5}]
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("head", table.head())
        read = engine.query("select * from head where id > 6 and x < 2").read_all()
    assert read.to_pylist() == [{"id": 7, "x": 1.5}]
    of_seven = [key for key in table.head().partitions if key in _partition_of_seven(table)]
    assert table.head().to_arrow(partitions=of_seven).column("id").to_pylist().count(7) == 2


def _partition_of_seven(table: LakeTable) -> set[tuple[object, ...]]:
    files = write_batches(table, [pa.RecordBatch.from_pylist([{"id": 7}])])
    return {partitions.key_of_record(file.partition, table.terms()) for file in files}


def _back_and_forth(table: LakeTable) -> None:
    alter.repartition(table, partition_by=["bucket(4, id)"])
    alter.repartition(table, partition_by=["day(event_time)"])


def test_a_scheme_that_was_there_before_is_taken_again_with_its_ids(lake: Lake) -> None:
    table = events_table(lake)
    _back_and_forth(table)
    before = table.iceberg().metadata
    assert (before.default_spec_id, len(before.partition_specs)) == (0, 2)
    _back_and_forth(table)
    assert len(table.iceberg().metadata.partition_specs) == 2
    alter.repartition(table, partition_by=["bucket(8, id)", "day(event_time)"])
    newest = table.iceberg().spec().fields
    (bucket, day) = newest
    assert day == before.spec().fields[0]
    assert bucket.name != before.specs()[1].fields[0].name
    assert bucket.field_id == 1 + max(
        each.field_id for spec in before.specs().values() for each in spec.fields
    )


@pytest.mark.parametrize(
    "by",
    [
        ["bucket(3, id)"],
        ["month(event_time)", "bucket(2, name)"],
        ["truncate(2, name)", "hour(event_time)"],
        ["name"],
        [],
    ],
    ids=str,
)
def test_a_new_partitioning_takes_what_is_written_from_now_on_and_everything_stays_readable(
    lake: Lake, by: list[str]
) -> None:
    table = events_table(lake)
    for day in range(2):
        add(table, [day], day=day)
    refs.tag(table, "before", snapshot_id=table.head().snapshot_id or 0)
    alter.repartition(table, partition_by=by)
    assert table.head().partition_by == tuple(by)
    for day in range(2):
        add(table, [2 + day], day=day)
    assert [row["id"] for row in rows_of(table)] == [0, 1, 2, 3]
    newest = table.iceberg().metadata.default_spec_id
    specs = sorted(file.spec_id for file in table.head().files())
    assert specs == [0, 0, *([newest] * (len(specs) - 2))]
    assert table.at(tag="before").to_arrow().num_rows == 2
    for column, value in (("id", 3), ("name", "event 3")):
        found = table.iceberg().scan(row_filter=f"{column} == {value!r}").to_arrow()
        assert found.column("id").to_pylist() == [3]


def test_altered_tables_compact_and_read_as_before(lake: Lake) -> None:
    table = visits_table(lake)
    for i in range(3):
        put(table, {"id": i, "place": BONN, "stops": [BONN], "labels": [("home", BONN)]})
    alter.alter(
        table,
        RenameColumn("place.zip", to="code"),
        DropColumn("stops.element.zip"),
        AddColumn("stops.element.zip", type=pa.string()),
        WidenColumn("labels.value.zip", type=pa.int64()),
        MoveColumn("stops", where="first"),
    )
    new = {"city": "Ulm", "zip": "89073"}
    put(table, {"id": 3, "stops": [new], "labels": [("work", {"city": "Ulm", "zip": 2**40})]})
    before = rows_of(table)
    assert before[0]["place"] == {"city": "Bonn", "code": 53111}
    assert before[0]["stops"] == [{"city": "Bonn", "zip": None}]
    assert compact(table).changed
    assert len(table.head().files()) == 1
    assert rows_of(table) == before


def test_a_repartitioned_table_compacts_and_keeps_its_rows(lake: Lake) -> None:
    table = events_table(lake)
    for i in range(4):
        add(table, [i], day=i % 2)
    alter.repartition(table, partition_by=["bucket(2, id)"])
    for i in range(4, 8):
        add(table, [i], day=i % 2)
    before = rows_of(table)
    compact(table)
    assert rows_of(table) == before


def test_files_without_ids_still_read_by_name_and_their_names_are_not_given_away(
    lake: Lake,
) -> None:
    table = visits_table(lake)
    path = f"{lake.settings.warehouse}/foreign.parquet"
    rows = [{"id": 1, "place": BONN, "stops": [BONN], "only": {"one": 1}}]
    pq.write_table(pa.Table.from_pylist(rows, VISITS), path)
    table.iceberg().add_files([f"file://{path}"])
    alter.alter(
        table,
        RenameColumn("place.zip", to="code"),
        RenameColumn("place", to="spot"),
        DropColumn("price"),
        AddColumn("spot.street", type=pa.struct([("name", pa.string())])),
        WidenColumn("stops.element.zip", type=pa.int64()),
    )
    (row,) = rows_of(table)
    assert row["spot"] == {"city": "Bonn", "code": 53111, "street": None}
    assert row["stops"] == [BONN]
    # readers would take what those files call so for the new column
    for step in (
        AddColumn("price", type=pa.decimal128(5, 2)),
        AddColumn("spot.zip", type=pa.int32()),
        RenameColumn("stops", to="place"),
    ):
        with pytest.raises(AlterRefusedError, match="files without field ids"):
            alter.alter(table, step)
    alter.rename_column(table, "spot.code", to="zip")
    (row,) = rows_of(table)
    assert row["spot"]["zip"] == 53111


def test_default_values_are_refused_because_they_would_read_as_null(lake: Lake) -> None:
    table = visits_table(lake)
    with table.iceberg().update_schema() as update:
        update.add_column(("place", "country"), StringType(), default_value="DE")
    with pytest.raises(UnsupportedTableError, match=r"`place\.country` has a default value"):
        table.head()
    with pytest.raises(UnsupportedTableError, match="format version 3"):
        alter.add_column(table, "note", pa.string())


def _events_declared(
    lake: Lake, *, without: str = "", more: tuple[pa.Field, ...] = ()
) -> LakeTable:
    fields = [each for each in EVENTS if each.name != without]
    return lake.create(
        TableName("raw", "events"), pa.schema([*fields, *more]), partition_by=["day(event_time)"]
    )


def test_a_declaration_that_still_has_a_dropped_column_is_refused_and_undoes_nothing(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, [1])
    alter.drop_column(table, "name")
    before = table.iceberg().metadata_location
    with pytest.raises(LakeError, match=r"`name` was dropped from the table; leave it out"):
        _events_declared(lake)
    assert table.iceberg().metadata_location == before
    _events_declared(lake, without="name", more=(pa.field("note", pa.string()),))
    assert rows_of(table)[0].keys() == {"id", "tags", "event_time", "note"}
    alter.add_column(table, "name", pa.string())
    _events_declared(lake)
    assert rows_of(table)[0]["name"] is None


def test_a_declaration_that_still_has_a_renamed_column_is_refused_and_makes_no_twin(
    lake: Lake,
) -> None:
    table = events_table(lake)
    add(table, [1])
    alter.rename_column(table, "name", to="label")
    alter.rename_column(table, "label", to="title")
    for old in ("name", "label"):
        with pytest.raises(LakeError, match=rf"`{old}` was renamed to `title`"):
            _events_declared(lake, without="name", more=(pa.field(old, pa.string()),))
    _events_declared(lake, without="name", more=(pa.field("title", pa.string()),))
    assert table.head().schema.names == ["id", "title", "tags", "event_time"]
    alter.rename_column(table, "title", to="name")
    _events_declared(lake)
    assert rows_of(table)[0]["name"] == "event 1"


def test_other_changes_by_hand_are_refused_or_kept_by_the_declaration(lake: Lake) -> None:
    table = events_table(lake)
    alter.alter(table, AddColumn("note", type=pa.string()), MoveColumn("tags", where="first"))
    names = table.head().schema.names
    _events_declared(lake)
    assert table.head().schema.names == names
    alter.make_optional(table, "id")
    with pytest.raises(LakeError, match="`id` is optional and cannot become required"):
        _events_declared(lake)
    alter.repartition(table, partition_by=["bucket(4, id)"])
    with pytest.raises(LakeError, match="is partitioned by"):
        _events_declared(lake)
