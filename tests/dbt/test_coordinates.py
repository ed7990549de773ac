"""Models over tables whose row coordinates have their former names: read by today's, and renamed."""

from collections.abc import Callable
from typing import Any

from headrace.definitions.stream import FORMER_COORDINATES
from tests.dbt.raw_lake import START, RawLake
from tests.tables.factories import name_coordinates_as_before


def test_models_read_both_names_and_rename_their_own_tables(
    raw: RawLake, dbt: Callable[..., Any]
) -> None:
    raw.append("items", [{"event_time": START, "campaign": "men", "item_id": 7}])
    assert dbt(raw.settings, "run", "--select", "items").success
    expected = raw.rows("staging.items")
    name_coordinates_as_before(raw.lake.table("raw.items"))
    ids = name_coordinates_as_before(raw.lake.table("staging.items"))
    assert dbt(raw.settings, "run", "--select", "items", "--full-refresh").success
    assert raw.rows("staging.items") == expected
    schema = raw.lake.table("staging.items").iceberg().schema()
    assert {each.name: each.field_id for each in schema.fields} == ids
    assert set(FORMER_COORDINATES) <= set(raw.lake.table("raw.items").head().schema.names)
