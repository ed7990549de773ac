"""The SQL of Avro streams: one golden file, whose schemas a job reads, and what is refused by name."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import FlinkCannotError
from headrace.flink.ingest_sql import ingest_sql
from headrace.flink.writers import writers_of
from headrace.ingest.decoding.avro_values import Writer, writer_of
from headrace.ingest.decoding.frames import PLAIN
from headrace.ingest.sources.base import SourcePartition
from headrace.ingest.sources.schemas import SchemaText
from tests.flink.avro_records import FIELDS, LATER, SCHEMA
from tests.flink.contracts import PLACES, contract
from tests.golden.golden import Golden
from tests.raising import refused

FEW = {name: FIELDS[name] for name in ("id", "at", "large")}
_AT = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}


_LIST: Mapping[str, Any] = {"type": "array"}


def avro_contract(**more: Any) -> Stream:  # noqa: ANN401  (of a contract)
    source = {"kafka": {"topic": "things", "framing": "registry"}}
    said: dict[str, Any] = {"format": "avro", "source": source, "fields": FEW}
    return contract(**(said | more))


def writer(schema: Mapping[str, Any]) -> Writer:
    made = writer_of(SchemaText(text=json.dumps(schema)))
    assert isinstance(made, Writer), made
    return made


def record(*fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "record",
        "name": "T",
        "fields": [{"name": "id", "type": "string"}, _AT, *fields],
    }


def sql(stream: Stream, writers: Mapping[int, Writer]) -> str:
    starts = {SourcePartition("things", 0): 0}
    return ingest_sql(stream, PLACES.shown(), starts=starts, group="g", writers=writers).text


def test_the_statements_of_framed_avro_are_those_of_the_file(golden: Golden) -> None:
    writers = {7: writer(LATER), 300: writer(record({"name": "large", "type": ["null", "long"]}))}
    golden.check("flink-avro.sql", sql(avro_contract(), writers))


def test_another_schema_is_another_plan() -> None:
    stream = avro_contract()
    plans = {
        ingest_sql(stream, PLACES, starts={}, group="g", writers=writers).plan
        for writers in ({7: writer(LATER)}, {8: writer(LATER)}, {7: writer(SCHEMA)})
    }
    assert len(plans) == 3


@pytest.mark.parametrize(
    ("written", "declared", "field"),
    [
        ({"name": "x", "type": _LIST | {"items": {"type": "array", "items": "long"}}}, {}, None),
        ({"name": "x", "type": _LIST | {"items": {**record(), "name": "In"}}}, {}, None),
        ({"name": "x", "type": _LIST | {"items": "long"}}, {"type": "list<long>"}, "x"),
        (
            {"name": "x", "type": _LIST | {"items": ["null", "string"]}},
            {"type": "list<string>"},
            "x",
        ),
        ({"name": "x", "type": ["null", {"type": "map", "values": "long"}]}, {}, None),
        ({"name": "x", "type": ["null", {**record(), "name": "In"}]}, {}, None),
        ({"name": "x", "type": "string"}, {"type": "long"}, "x"),
        ({"name": "x", "type": "string"}, {"type": "boolean"}, "x"),
        ({"name": "x", "type": "double"}, {"type": "timestamptz", "unit": "s"}, "x"),
        (
            {
                "name": "x",
                "type": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 9},
            },
            {"type": "decimal(20,2)"},
            "x",
        ),
        ({"name": "y", "type": "long"}, {"type": "list<double>"}, "x"),
        ({"name": "y", "type": "long"}, {"type": "timestamptz", "timezone": "UTC"}, "x"),
    ],
)
def test_what_sql_cannot_read_is_refused(
    written: Mapping[str, Any], declared: Mapping[str, Any], field: str | None
) -> None:
    fields = FEW | ({"x": dict(declared)} if declared else {})
    with refused(FlinkCannotError, stream="things", field=field):
        sql(avro_contract(fields=fields), {PLAIN: writer(record(written))})


@pytest.mark.parametrize("logical", ["timestamp-millis", "timestamp-micros", "timestamp-nanos"])
@pytest.mark.parametrize("kind", ["int", "long", "float", "double", "decimal(20,0)"])
def test_a_time_is_never_the_number_that_counts_it(logical: str, kind: str) -> None:
    written = {"name": "x", "type": ["null", {"type": "long", "logicalType": logical}]}
    fields = FEW | {"x": {"type": kind}}
    assert refuses_each(sql(avro_contract(fields=fields), {PLAIN: writer(record(written))}))


@pytest.mark.parametrize(
    "declared", [{"type": "decimal(9,2)"}, {"type": "timestamptz", "unit": "s"}]
)
def test_a_truth_value_is_no_number(declared: Mapping[str, Any]) -> None:
    fields = FEW | {"x": dict(declared)}
    written = {"name": "x", "type": ["null", "boolean"]}
    assert refuses_each(sql(avro_contract(fields=fields), {PLAIN: writer(record(written))}))


def refuses_each(text: str) -> bool:
    code = "case when not (not (`u_2` = 1)) then cast(null as string) else 'wrong_type' end"
    return f"cast({code} as string)" in text and "`v_x`" in text and "`n_x`" not in text


def test_a_schema_of_the_contract_is_read_from_its_file(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path
    settings = replace(settings, declarations=folder)
    (folder / "a.avsc").write_text(json.dumps(SCHEMA))
    (folder / "b.avsc").write_text('{"type": "string"}')
    plain = avro_contract(source={"kafka": {"topic": "things", "schema_file": "a.avsc"}})
    assert list(writers_of(plain, settings).by_id) == [PLAIN]
    files = {7: "a.avsc", 9: "a.avsc"}
    framed = {"topic": "things", "framing": "registry", "schemas": files}
    assert list(writers_of(avro_contract(source={"kafka": framed}), settings).by_id) == [7, 9]
    unusable = framed | {"schemas": {7: "b.avsc"}}
    with refused(FlinkCannotError, stream="things", field=None):
        writers_of(avro_contract(source={"kafka": unusable}), settings)
    assert writers_of(contract(), settings).by_id == {}
