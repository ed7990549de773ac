"""What joins a sample to its labels and features is there, and of one type on both sides."""

import pyarrow as pa
import pytest

from headrace.definitions.sample_set import SampleSet
from headrace.errors import ColumnReason, ContractError, DefinitionError
from headrace.identifiers import TableName
from headrace.samples.build import build
from headrace.samples.plan import plan_build
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches
from tests.raising import refused
from tests.samples.factories import SHOWN, TAPS, TIME, Shop, at, sample_set


def test_an_exposure_without_an_id_is_refused_and_not_lost(shop: Shop) -> None:
    schema = pa.schema([pa.field("shown_id", pa.string()), *list(SHOWN)[1:]])
    name = TableName("shop", "seen")
    table = shop.lake.create(name, schema, partition_by=["day(event_time)"])
    rows = [{"shown_id": key, "event_time": at(8), "item": 1} for key in ("a", None)]
    files = write_batches(table, pa.Table.from_pylist(rows, schema).to_batches())
    operations.append(table, files, provenance=Provenance())
    exposures = {"table": "shop.seen", "id": "shown_id", "entities": ["item"], "columns": ["slot"]}

    with refused(ContractError, reason=ColumnReason.NULL_VALUE, column="shown_id"):
        build(shop.lake, sample_set(exposures=exposures))


@pytest.mark.parametrize("kind", [pa.string(), pa.float64(), pa.date32()])
def test_a_key_of_another_type_is_refused_before_an_engine_converts_it(
    shop: Shop, kind: pa.DataType
) -> None:
    """Text is compared as numbers, large integers as floats: `"01"` is 1, and 2^53 + 1 is 2^53."""
    rated = pa.schema(
        [pa.field("item", kind), ("event_time", TIME), ("known_at", TIME), ("x", pa.int64())]
    )
    view = '{"view": "shop.views", "entity": ["item"]}'
    shop.lake.create(TableName("shop", "views"), rated, properties={"headrace.feature_view": view})
    tapped = pa.schema([pa.field("shown_id", pa.int64(), nullable=False), *list(TAPS)[1:]])
    shop.lake.create(TableName("shop", "pokes"), tapped)

    with pytest.raises(DefinitionError) as raised:
        plan_build(
            shop.lake,
            sample_set(
                features=[{"view": "shop.views", "columns": ["x"]}],
                labels=[{"name": "poke", "stream": "shop.pokes", "window": "2h"}],
            ),
        )
    assert f"`item` is int64 in `shop.shown`, but `item` is {kind} in `shop.views`" in str(
        raised.value
    )
    assert "`shown_id` is string in `shop.shown`, but `shown_id` is int64 in `shop.pokes`" in str(
        raised.value
    )


def test_integers_of_two_widths_are_one_type(shop: Shop) -> None:
    rated = pa.schema(
        [("item", pa.int32()), ("event_time", TIME), ("known_at", TIME), ("x", pa.int64())]
    )
    view = '{"view": "shop.views", "entity": ["item"]}'
    shop.lake.create(TableName("shop", "views"), rated, properties={"headrace.feature_view": view})
    assert plan_build(shop.lake, sample_set(features=[{"view": "shop.views", "columns": ["x"]}]))


@pytest.mark.parametrize("kind", [pa.bool_(), pa.float64(), pa.timestamp("us", tz="UTC")])
def test_negatives_are_not_chosen_by_an_id_whose_text_differs_between_engines(
    shop: Shop, kind: pa.DataType
) -> None:
    """DuckDB writes `true` and `1.0` where Flink writes `TRUE`, and Trino `1.0E0`."""
    schema = pa.schema([pa.field("shown_id", kind, nullable=False), *list(SHOWN)[1:]])
    shop.lake.create(TableName("shop", "seen"), schema, partition_by=["day(event_time)"])
    exposures = {"table": "shop.seen", "id": "shown_id", "entities": ["item"], "columns": ["slot"]}

    def declared(rate: float) -> SampleSet:
        thinned = {"rate": rate, "salt": "s"}
        return sample_set(exposures=exposures, labels=[], keep_negatives=thinned)

    plan_build(shop.lake, declared(1))  # all stay
    with pytest.raises(DefinitionError) as raised:
        plan_build(shop.lake, declared(0.5))
    assert f"texts and whole numbers only, and `shown_id` is {kind}" in str(raised.value)
