"""Model commits: tied to what they were planned on, with their columns, and nothing left by a failure."""

from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.definitions.types import FieldType
from headrace.errors import (
    CommitConflictError,
    ContractError,
    LakeError,
    ModelColumnsError,
    ModelRowsError,
    ModelTypeError,
    ModelValueError,
)
from headrace.identifiers import TableName
from headrace.integrations.model_request import ColumnRule
from headrace.integrations.rebuild import RebuildPlan
from headrace.tables.alter import DropColumn, alter
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from headrace.tables.writer import write_batches
from tests.integrations.driven import (
    BY_DAY,
    EVENTS,
    SCHEMA,
    Driven,
    Model,
    appends,
    in_days,
    merges,
)


@pytest.fixture
def driven(lake: Lake) -> Driven:
    return Driven(lake)


def table(sql: str, **said: object) -> Model:
    return replace(Model(strategy="table", sql=lambda _: sql), **said)


def rows(sql: str, **said: object) -> Model:
    """An append model of a new definition for each SQL, whose history stays."""
    model = Model(strategy="append", keeps_history=True, code=f"r-{sql}", sql=lambda _: sql)
    return replace(model, **said)


def daily(plan: RebuildPlan) -> str:
    return f"select seq, event_time from raw.events where {in_days('event_time', plan, 'write')}"


@pytest.mark.parametrize(
    ("model", "first_build"),
    [
        (appends(), True),
        (appends(), False),
        (merges(), False),
        (table("select seq, n from raw.events"), True),
        (Model(strategy="insert_overwrite", partition_by=BY_DAY, sql=daily), False),
    ],
    ids=["append-first", "append", "merge", "table-first", "insert_overwrite"],
)
def test_of_two_runs_of_one_model_the_slower_one_plans_again(
    driven: Driven, model: Model, first_build: bool
) -> None:
    driven.add((1, 1, 1, 0))
    if not first_build:
        driven.run(model)
    driven.add((2, 1, 1, 0), (3, 2, 1, 1))

    outcome = driven.run(model, before_commit=lambda: driven.other().run(model))

    assert outcome.code == "unchanged"
    once = driven.rows()
    driven.run(model, full_refresh=True)
    assert once == driven.rows()
    assert not [w for w in driven.lake.registry.writes() if w.table == "out.m"]


@pytest.mark.parametrize("model", [appends(), merges()], ids=lambda model: model.strategy)
def test_a_slower_run_that_read_less_neither_takes_back_nor_doubles(
    driven: Driven, model: Model
) -> None:
    driven.add((1, 1, 1, 0))
    driven.run(model)
    driven.add((2, 1, 1, 0))

    def newer_run() -> None:
        driven.add((3, 1, 1, 0), (4, 2, 1, 0))
        driven.other().run(model)

    # the first run read 1 and 2, the other one everything
    driven.run(model, before_commit=newer_run)

    found = driven.rows()
    assert driven.run(model).code == "unchanged"
    driven.run(model, full_refresh=True)
    assert found == driven.rows()


@pytest.mark.parametrize("model", [appends(), merges()], ids=lambda model: model.strategy)
def test_a_run_whose_view_of_its_table_is_old_plans_again(driven: Driven, model: Model) -> None:
    driven.add((1, 1, 1, 0))
    driven.run(model)
    driven.add((2, 1, 1, 0), (3, 2, 1, 0))
    pending = [lambda: driven.other().run(model)]

    # the plan must not take the other run's build for the one its SQL has seen
    driven.run(model, between_view_and_plan=lambda: pending and pending.pop()())

    found = driven.rows()
    driven.run(model, full_refresh=True)
    assert found == driven.rows()


def test_a_run_that_began_before_a_newer_one_takes_nothing_back(driven: Driven) -> None:
    model = table("select seq from raw.events")
    driven.add((1, 1, 1, 0))
    began = driven.pin()
    driven.add((2, 1, 1, 0))
    driven.other().run(model)

    assert driven.run(model, pinned=began).code == "unchanged"
    assert driven.rows() == [(1,), (2,)]

    # an input that was rolled back is older on purpose
    assert began is not None
    events = driven.lake.table(EVENTS)
    apply_rollback(events, plan_rollback(events, began))
    assert driven.run(model).code == "replaced"
    assert driven.rows() == [(1,)]


def test_a_model_that_always_loses_is_refused_and_leaves_no_file_in_flight(
    driven: Driven,
) -> None:
    model = table("select seq from raw.events")
    driven.add((1, 1, 1, 0))
    driven.run(model)
    before = driven.rows()
    driven.add((2, 1, 1, 0))
    other = driven.other()

    def changes_while_it_runs(_: RebuildPlan) -> str:
        # as a writer does that knows no lock: the last try holds it
        builds = len(driven.lake.registry.commits("out.m"))
        other.run(replace(model, code=f"r-other-{builds}"))
        return "select seq from raw.events"

    with pytest.raises(CommitConflictError):
        driven.run(replace(model, sql=changes_while_it_runs))
    assert [row[0] for row in before] == [1]
    assert not [w for w in driven.lake.registry.writes() if w.table == "out.m"]


_AT = "cast('2026-03-01' as timestamptz) as event_time"


@pytest.mark.parametrize(
    ("strategy", "sql", "error"),
    [
        (
            "append",
            "select seq, cast(error('no') as integer) as extra from raw.events",
            duckdb.Error,
        ),
        (
            "insert_overwrite",
            "select seq, 'infinity'::date as extra from raw.events",
            ModelValueError,
        ),
        ("merge", "select seq, null::integer as extra from raw.events", ContractError),
        ("table", "select seq, sum(n) as extra from raw.events group by seq", ModelTypeError),
    ],
    ids=["error", "infinity", "null", "type"],
)
def test_a_build_that_fails_leaves_no_table_and_no_column(
    driven: Driven, strategy: str, sql: str, error: type[Exception]
) -> None:
    required = {"extra": ColumnRule(required=True, declared=None)}
    bad = Model(strategy=strategy, unique_key=("seq",), sql=lambda _: sql, columns=required)
    if strategy == "insert_overwrite":
        bad = replace(bad, partition_by=BY_DAY, sql=lambda _: f"select *, {_AT} from ({sql})")
    driven.add((1, 1, 1, 0))

    with pytest.raises(error):
        driven.run(bad)
    assert not driven.lake.exists("out.m")

    good = replace(bad, columns={}, sql=lambda _: f"select seq, {_AT} from raw.events")
    driven.run(good)
    before = driven.lake.table("out.m").iceberg().metadata
    driven.add((2, 2, 2, 0))
    with pytest.raises(error):
        driven.run(replace(bad, code="r-2"))
    after = driven.lake.table("out.m").iceberg().metadata
    assert after == before
    assert not driven.lake.registry.writes()


TIMES = {
    "cast('infinity' as timestamptz)": "infinity",
    "cast('-infinity' as timestamptz)": "-infinity",
    "cast('infinity' as date)": "infinity",
    "cast('20000-01-01' as date)": "beyond",
    "cast('4000-01-01 (BC)' as timestamptz)": "beyond",
    "[cast('infinity' as timestamptz)]": "infinity",
    "{'inner': [cast('infinity' as date)]}": "infinity",
}


def test_a_time_that_no_table_keeps_is_refused_with_its_column(driven: Driven) -> None:
    driven.add((1, 1, 1, 0), (7, 2, 2, 0))
    for expression, value in TIMES.items():
        sql = f"select seq, case when seq = 7 then {expression} end as until from raw.events"

        with pytest.raises(ModelValueError) as refused:
            driven.run(table(sql))

        assert (refused.value.table, refused.value.column) == ("out.m", "until")
        assert refused.value.value.startswith(value)
        if not expression.startswith(("[", "{")):
            assert refused.value.row == "seq=7"


@pytest.mark.parametrize("model", [appends(), merges()], ids=lambda model: model.strategy)
def test_full_refresh_false_keeps_rows_that_the_input_has_lost(
    driven: Driven, model: Model
) -> None:
    kept = replace(model, keeps_history=True)
    driven.add((1, 1, 1, 0))
    driven.run(kept)
    driven.lake.catalog.drop_table((EVENTS.namespace, EVENTS.name))
    driven.lake.create(EVENTS, SCHEMA, partition_by=BY_DAY)
    driven.add((2, 2, 2, 0))

    assert driven.run(replace(kept, code="r-2")).code in {"appended", "merged"}
    assert [row[-2] for row in driven.rows()] == [1, 2]
    assert driven.run(replace(kept, code="r-3")).code == "unchanged"
    assert len(driven.rows()) == 2


def test_full_refresh_false_refuses_what_would_compute_all_rows(driven: Driven) -> None:
    model = Model(strategy="insert_overwrite", partition_by=BY_DAY, sql=daily, keeps_history=True)
    driven.add((1, 1, 1, 0))
    driven.run(model)
    driven.add((2, 1, 1, 1))
    assert driven.run(replace(model, code="r-2")).code == "overwritten"
    driven.lake.catalog.drop_table((EVENTS.namespace, EVENTS.name))
    driven.lake.create(EVENTS, SCHEMA, partition_by=BY_DAY)
    driven.add((3, 1, 1, 2))

    with pytest.raises(ModelRowsError):
        driven.run(model)
    assert [row[0] for row in driven.rows()] == [1, 2]
    assert driven.run(replace(model, keeps_history=False)).code == "replaced"


@pytest.mark.parametrize("model", [appends(), merges()], ids=lambda model: model.strategy)
def test_a_table_that_was_first_built_empty_does_not_stay_empty(
    driven: Driven, model: Model
) -> None:
    kept = replace(model, keeps_history=True)
    driven.run(kept)
    assert driven.rows() == []
    driven.add((1, 1, 1, 0))

    # the model asks for rows beyond `max(seq)`, which is null
    assert driven.run(kept).code == "replaced"
    assert len(driven.rows()) == 1


def test_a_model_never_replaces_what_a_stream_has_ingested(driven: Driven) -> None:
    stream = driven.lake.create(
        TableName("out", "m"), SCHEMA, properties={"headrace.stream": "clicks"}
    )
    files = write_batches(stream, [pa.RecordBatch.from_pylist([{"seq": 9}], schema=SCHEMA)])
    operations.append(stream, files, provenance=Provenance())
    driven.add((1, 1, 1, 0))

    with pytest.raises(ModelRowsError):
        driven.run(table("select * from raw.events"))
    assert [row[0] for row in driven.rows()] == [9]


def test_rows_built_by_an_earlier_version_stay_where_only_the_table_has_them(
    driven: Driven,
) -> None:
    unrendered = "0123456789abcdef"
    driven.add((1, 1, 1, 0))
    for model, code in ((appends(), "appended"), (table("select seq from raw.events"), "replaced")):
        driven.run(replace(model, code=unrendered))
        assert driven.run(model).code == ("unchanged" if code == "appended" else "replaced")
        driven.add((2, 2, 2, 0))
        assert driven.run(model).code == code
        assert driven.run(model).code == "unchanged"
        driven.lake.catalog.drop_table(("out", "m"))


def test_sql_that_reads_a_table_by_its_name_is_refused(driven: Driven) -> None:
    driven.lake.create(TableName("raw", "other"), SCHEMA)
    driven.add((1, 1, 1, 0))
    driven.pin()
    driven.connection.execute("create table raw.other as from raw.events")

    for sql in ("from RAW.other", "with a as (from raw.events) select * from memory.raw.other, a"):
        with pytest.raises(ModelRowsError):
            driven.run(table(sql))
    assert driven.run(table("with other as (from raw.events) from other")).code == "replaced"


_WAS = "select seq, n as kept, n as gone from raw.events"
_IS = "select seq, n as kept, key as added from raw.events where seq > 1"


@pytest.mark.parametrize(
    ("policy", "names", "newest"),
    [
        ("", ["seq", "kept", "gone", "added"], (2, 20, None, 7)),
        ("append_new_columns", ["seq", "kept", "gone", "added"], (2, 20, None, 7)),
        ("ignore", ["seq", "kept", "gone"], (2, 20, None)),
        ("sync_all_columns", ["seq", "kept", "added"], (2, 20, 7)),
    ],
)
def test_on_schema_change_decides_what_new_columns_do(
    driven: Driven, policy: str, names: list[str], newest: tuple[int | None, ...]
) -> None:
    driven.add((1, 7, 10, 0))
    driven.run(rows(_WAS, on_schema_change=policy))
    driven.add((2, 7, 20, 0))

    driven.run(rows(_IS, on_schema_change=policy))

    version = driven.lake.table("out.m").head()
    assert version.schema.names == names
    assert driven.rows() == [
        (1, 10, *((10,) if "gone" in names else ()), *((None,) if "added" in names else ())),
        newest,
    ]
    # the columns and the rows are one commit: each snapshot has the schema it was written with
    assert version.metadata.current_schema_id == version.metadata.current_snapshot().schema_id


@pytest.mark.parametrize(
    ("sql", "facts"),
    [
        (_IS, (("added",), ("gone",), ())),
        ("select seq, n as kept, n::double as gone from raw.events", ((), (), ("gone",))),
    ],
)
def test_on_schema_change_fail_names_every_difference(
    driven: Driven, sql: str, facts: tuple[tuple[str, ...], ...]
) -> None:
    driven.add((1, 7, 10, 0))
    driven.run(rows(_WAS, on_schema_change="fail"))
    driven.add((2, 7, 20, 0))

    # a changed definition replaces all rows where history does not have to stay: fail means fail
    for keeps in (True, False):
        with pytest.raises(ModelColumnsError) as refused:
            driven.run(rows(sql, on_schema_change="fail", keeps_history=keeps))
        found = refused.value
        assert (found.added, found.removed, found.retyped) == facts
    assert driven.rows() == [(1, 10, 10)]
    assert driven.run(rows(_WAS, on_schema_change="fail")).code == "appended"
    assert driven.run(rows(sql, on_schema_change="fail", keeps_history=False), full_refresh=True)


def test_ignored_columns_keep_the_tables_type_or_are_refused(driven: Driven) -> None:
    driven.add((1, 7, 10, 0))
    driven.run(rows("select seq, n::integer as n from raw.events", on_schema_change="ignore"))
    driven.add((2, 7, 20, 0))
    driven.run(rows("select seq, n from raw.events where seq = 2", on_schema_change="ignore"))
    assert driven.rows() == [(1, 10), (2, 20)]
    assert driven.lake.table("out.m").head().schema.field("n").type == pa.int32()
    driven.add((3, 7, 2**40, 0))
    with pytest.raises(ContractError):
        driven.run(rows("select seq, n from raw.events where seq = 3", on_schema_change="ignore"))


def test_only_a_full_refresh_changes_a_type_and_gives_the_column_a_new_id(driven: Driven) -> None:
    strict = {"kept": ColumnRule(required=True, declared=None)}
    declared = {"kept": ColumnRule(required=True, declared=FieldType.parse("string"))}
    was = replace(table("select seq, n as kept, n as gone from raw.events"), columns=strict)
    text = table("select seq, n::varchar as kept from raw.events", code="r-2", columns=declared)
    driven.add((1, 7, 10, 0))
    driven.run(was)
    old = driven.lake.table("out.m").iceberg()

    with pytest.raises(ModelTypeError) as refused:
        driven.run(text)
    assert refused.value.column == "kept"
    assert driven.lake.table("out.m").iceberg().metadata == old.metadata

    assert driven.run(text, full_refresh=True).code == "replaced"
    assert driven.rows() == [(1, "10")]
    now = driven.lake.table("out.m").iceberg()
    assert now.schema().find_field("kept").field_id > old.schema().find_field("gone").field_id
    # what it was stays readable, by its own schema
    before = driven.lake.table("out.m").at(snapshot_id=old.metadata.current_snapshot_id or 0)
    assert before.in_schema_at_commit().to_arrow().to_pylist() == [
        {"seq": 1, "kept": 10, "gone": 10}
    ]
    # still required, though the table cannot say so of a column that came later
    nothing = replace(text, sql=lambda _: "select seq, null::varchar as kept from raw.events")
    with pytest.raises(ContractError):
        driven.run(nothing, full_refresh=True)
    driven.add((2, 7, 20, 0))
    assert driven.run(text).code == "replaced"


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("seq", "seq::varchar as seq"),
        ("seq, n", "seq::varchar as seq, n::varchar as n"),
        ("seq", "seq as other"),
        ("seq, n", "seq::varchar as one, n as two"),
        ("seq, n", "seq::varchar as seq"),
        ("seq", "n as other, seq::varchar as seq"),
    ],
)
def test_a_full_refresh_may_replace_every_column(driven: Driven, was: str, now: str) -> None:
    driven.add((1, 7, 10, 0))
    driven.run(table(f"select {was} from raw.events"))
    model = table(f"select {now} from raw.events", code="r-2")
    assert driven.run(model, full_refresh=True).code == "replaced"
    found = driven.lake.table("out.m").head().to_arrow()
    wanted = driven.connection.sql(f"select {now} from raw.events").to_arrow_table()
    assert sorted(found.column_names) == sorted(wanted.column_names)
    assert found.select(wanted.column_names).to_pylist() == wanted.to_pylist()


def test_a_full_refresh_brings_a_column_back_that_was_dropped_by_hand(driven: Driven) -> None:
    model = table("select seq, n from raw.events")
    driven.add((1, 7, 10, 0))
    driven.run(model)
    alter(driven.lake.table("out.m"), DropColumn("n"))
    driven.add((2, 7, 20, 0))

    with pytest.raises(LakeError):
        driven.run(model)
    assert driven.rows() == [(1,)]
    driven.run(model, full_refresh=True)
    assert driven.rows() == [(1, 10), (2, 20)]
