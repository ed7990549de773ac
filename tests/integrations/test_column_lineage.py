"""Which columns each column of a model comes from."""

import pytest

from headrace.definitions.properties import MODEL_COLUMNS
from headrace.identifiers import TableName
from headrace.integrations import model_sources as model_sources_module
from headrace.integrations.column_lineage import Column, column_lineage
from headrace.integrations.model_sources import model_sources
from headrace.samples.column_sources import model_column_sources

CLICKS = TableName("raw", "clicks")
COLUMNS = {CLICKS: ("click_id", "item_id", "event_time")}


def traced(sql: str, *, dialect: str = "duckdb") -> dict[str, set[str]]:
    found = column_lineage(sql, COLUMNS, dialect=dialect)
    assert all(each.table == CLICKS for columns in found.values() for each in columns)
    return {name: {each.name for each in columns} for name, columns in found.items()}


@pytest.mark.parametrize("dialect", ["duckdb", "trino"])
def test_columns_are_traced_through_steps_stars_and_aggregates(dialect: str) -> None:
    sql = """
        with source as (select * from "memory"."raw"."clicks" where event_time > now()),
        counted as (select item_id, count(click_id) as clicks, max(event_time) as last from source
                    group by item_id)
        select item_id as item, clicks / 2 as half, last, 1 as one from counted
    """
    assert traced(sql, dialect=dialect) == {
        "item": {"item_id"},
        "half": {"click_id"},
        "last": {"event_time"},
        "one": set(),
    }


def test_a_union_takes_from_all_its_sides() -> None:
    sql = "select click_id as id from raw.clicks union all select item_id from raw.clicks"
    assert traced(sql) == {"id": {"click_id", "item_id"}}


@pytest.mark.parametrize("sql", ["select from where", "", "drop table x", "select 'a"])
def test_what_is_no_query_has_no_lineage(sql: str) -> None:
    assert column_lineage(sql, COLUMNS, dialect="duckdb") == {}


def test_a_star_over_a_table_of_unknown_columns_has_no_lineage() -> None:
    sql = "with all_of as (select * from raw.others) select a, count(*) as b from all_of group by a"
    assert column_lineage(sql, COLUMNS, dialect="duckdb") == {"a": (), "b": ()}


def test_columns_name_their_table() -> None:
    found = column_lineage("select c.item_id from raw.clicks c", COLUMNS, dialect="duckdb")
    assert found == {"item_id": (Column(CLICKS, "item_id"),)}


def test_a_build_records_what_it_traced_and_a_page_reads_it_back() -> None:
    sql = "select item_id as item, count(click_id) as clicks from raw.clicks group by 1"
    recorded = model_sources(sql, COLUMNS, dialect="duckdb")
    assert [
        (each.column, each.table, each.of) for each in model_column_sources(recorded[MODEL_COLUMNS])
    ] == [
        ("item", "raw.clicks", "item_id"),
        ("clicks", "raw.clicks", "click_id"),
    ]
    # what an earlier build recorded does not stay
    assert model_sources("select from", COLUMNS, dialect="duckdb") == {MODEL_COLUMNS: "{}"}


def test_without_the_package_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_sources_module, "find_spec", lambda _: None)
    assert model_sources("select click_id from raw.clicks", COLUMNS, dialect="duckdb") == {}
