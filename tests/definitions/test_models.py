"""What declarations mean: table schemas, feature views, hashes."""

from datetime import timedelta

import pyarrow as pa
import pytest

from headrace.config import Settings
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.load import load_sample_sets, load_streams
from headrace.definitions.types import TIMESTAMP, FieldType
from headrace.identifiers import TableName
from tests.ingest.factories import make_stream


def test_the_table_stores_the_event_time_once_under_one_name(settings: Settings) -> None:
    schema = load_streams(settings)["clicks"].table_schema()
    assert schema.names == [
        "click_id", "impression_id", "policy", "campaign", "item_id", "position", "user_segment",
        "event_time", "known_at", "_source", "_source_partition", "_source_offset", "_source_time",
    ]  # fmt: skip
    assert [field.name for field in schema if field.nullable] == ["_source_time"]
    assert schema.field("event_time").type == TIMESTAMP


def test_a_known_at_column_is_stored_as_known_at() -> None:
    stream = make_stream(
        "json",
        known_at={"column": "received"},
        more_fields={"received": {"type": "timestamptz", "required": True}},
    )
    assert stream.column_of("received") == "known_at"
    assert "received" not in stream.table_schema().names


def test_only_required_fields_are_not_nullable() -> None:
    schema = make_stream("json").table_schema()
    assert not schema.field("id").nullable
    assert schema.field("n").nullable


@pytest.mark.parametrize(
    ("text", "arrow"),
    [
        ("decimal(18, 4)", pa.decimal128(18, 4)),
        ("list<decimal(3,0)>", pa.list_(pa.field("element", pa.decimal128(3, 0)))),
        ("int", pa.int32()),
        ("timestamptz", TIMESTAMP),
    ],
)
def test_declared_types_are_arrow_types(text: str, arrow: pa.DataType) -> None:
    assert FieldType.parse(text).arrow == arrow


@pytest.mark.parametrize(
    "text", ["list<list<int>", "list<>", "decimal(2,3)", "bigint", "", 5, None]
)
def test_other_types_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a type"):
        FieldType.parse(text)


def test_a_feature_view_reads_back_from_its_table_property() -> None:
    view = FeatureView(
        view=TableName("features", "a"),
        entity=("user_id",),
        ttl=timedelta(days=7),
        delay=timedelta(0),
    )
    assert FeatureView.from_property(view.view, view.to_property()) == view


def test_a_stream_can_be_a_feature_view_itself() -> None:
    view = make_stream("json", feature_view={"entity": ["id"], "ttl": "7d"}).view()
    assert view is not None
    assert (view.entity, view.ttl, str(view.view)) == (("id",), timedelta(days=7), "raw.things")


def test_the_definition_hash_follows_the_meaning(settings: Settings) -> None:
    ctr = load_sample_sets(settings)["ctr"]
    again = ctr.model_validate(ctr.model_dump(mode="json"))
    assert again.definition_hash() == ctr.definition_hash()
    other = ctr.model_copy(update={"keep_negatives": None})
    assert other.definition_hash() != ctr.definition_hash()
