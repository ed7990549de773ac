"""Statements for Trino as text: bound names become steps, and the order of a statement is read."""

import pyarrow as pa
import pytest

from headrace.engines.trino_insert import file_order, plan_insert
from headrace.engines.trino_sql import over_relations, top_order
from headrace.engines.trino_versions import refuse_version
from headrace.errors import ContractError, UnsupportedEngineError
from tests.raising import refused

BOUND = {"raw.events": "select 1 as id", "many": "select 2 as n"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "select * from raw.events;",
            'with "raw.events" as (select 1 as id)\nselect * from "raw.events"',
        ),
        (
            'select raw.events.id from "RAW" . "events"',
            'with "raw.events" as (select 1 as id)\nselect "raw.events".id from "raw.events"',
        ),
        (
            "with x as (select * from many) select * from x",
            'with "many" as (select 2 as n), x as (select * from many) select * from x',
        ),
        (
            "-- first\nwith recursive x as (select 1) select * from x, many",
            'with recursive "many" as (select 2 as n), x as (select 1) select * from x, many',
        ),
        # neither text, comments nor parts of longer names are relations
        ("select 'from raw.events' /* many */", "select 'from raw.events' /* many */"),
        ("select t.many, lake.raw.events from t", "select t.many, lake.raw.events from t"),
        ('select "a"" many" from t', 'select "a"" many" from t'),
    ],
)
def test_a_statement_reads_bound_names_as_steps_of_its_own(sql: str, expected: str) -> None:
    assert over_relations(sql, BOUND) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select a from t", ()),
        ("select row_number() over (order by x) from t", ()),
        ("select * from (select 1 order by 2)", ()),
        (
            "select a from t order by a, b desc nulls first",
            (("a", False, False), ("b", True, True)),
        ),
        ('select "A" from t order by "A" asc nulls last;', (("a", False, False),)),
        ("select a from t order by a limit 3", None),
        ("select a from t order by lower(a)", None),
        ("select a from t order by 1", None),
        ("select t.b as a from t order by t.a", None),  # `t.a` need not be the column written
        ("select a from t order by other", None),
        ("select tags from t order by tags", None),
    ],
)
def test_the_order_of_a_statement_becomes_that_of_files_only_if_they_can_have_it(
    sql: str, expected: object
) -> None:
    columns = pa.schema([("a", pa.int64()), ("b", pa.string()), ("tags", pa.list_(pa.int64()))])
    assert file_order(top_order(sql), columns) == expected


WANTED = pa.schema([pa.field("id", pa.int32(), nullable=False), ("price", pa.decimal128(9, 2))])


@pytest.mark.parametrize(
    ("found", "column"),
    [
        ([("price", pa.decimal128(9, 2))], "id"),
        ([("id", pa.int32()), ("other", pa.int32())], "other"),
        ([("id", pa.int32()), ("id", pa.int32())], "id"),
        ([("id", pa.float64())], "id"),
        ([("id", pa.string())], "id"),
        ([("id", pa.int32()), ("price", pa.decimal128(9, 3))], "price"),
        ([("id", pa.int32()), ("price", pa.float64())], "price"),
    ],
)
def test_columns_that_do_not_fit_or_would_be_rounded_are_refused(
    found: list[tuple[str, pa.DataType]], column: str
) -> None:
    with pytest.raises(ContractError) as refused:
        plan_insert(pa.schema(found), WANTED, table="t")
    assert refused.value.column == column


def test_columns_that_fit_are_cast_and_written_by_name() -> None:
    plan = plan_insert(pa.schema([("price", pa.int64()), ("id", pa.int64())]), WANTED, table="t")
    assert dict(plan.columns) == {
        "id": 'cast("id" as integer)',
        "price": 'cast("price" as decimal(9, 2))',
    }


@pytest.mark.parametrize("version", ["475", "477", "480", "482-e.1", "483", "dev"])
def test_versions_with_known_faults_are_refused_by_name(version: str) -> None:
    with refused(UnsupportedEngineError, engine=f"Trino {version}"):
        refuse_version(version)


def test_versions_without_known_faults_are_used() -> None:
    for version in ("476", "476-e.2", "484"):
        refuse_version(version)
