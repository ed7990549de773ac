"""Samples with features as they were served, built by Trino: the tests of the serving log."""

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from headrace.config import Settings
from headrace.engines.trino_dialect import TrinoDialect
from headrace.identifiers import quote_text
from headrace.serving.values import plain
from tests.cluster.servers import Servers
from tests.cluster.trino_lakes import engine_of, on_servers, shared_lake
from tests.samples.factories import Shop, fill, settings_in
from tests.samples.test_served_log import (
    LOG,
    NAME,
    log,
    test_a_log_that_names_a_row_of_the_future_is_refused_as_a_leak,
    test_a_version_with_logged_features_is_computed_again_from_its_inputs,
    test_an_answer_that_is_not_of_the_exposure_or_lacks_the_view_is_not_used,
    test_an_answer_with_null_is_what_was_served_and_names_no_row,
    test_of_several_answers_the_last_counts_and_lines_written_twice_are_one,
    test_what_was_served_is_preferred_and_the_join_fills_the_rest,
)

pytestmark = pytest.mark.cluster
__all__ = [
    "log",
    "test_a_log_that_names_a_row_of_the_future_is_refused_as_a_leak",
    "test_a_version_with_logged_features_is_computed_again_from_its_inputs",
    "test_an_answer_that_is_not_of_the_exposure_or_lacks_the_view_is_not_used",
    "test_an_answer_with_null_is_what_was_served_and_names_no_row",
    "test_of_several_answers_the_last_counts_and_lines_written_twice_are_one",
    "test_what_was_served_is_preferred_and_the_join_fills_the_rest",
]


@pytest.fixture
def shop(servers: Servers, tmp_path: Path) -> Iterator[Shop]:
    """The shop of the tests of samples and a serving log, in a lake that Trino shares."""
    with shared_lake(on_servers(servers, settings_in(tmp_path))) as lake:
        lake.create(NAME, LOG, partition_by=["day(event_time)"])
        yield fill(Shop.open(lake))


NOON = dt.datetime(2026, 1, 5, 12, 0, 0, 123_456, tzinfo=dt.UTC)
SERVED: dict[str, tuple[pa.DataType, Any]] = {
    "integer": (pa.int64(), 2**63 - 1),
    "small": (pa.int32(), -7),
    "double": (pa.float64(), 0.1),
    "float": (pa.float32(), 0.5),
    "infinite": (pa.float64(), float("-inf")),
    "flag": (pa.bool_(), False),
    "text": (pa.string(), 'a "b" é'),
    "price": (pa.decimal128(38, 2), Decimal("1234567890123456789012345678901234.50")),
    "raw": (pa.binary(), b"\x00\xff"),
    "day": (pa.date32(), NOON.date()),
    "moment": (pa.timestamp("us", tz="UTC"), NOON),
    "ids": (pa.list_(pa.int64()), [2**63 - 1, None]),
    "texts": (pa.list_(pa.string()), ["a", "b,c"]),
    "floats": (pa.list_(pa.float64()), [0.1, float("inf"), None]),
    "nothing": (pa.int64(), None),
}


def test_each_type_of_a_served_value_is_read_back_as_it_was(
    servers: Servers, settings: Settings
) -> None:
    dialect = TrinoDialect()
    text = quote_text(json.dumps({name: plain(value) for name, (_, value) in SERVED.items()}))
    columns = [
        f"{dialect.json_as(text, (name,), kind)} as {name}" for name, (kind, _) in SERVED.items()
    ]
    with (
        shared_lake(on_servers(servers, settings)) as lake,
        engine_of(lake.settings) as engine,
    ):
        (row,) = engine.query(f"select {', '.join(columns)}").read_all().to_pylist()
    assert row == {name: value for name, (_, value) in SERVED.items()}
