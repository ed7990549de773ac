"""Values of topics: framed and plain JSON, Avro and Protobuf, by the schemas they were written with."""

import datetime as dt
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from headrace.definitions.stream import Stream
from headrace.ingest.contract import check
from headrace.ingest.decoding.decode import decode
from headrace.ingest.sources.base import Position, Records, SourcePartition, consecutive
from headrace.ingest.sources.schemas import Schemas, SchemaText
from tests.ingest.factories import json_line, make_stream

TIME = dt.datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
TIME_US = int(TIME.timestamp()) * 1_000_000 + 123_456
FIELDS: dict[str, dict[str, Any]] = {
    "id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "n": {"type": "long"},
    "x": {"type": "double"},
    "price": {"type": "decimal(8,2)"},
    "tags": {"type": "list<long>"},
}
AVRO: dict[str, Any] = {
    "type": "record",
    "name": "Thing",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "n", "type": ["null", "long"]},
        {"name": "x", "type": "double"},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2},
        },
        {"name": "tags", "type": {"type": "array", "items": "long"}},
    ],
}
GOOD: dict[str, Any] = {
    "id": "a",
    "at": TIME_US,
    "n": 2**53 + 1,
    "x": 0.5,
    "price": (1250).to_bytes(2, "big", signed=True),
    "tags": [1, 2**62],
}


def stream_of(format_: str, **changes: object) -> Stream:
    base = {"stream": "things", "table": "raw.things", "key": "id", "event_time": "at"}
    source = {"kafka": {"topic": "things", "framing": "registry", "message": "shop.Thing"}}
    declared = base | {"source": source, "format": format_, "fields": FIELDS}
    return Stream.model_validate(declared | changes)


def records_of(values: Sequence[bytes], schemas: Schemas | None, *, null: int = -1) -> Records:
    return Records(
        partition=SourcePartition("things"),
        offsets=consecutive(0, len(values)),
        end=Position(len(values)),
        times=TIME,
        lines=values,
        tombstones=() if null < 0 else (null,),
        schemas=schemas,
    )


class Known:
    """A store of schemas in memory, which counts what it is asked."""

    def __init__(self, **texts: object) -> None:
        self._texts = {int(name.strip("_")): text for name, text in texts.items()}
        self.asked: list[int] = []

    def text(self, schema_id: int) -> SchemaText | None:
        self.asked.append(schema_id)
        found = self._texts.get(schema_id)
        if found is None or isinstance(found, SchemaText):
            return found
        return SchemaText(text=found if isinstance(found, str) else json.dumps(found))

    def ids(self) -> tuple[int, ...]:
        return tuple(self._texts)


def framed(schema_id: int, body: bytes) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + body


def avro(schema: dict[str, Any], row: dict[str, Any]) -> bytes:
    def bare(each: Any) -> Any:  # noqa: ANN401  (JSON)
        if isinstance(each, dict):
            return {key: bare(value) for key, value in each.items() if key != "logicalType"}
        return [bare(value) for value in each] if isinstance(each, list) else each

    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(bare(schema), named_schemas={}), row)
    return out.getvalue()


def rows(records: Records, stream: Stream) -> tuple[list[dict[str, Any]], dict[int, str]]:
    decoded = decode(records, stream)
    together = sorted([*decoded.index.tolist(), *decoded.violations])
    assert together == list(range(records.count)), "each record is a row or a violation"
    checked = check(decoded, stream)
    for column in checked.rows.columns:
        column.validate(full=True)
    return checked.rows.to_pylist(), {at: each.code for at, each in checked.violations.items()}


def test_avro_values_keep_every_bit_and_their_units() -> None:
    schemas = Schemas(topic="things", framed=True, store=Known(_7=AVRO))
    values = [framed(7, avro(AVRO, GOOD)), framed(7, avro(AVRO, GOOD | {"n": None, "tags": []}))]
    found, bad = rows(records_of(values, schemas), stream_of("avro"))
    assert not bad
    assert found[0] == {
        "id": "a",
        "event_time": TIME,
        "n": 2**53 + 1,
        "x": 0.5,
        "price": Decimal("12.50"),
        "tags": [1, 2**62],
    }
    assert (found[1]["n"], found[1]["tags"]) == (None, [])


def test_avro_fields_have_the_names_and_the_times_that_the_contract_says() -> None:
    fields = [
        {"name": "thingId", "type": "string"},
        {"name": "sentMs", "type": "long"},
        {"name": "clock", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
        {"name": "n", "type": "long"},
    ]
    written: dict[str, Any] = {"type": "record", "name": "Thing", "fields": fields}
    stream = stream_of(
        "avro",
        unknown_fields="dead_letter",
        key="id",
        fields={
            "id": {"type": "string", "required": True, "from": "thingId"},
            "at": {"type": "timestamptz", "required": True, "from": "sentMs", "unit": "ms"},
            "shown": {"type": "timestamptz", "from": "clock", "timezone": "Europe/Paris"},
        },
    )
    good = {"thingId": "a", "sentMs": TIME_US // 1000, "clock": TIME_US, "n": 1}
    bodies = [avro(written, good), avro(written, good | {"sentMs": 2**62})]
    schemas = Schemas(topic="things", framed=True, store=Known(_7=written))
    records = records_of([framed(7, each) for each in bodies], schemas)
    _, bad = rows(records, stream)
    assert bad == {0: "unknown_field", 1: "out_of_range"}  # `n` is not declared
    (row,), bad = rows(records, stream.model_copy(update={"unknown_fields": "ignore"}))
    assert bad == {1: "out_of_range"}
    assert row == {
        "id": "a",
        "event_time": TIME.replace(microsecond=123000),
        "shown": TIME - dt.timedelta(hours=1),  # of a clock in Paris, in winter
    }


@pytest.mark.parametrize(
    ("logical", "stored"),
    [
        ("local-timestamp-millis", TIME_US // 1000),
        ("local-timestamp-micros", TIME_US // 1000 * 1000),
        ("local-timestamp-nanos", TIME_US // 1000 * 1_000_000 + 999),
    ],
)
def test_a_clock_of_an_avro_value_counts_in_its_own_unit(logical: str, stored: int) -> None:
    kind = {"type": "long", "logicalType": logical}
    fields = [{"name": "id", "type": "string"}, {"name": "at", "type": kind}]
    schema = {"type": "record", "name": "T", "fields": fields}
    declared = {"type": "timestamptz", "required": True, "timezone": "Europe/Paris"}
    stream = stream_of("avro", fields={"id": FIELDS["id"], "at": declared})
    schemas = Schemas(topic="things", framed=True, store=Known(_1=schema))
    value = framed(1, avro(schema, {"id": "a", "at": stored}))
    (row,), bad = rows(records_of([value], schemas), stream)
    assert not bad
    assert row["event_time"] == TIME.replace(microsecond=123000) - dt.timedelta(hours=1)


def test_an_avro_decimal_keeps_all_its_digits_and_one_of_too_many_is_a_violation() -> None:
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}
    fields = [*(each for each in AVRO["fields"] if each["name"] != "price")]
    schema = AVRO | {"fields": [*fields, {"name": "price", "type": kind}]}
    declared = FIELDS | {"price": {"type": "decimal(38,2)"}}
    schemas = Schemas(topic="things", framed=True, store=Known(_1=schema))
    numbers = [10**38 - 1, -(10**37) - 1, 10**38, 10**100 + 1]
    values = [
        framed(1, avro(schema, GOOD | {"price": number.to_bytes(60, "big", signed=True)}))
        for number in numbers
    ]
    found, bad = rows(records_of(values, schemas), stream_of("avro", fields=declared))
    assert [int(row["price"].as_tuple().digits[-1]) for row in found] == [9, 1]
    assert [str(row["price"]) for row in found] == [f"{'9' * 36}.99", f"-1{'0' * 35}.01"]
    assert bad == {2: "out_of_range", 3: "out_of_range"}


def test_a_time_beyond_all_years_is_a_violation_in_its_own_record() -> None:
    kind = {"type": "long", "logicalType": "timestamp-millis"}
    fields = [{"name": "id", "type": "string"}, {"name": "at", "type": kind}]
    schema = {"type": "record", "name": "T", "fields": fields}
    schemas = Schemas(topic="things", framed=True, store=Known(_1=schema))
    written = [avro(schema, {"id": "a", "at": at}) for at in (2**62, TIME_US // 1000, -(2**62))]
    found, bad = rows(records_of([framed(1, each) for each in written], schemas), stream_of("avro"))
    assert (len(found), bad) == (1, {0: "out_of_range", 2: "out_of_range"})

    schemas, thing = protobuf()
    far = b"\x12\x0a\x08" + b"\x80" * 8 + b"\x40"  # `at`, whose seconds are 2**62
    found, bad = rows(records_of([thing() + far, thing()], schemas), stream_of("protobuf"))
    assert (len(found), bad) == (1, {0: "out_of_range"})


def test_a_path_into_an_avro_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`\$\.user\.id` is a path"):
        stream_of("avro", fields=FIELDS | {"n": {"type": "long", "from": "$.user.id"}})


@pytest.mark.parametrize(
    ("logical", "stored", "expected"),
    [
        ("timestamp-millis", TIME_US // 1000, TIME.replace(microsecond=123000)),
        ("timestamp-micros", TIME_US, TIME),
        ("timestamp-nanos", TIME_US * 1000 + 999, TIME),
        ("local-timestamp-micros", TIME_US, "naive_time"),
        ("local-timestamp-millis", TIME_US // 1000, "naive_time"),
        (None, TIME_US, "wrong_type"),
    ],
)
def test_the_unit_of_a_time_is_the_writers_and_a_local_time_is_no_moment(
    logical: str | None, stored: int, expected: dt.datetime | str
) -> None:
    """Row 17."""
    kind = {"type": "long"} | ({"logicalType": logical} if logical else {})
    fields = [{"name": "id", "type": "string"}, {"name": "at", "type": kind}]
    schema = {"type": "record", "name": "T", "fields": fields}
    schemas = Schemas(topic="things", framed=True, store=Known(_1=schema))
    value = framed(1, avro(schema, {"id": "a", "at": stored}))
    found, bad = rows(records_of([value], schemas), stream_of("avro"))
    assert (bad[0] if bad else found[0]["event_time"]) == expected


def test_a_value_is_read_by_its_writers_schema_and_fields_are_found_by_name() -> None:
    """Row 19: a field that the writer does not have takes no bytes of the next."""
    older = AVRO | {"fields": [AVRO["fields"][1], AVRO["fields"][0]]}
    schemas = Schemas(topic="things", framed=True, store=Known(_1=older, _2=AVRO))
    values = [framed(1, avro(older, GOOD)), framed(2, avro(AVRO, GOOD))]
    found, bad = rows(records_of(values, schemas), stream_of("avro"))
    assert not bad
    assert [(row["id"], row["n"]) for row in found] == [("a", None), ("a", 2**53 + 1)]


def test_two_versions_of_one_name_decode_interleaved() -> None:
    """Row 24: names of types belong to one schema."""

    def version(symbols: list[str]) -> dict[str, Any]:
        kind = {"type": "enum", "name": "Kind", "symbols": symbols}
        fields = [*AVRO["fields"], {"name": "kind", "type": kind}, {"name": "k2", "type": "Kind"}]
        return AVRO | {"fields": fields}

    one, two = version(["A", "B"]), version(["B", "A", "C"])
    schemas = Schemas(topic="things", framed=True, store=Known(_1=one, _2=two))
    row = GOOD | {"kind": "A", "k2": "B"}
    values = [framed(1, avro(one, row)), framed(2, avro(two, row))] * 3
    stream = stream_of(
        "avro", fields=FIELDS | {"kind": {"type": "string"}, "k2": {"type": "string"}}
    )
    found, bad = rows(records_of(values, schemas), stream)
    assert not bad
    assert {(row["kind"], row["k2"]) for row in found} == {("A", "B")}
    assert len(found) == 6


def test_bad_values_are_violations_and_the_others_are_rows() -> None:
    good = avro(AVRO, GOOD)
    store = Known(_7=AVRO, _8="{", _9={"type": "string"})
    schemas = Schemas(topic="things", framed=True, store=store)
    values = [
        framed(7, good),
        framed(7, good[:-1]),
        framed(7, good + b"\0"),
        framed(6, good),
        framed(8, good),
        framed(9, good),
        good,
        b"\0\0",
        b"",
        framed(7, avro(AVRO, GOOD | {"at": 2**62})),
        framed(7, b"\xff" * 40),
        framed(7, good),
    ]
    found, bad = rows(records_of(values, schemas, null=8), stream_of("avro"))
    assert len(found) == 2
    assert bad == {
        1: "malformed",
        2: "malformed",
        3: "unknown_schema",
        4: "unknown_schema",
        5: "unknown_schema",
        6: "unframed",
        7: "unframed",
        8: "tombstone",
        9: "out_of_range",
        10: "malformed",
    }


def test_a_plain_value_may_begin_with_a_zero_byte() -> None:
    """Row 21: framing is declared, and never guessed."""
    fields = [{"name": "n", "type": "long"}, *(f for f in AVRO["fields"] if f["name"] != "n")]
    schema = AVRO | {"fields": fields}
    value = avro(schema, GOOD | {"n": 0})
    assert value[0] == 0
    schemas = Schemas(topic="things", single=json.dumps(schema).encode())
    found, bad = rows(records_of([value], schemas), stream_of("avro"))
    assert (found[0]["n"], bad) == (0, {})


@pytest.mark.parametrize(
    ("value", "source", "hint"),
    [
        (b"", {"kafka": {"topic": "things"}}, "not JSON: it is empty"),
        (framed(7, b"{}"), {"kafka": {"topic": "things"}}, "declared by `framing: registry`"),
        (framed(7, b"{}"), {"files": "things/*"}, "not JSON: Expecting value"),
        (b"x", {"kafka": {"topic": "things"}}, "not JSON: Expecting value"),
    ],
)
def test_a_json_value_that_is_empty_or_framed_is_named_as_such(
    value: bytes, source: dict[str, Any], hint: str
) -> None:
    decoded = decode(records_of([value], None), stream_of("json", source=source))
    assert decoded.violations[0].reason.endswith(hint)


def test_only_schemas_that_are_met_are_asked_for_and_each_once() -> None:
    """Row 41, first half."""
    store = Known(_7=AVRO)
    schemas = Schemas(topic="things", framed=True, store=store)
    for _ in range(3):
        rows(records_of([framed(7, avro(AVRO, GOOD))] * 2, schemas), stream_of("avro"))
    assert store.asked == [7]
    assert list(schemas.hashes) == [7]


def test_references_of_a_schema_are_resolved() -> None:
    inner = {"type": "enum", "name": "shop.Kind", "symbols": ["A", "B"]}
    outer = AVRO | {"fields": [*AVRO["fields"], {"name": "kind", "type": "shop.Kind"}]}
    whole = AVRO | {"fields": [*AVRO["fields"], {"name": "kind", "type": inner}]}
    text = SchemaText(text=json.dumps(outer), references=(json.dumps(inner),))
    schemas = Schemas(topic="things", framed=True, store=Known(_7=text))
    value = framed(7, avro(whole, GOOD | {"kind": "B"}))
    stream = stream_of("avro", fields=FIELDS | {"kind": {"type": "string"}})
    found, _ = rows(records_of([value], schemas), stream)
    assert found[0]["kind"] == "B"


@pytest.mark.parametrize("format_", ["avro", "protobuf"])
def test_undeclared_fields_are_refused_where_the_contract_says_so(format_: str) -> None:
    fields = {name: each for name, each in FIELDS.items() if name != "n"}
    stream = stream_of(format_, fields=fields, unknown_fields="dead_letter")
    if format_ == "avro":
        schemas = Schemas(topic="things", framed=True, store=Known(_7=AVRO))
        values = [framed(7, avro(AVRO, GOOD)), framed(7, avro(AVRO, GOOD | {"n": None}))]
    else:
        schemas, thing = protobuf()
        values = [thing(n=3), thing()]
    found, bad = rows(records_of(values, schemas), stream)
    assert (len(found), bad) == (1, {0: "unknown_field"})


def protobuf() -> tuple[Schemas, Any]:
    """A message in a descriptor set, and a function that writes values of it."""
    file = descriptor_pb2.FileDescriptorProto(name="thing.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="NONE", number=0)
    kind.value.add(name="SOME", number=1)
    message = file.message_type.add(name="Thing")
    F = descriptor_pb2.FieldDescriptorProto
    message.oneof_decl.add(name="_n")
    declared: list[tuple[str, int, dict[str, Any]]] = [
        ("id", F.TYPE_STRING, {}),
        ("at", F.TYPE_MESSAGE, {"type_name": ".google.protobuf.Timestamp"}),
        ("n", F.TYPE_INT64, {"proto3_optional": True, "oneof_index": 0}),
        ("x", F.TYPE_DOUBLE, {}),
        ("tags", F.TYPE_INT64, {"label": F.LABEL_REPEATED}),
        ("kind", F.TYPE_ENUM, {"type_name": ".shop.Kind"}),
        ("big", F.TYPE_UINT64, {}),
        ("raw", F.TYPE_BYTES, {}),
    ]
    for number, (name, type_, more) in enumerate(declared, 1):
        message.field.add(name=name, number=number, type=type_, **({"label": 1} | more))
    from google.protobuf import timestamp_pb2

    time = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(time)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(time)
    pool.Add(file)
    kind_of = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Thing"))
    content = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()

    def thing(**changes: object) -> bytes:
        made: Any = kind_of(id="a", tags=[1, 2**62], **changes)
        made.at.seconds, made.at.nanos = TIME_US // 1_000_000, 123_456_999
        return made.SerializeToString()

    return Schemas(topic="things", single=content, message="shop.Thing"), thing


def test_presence_tells_null_from_zero_and_numbers_are_exact() -> None:
    """Row 22."""
    schemas, thing = protobuf()
    more = {"kind": {"type": "string"}, "big": {"type": "long"}}
    stream = stream_of("protobuf", fields=FIELDS | more)
    values = [
        thing(n=2**53 + 1, kind=1, big=2**63 - 1),
        thing(n=0),
        thing(),
        thing(kind=7),
        thing(big=2**63),
        thing()[:-1],
    ]
    found, bad = rows(records_of(values, schemas), stream)
    assert bad == {4: "out_of_range", 5: "malformed"}
    assert [row["n"] for row in found] == [2**53 + 1, 0, None, None]
    assert [row["x"] for row in found] == [0.0] * 4  # without presence zero is a value
    assert [row["kind"] for row in found] == ["SOME", "NONE", "NONE", "7"]
    assert found[0]["big"] == 2**63 - 1
    assert (found[0]["event_time"], found[0]["tags"]) == (TIME, [1, 2**62])


@pytest.mark.parametrize("unknown", ["ignore", "dead_letter"])
def test_protobuf_fields_have_the_names_that_the_contract_says(unknown: str) -> None:
    schemas, thing = protobuf()
    renamed = {"count": {"type": "long", "from": "n"}, "n": {"type": "double", "from": "x"}}
    fields = {name: each for name, each in FIELDS.items() if name not in ("x", "price")} | renamed
    more = {"kind": {"type": "string"}, "big": {"type": "long"}}
    stream = stream_of("protobuf", fields=fields | more, unknown_fields=unknown)
    found, bad = rows(records_of([thing(n=7, x=0.5)], schemas), stream)
    assert not bad
    assert (found[0]["count"], found[0]["n"]) == (7, 0.5)


def test_bytes_are_never_text() -> None:
    schemas, thing = protobuf()
    stream = stream_of("protobuf", fields=FIELDS | {"raw": {"type": "string"}})
    _, bad = rows(records_of([thing(raw=b"x")], schemas), stream)
    assert bad == {0: "wrong_type"}


def test_framed_protobuf_has_the_indexes_of_its_message_before_it() -> None:
    plain, thing = protobuf()
    assert plain.single is not None
    text = SchemaText(text=plain.single.decode("latin-1"))
    schemas = Schemas(topic="things", framed=True, store=Known(_3=text), message="shop.Thing")
    values = [
        framed(3, b"\0" + thing(n=1)),
        framed(3, b"\x02\x00" + thing(n=2)),
        framed(3, b"\x04"),
        framed(4, thing()),
    ]
    found, bad = rows(records_of(values, schemas), stream_of("protobuf"))
    assert [row["n"] for row in found] == [1, 2]
    assert bad == {2: "malformed", 3: "unknown_schema"}


def test_json_of_a_topic_may_be_framed_have_newlines_be_empty_or_null() -> None:
    """One record stays one record, wherever its value has newlines."""
    stream = make_stream("json", source={"kafka": {"topic": "things"}})
    pretty = json.dumps(json.loads(json_line(id="b")), indent=1).encode()
    values = [json_line(id="a"), pretty, b"", b"", b" ", json_line(id="c") + b"\n"]
    found, bad = rows(records_of(values, None, null=3), stream)
    assert [row["id"] for row in found] == ["a", "b", "c"]
    assert bad == {2: "malformed", 3: "tombstone", 4: "malformed"}
    schemas = Schemas(topic="things", framed=True)
    found, bad = rows(records_of([framed(5, each) for each in values] + [b"{}"], schemas), stream)
    assert [row["id"] for row in found] == ["a", "b", "c"]
    assert bad == {2: "malformed", 3: "malformed", 4: "malformed", 6: "unframed"}


def test_a_value_that_is_too_long_is_refused_in_every_format() -> None:
    schemas = Schemas(topic="things", framed=True, store=Known(_7=AVRO))
    long = framed(7, avro(AVRO, GOOD | {"id": "x" * 2_000_000}))
    _, bad = rows(records_of([long], schemas), stream_of("avro"))
    assert bad == {0: "too_long"}
