"""Views that are not published, and named before anything is written."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
from headrace.errors import (
    NotAFeatureViewError,
    UnservableColumnError,
)
from headrace.identifiers import TableName
from headrace.serving.publish import publish_view
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.tables.lake import LakeTable
from tests.serving.conftest import SCHEMA, add, row

Views = Callable[..., LakeTable]
VIEW = "features.item_ctr"


@pytest.fixture
def store(settings: Settings) -> Iterator[SQLiteOnlineStore]:
    with SQLiteOnlineStore(settings.online_store) as opened:
        yield opened


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("spread", pa.struct([pa.field("low", pa.float64())])),
        ("at_time", pa.time64("us")),
        ("naive", pa.timestamp("us")),
        ("spans", pa.list_(pa.time64("us"))),
        ("item_id", pa.float64()),
    ],
)
def test_a_column_that_cannot_be_served_is_named_before_anything_is_written(
    lake: Lake, view: Views, store: SQLiteOnlineStore, column: str, kind: pa.DataType
) -> None:
    field = pa.field(column, kind, nullable=column != "item_id")
    at = SCHEMA.get_field_index(column)
    table = view(schema=SCHEMA.append(field) if at < 0 else SCHEMA.set(at, field))
    add(table, [{**row(1, at=1), "item_id": 1}])
    with pytest.raises(UnservableColumnError) as refusal:
        publish_view(lake, store, table.head())
    assert (refusal.value.view, refusal.value.column) == (VIEW, column)
    assert store.state(VIEW) is None


def test_a_view_that_names_a_column_it_does_not_have_is_refused(
    lake: Lake, view: Views, store: SQLiteOnlineStore
) -> None:
    table = view()
    add(table, [row(1, at=1)])
    said = FeatureView(view=TableName.parse(VIEW), entity=("shop", "item"))
    head = replace(table.head(), properties={FEATURE_VIEW_PROPERTY: said.to_property()})
    with pytest.raises(NotAFeatureViewError) as refusal:
        publish_view(lake, store, head)
    assert (refusal.value.table, refusal.value.column) == (VIEW, "shop")
    assert store.state(VIEW) is None


def test_a_table_that_is_no_feature_view_is_refused(lake: Lake, store: SQLiteOnlineStore) -> None:
    table = lake.create(TableName("raw", "items"), SCHEMA)
    with pytest.raises(NotAFeatureViewError) as refusal:
        publish_view(lake, store, table.head())
    assert (refusal.value.table, refusal.value.column) == ("raw.items", None)
