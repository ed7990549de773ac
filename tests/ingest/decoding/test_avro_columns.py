"""Avro values read at once are what each gives by itself, and nothing near a value is taken for one."""

import io
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.ingest.decoding import avro_values
from headrace.ingest.decoding.avro_one import reader_of
from headrace.ingest.decoding.avro_types import Types
from headrace.ingest.decoding.decode import decode
from headrace.ingest.decoding.decoded import Decoded
from headrace.ingest.sources.schemas import Schemas
from tests.ingest.decoding.test_topic_values import (
    AVRO,
    FIELDS,
    GOOD,
    Known,
    avro,
    framed,
    records_of,
    rows,
    stream_of,
)

KIND = {"type": "enum", "name": "Kind", "symbols": ["A", "B", "C"]}
INNER = {
    "type": "record",
    "name": "Inner",
    "fields": [
        {"name": "a", "type": "long"},
        {"name": "b", "type": ["null", "string", "Kind"]},
        {"name": "c", "type": {"type": "array", "items": "bytes"}},
    ],
}
TYPES: dict[str, Any] = {
    "kind": KIND,
    "flag": "boolean",
    "count": "int",
    "long": "long",
    "small": "float",
    "wide": "double",
    "text": "string",
    "raw": "bytes",
    "nothing": "null",
    "maybe": ["null", "long"],
    "last": ["string", "null"],
    "any": ["null", "long", "string"],
    "again": ["null", "Kind"],
    "hash": {"type": "fixed", "name": "Hash", "size": 3},
    "day": {"type": "int", "logicalType": "date"},
    "ms": {"type": "long", "logicalType": "timestamp-millis"},
    "ns": ["null", {"type": "long", "logicalType": "timestamp-nanos"}],
    "price": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2},
    "longs": {"type": "array", "items": "long"},
    "floats": {"type": "array", "items": "double"},
    "flags": {"type": "array", "items": "boolean"},
    "texts": {"type": "array", "items": ["null", "string"]},
    "nested": {"type": "array", "items": {"type": "array", "items": "int"}},
    "map": {"type": "map", "values": "long"},
    "inner": INNER,
}
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "All",
    "fields": [{"name": name, "type": kind} for name, kind in TYPES.items()],
}
BARE = {"day": "int", "ms": "long", "ns": ["null", "long"], "price": "bytes"}  # as stored
LONG = st.one_of(
    st.integers(-70, 70),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([2**k + d for k in range(6, 63) for d in (-1, 0)]),
)
TEXT = st.text(max_size=12)
FLOAT = st.floats(width=32)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "kind": st.sampled_from("ABC"),
    "flag": st.booleans(),
    "count": st.integers(-(2**31), 2**31 - 1),
    "long": LONG,
    "small": FLOAT,
    "wide": st.floats(),
    "text": TEXT,
    "raw": st.binary(max_size=9),
    "nothing": st.none(),
    "maybe": st.none() | LONG,
    "last": st.none() | TEXT,
    "any": st.none() | LONG | TEXT,
    "again": st.none() | st.sampled_from("ABC"),
    "hash": st.binary(min_size=3, max_size=3),
    "day": st.integers(-(2**31), 2**31 - 1),
    "ms": LONG,
    "ns": st.none() | LONG,
    "price": st.binary(min_size=1, max_size=4),
    "longs": st.lists(LONG, max_size=5),
    "floats": st.lists(st.floats(), max_size=4),
    "flags": st.lists(st.booleans(), max_size=3),
    "texts": st.lists(st.none() | TEXT, max_size=4),
    "nested": st.lists(st.lists(st.integers(-9, 9), max_size=3), max_size=3),
    "map": st.dictionaries(TEXT, LONG, max_size=3),
    "inner": st.fixed_dictionaries(
        {
            "a": LONG,
            "b": st.none() | st.sampled_from("xyz"),
            "c": st.lists(st.binary(max_size=3), max_size=2),
        }
    ),
}
ROWS = st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=5)
# those that are left out here are undeclared; `raw` and `any` are of no type that a contract has
DECLARED: dict[str, dict[str, Any]] = {
    "ms": {"type": "timestamptz", "required": True},
    "kind": {"type": "string"},
    "flag": {"type": "boolean"},
    "count": {"type": "int"},
    "long": {"type": "long"},
    "small": {"type": "float"},
    "wide": {"type": "double"},
    "text": {"type": "string"},
    "raw": {"type": "string"},
    "nothing": {"type": "long"},
    "maybe": {"type": "long"},
    "last": {"type": "string"},
    "any": {"type": "string"},
    "again": {"type": "string"},
    "day": {"type": "date"},
    "ns": {"type": "timestamptz"},
    "price": {"type": "decimal(8,2)"},
    "longs": {"type": "list<long>"},
    "floats": {"type": "list<double>"},
    "flags": {"type": "list<boolean>"},
    "texts": {"type": "list<string>"},
}


def all_ways(values: Sequence[bytes], **more: object) -> tuple[Decoded, Decoded]:
    """What records are, read at once and one by one."""
    stream = stream_of("avro", fields=DECLARED, key=None, event_time="ms", **more)
    records = records_of(values, Schemas(topic="things", single=json.dumps(SCHEMA).encode()))
    at_once = decode(records, stream)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(avro_values, "DATA_BYTES_MAX", -1)
        singly = decode(records, stream)
    return at_once, singly


def same(at_once: Decoded, singly: Decoded) -> None:
    assert at_once.index.tolist() == singly.index.tolist()
    assert at_once.violations == singly.violations
    for name in {*at_once.columns, *singly.columns}:
        column = at_once.columns[name]
        column.validate(full=True)
        assert column.to_pylist() == singly.columns[name].to_pylist(), name


@given(found=ROWS, unknown=st.sampled_from(["ignore", "dead_letter"]))
@settings(max_examples=15)
def test_values_read_at_once_are_what_each_is_by_itself(
    found: list[dict[str, Any]], unknown: str
) -> None:
    same(*all_ways([avro(SCHEMA, each) for each in found], unknown_fields=unknown))


@given(found=ROWS, data=st.data())
@settings(max_examples=40)
def test_so_are_bytes_that_were_changed(found: list[dict[str, Any]], data: st.DataObject) -> None:
    values: list[bytes] = []
    for each in found:
        value = bytearray(avro(SCHEMA, each))
        for _ in range(data.draw(st.integers(0, 3))):
            value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
        values.append(bytes(value[: data.draw(st.integers(0, len(value)))]) + data.draw(CHANGED))
    same(*all_ways([*values, *values]))


CHANGED = st.sampled_from([b"", b"", b"\0", b"\xff" * 12])


@given(found=st.fixed_dictionaries(VALUES))
def test_a_value_by_itself_is_what_another_reader_makes_of_it(found: dict[str, Any]) -> None:
    named: dict[str, Any] = {}
    fields = [each | {"type": BARE.get(each["name"], each["type"])} for each in SCHEMA["fields"]]
    parsed = fastavro.parse_schema(SCHEMA | {"fields": fields}, named_schemas=named)
    types = Types(parsed=named)
    body = avro(SCHEMA, found)
    read, end = reader_of(types.tree(parsed), types.made)(body, 0)
    expected: Any = fastavro.schemaless_reader(io.BytesIO(body), parsed, None)
    pairs = [{"k": key, "v": value} for key, value in expected["map"].items()]
    assert repr(read) == repr(expected | {"map": pairs})
    assert end == len(body)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("kind", b"\1"),  # -1, the last symbol counted from the end
        ("kind", b"\6"),
        ("again", b"\1\0"),
        ("again", b"\4"),
        ("again", b"\2\3"),
        ("long", b"\xff" * 9 + b"\x03"),  # 65 bits
        ("long", b"\xff" * 10 + b"\x01"),
        ("text", b"\3"),  # -2 bytes
        ("text", b"\2\xff"),
        ("longs", b"\x01\x01\x00"),
        ("nothings", b"\xfe\xff\xff\xff\x7f\0"),  # more items than anybody has
    ],
)
def test_an_index_or_a_number_out_of_range_is_never_taken_for_another(
    name: str, written: bytes
) -> None:
    nothings = {"type": "array", "items": "null"}
    kinds = {"kind": KIND, "nothings": nothings, "again": ["null", KIND]}
    fields = [*AVRO["fields"], {"name": name, "type": kinds.get(name, TYPES.get(name))}]
    schema = AVRO | {"fields": fields}
    declared = FIELDS | ({name: DECLARED[name]} if name in DECLARED else {})
    schemas = Schemas(topic="things", framed=True, store=Known(_7=schema))
    good = avro(AVRO, GOOD)
    records = records_of([framed(7, good + written)], schemas)
    _, bad = rows(records, stream_of("avro", fields=declared))
    assert bad == {0: "malformed"}


def test_a_short_name_is_that_of_its_own_namespace() -> None:
    price = {"type": "fixed", "name": "Kind", "size": 4, "precision": 9, "scale": 2}
    fields = [
        *AVRO["fields"],
        {"name": "other", "type": KIND | {"namespace": "elsewhere"}},
        {"name": "first", "type": price | {"logicalType": "decimal"}},
        {"name": "second", "type": "Kind"},
    ]
    schema = AVRO | {"namespace": "here", "fields": fields}
    value = avro(schema, GOOD | {"other": "A", "first": bytes(4), "second": b"\0\0\1\2"})
    records = records_of(
        [framed(7, value)], Schemas(topic="x", framed=True, store=Known(_7=schema))
    )
    declared = FIELDS | {"second": {"type": "decimal(9,2)"}}
    (row,), bad = rows(records, stream_of("avro", fields=declared))
    assert (row["second"], bad) == (Decimal("2.58"), {})


def test_long_lists_and_values_within_themselves_are_read() -> None:
    tree = {
        "type": "record",
        "name": "Tree",
        "fields": [
            {"name": "leaf", "type": ["null", "Tree"]},
            {"name": "words", "type": {"type": "array", "items": "string"}},
            {"name": "numbers", "type": {"type": "array", "items": "long"}},
        ],
    }
    fields = [*AVRO["fields"], {"name": "tree", "type": tree}, *tree["fields"][1:]]
    long = {"words": [str(n) for n in range(3_000)], "numbers": list(range(-9_000, 9_000))}
    leaf = {"leaf": None, "words": [], "numbers": [7]}
    row = GOOD | {"tree": leaf | {"leaf": leaf}, **long}
    declared = FIELDS | {name: {"type": f"list<{kind}>"} for name, kind in LISTS.items()}
    for schema in (AVRO | {"fields": fields}, AVRO | {"fields": [*fields[:6], *fields[7:]]}):
        schemas = Schemas(topic="things", framed=True, store=Known(_7=schema))
        values = [avro(schema, row), avro(schema, row | {"words": ["a"]}), avro(schema, row)[:-9]]
        records = records_of([framed(7, each) for each in values], schemas)
        found, bad = rows(records, stream_of("avro", fields=declared))
        assert (found[0]["words"], found[1]["words"]) == (long["words"], ["a"])
        assert found[0]["numbers"] == found[1]["numbers"] == long["numbers"]
        assert bad == {2: "malformed"}


LISTS = {"words": "string", "numbers": "long"}


def test_a_value_too_deep_within_itself_is_refused() -> None:
    leaf = {"name": "leaf", "type": ["null", "Thing"]}
    tree = {"type": "record", "name": "Thing", "fields": [*AVRO["fields"], leaf]}
    good = avro(AVRO, GOOD)
    schemas = Schemas(topic="things", framed=True, store=Known(_7=tree))
    values = [framed(7, (good + b"\2") * 9_000 + good + b"\0"), framed(7, good + b"\0")]
    found, bad = rows(records_of(values, schemas), stream_of("avro"))
    assert (len(found), bad) == (1, {0: "malformed"})


def test_a_value_of_many_short_blocks_does_not_keep_the_others() -> None:
    kind = {"type": "array", "items": "string"}
    schema = AVRO | {"fields": [*AVRO["fields"], {"name": "words", "type": kind}]}
    words = b"\2\2a" * 300_000 + b"\0"
    good = avro(AVRO, GOOD)
    schemas = Schemas(topic="things", framed=True, store=Known(_7=schema))
    values = [framed(7, good + words), framed(7, good + b"\2\2b\0")]
    declared = FIELDS | {"words": {"type": "list<string>"}}
    found, bad = rows(records_of(values, schemas), stream_of("avro", fields=declared))
    assert not bad
    assert [len(each["words"]) for each in found] == [300_000, 1]
