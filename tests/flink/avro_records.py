"""Avro values of every kind that a contract tells apart, for a writer to be compared with headrace."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.ingest.decoding.test_topic_values import avro, framed

_T = 1_767_225_600  # 2026 begins
_TIMES = [
    {"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros", "nanos")
]
# declared as numbers, and written as times
_COUNTS = {
    "timeInt": "int",
    "timeLong": "long",
    "timeFloat": "float",
    "timeDouble": "double",
    "timePrice": "decimal(20,0)",
}
_SLOTS = [f"s{number}" for number in range(100)]  # the last numbers have two bytes


def _list(items: Any) -> dict[str, Any]:  # noqa: ANN401  (JSON)
    return {"type": "array", "items": items}


SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Thing",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "small", "type": ["int", "null"]},
        {"name": "large", "type": ["null", "long"]},
        {"name": "skipped", "type": ["null", "string", "double", "bytes"]},
        {
            "name": "inner",
            "type": {
                "type": "record",
                "name": "Inner",
                "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "boolean"}],
            },
        },
        {"name": "single", "type": ["null", "float"]},
        {"name": "double", "type": ["null", "double"]},
        {"name": "narrow", "type": ["null", "double"]},
        {"name": "whole", "type": ["null", "long"]},
        {"name": "flag", "type": ["null", "boolean"]},
        {
            "name": "kind",
            "type": ["null", {"type": "enum", "name": "Kind", "symbols": ["A", "B_c"]}],
        },
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {
            "name": "price",
            "type": [
                "null",
                {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3},
            ],
        },
        {
            "name": "cost",
            "type": [
                "null",
                {
                    "type": "fixed",
                    "name": "Cost",
                    "size": 12,
                    "logicalType": "decimal",
                    "precision": 10,
                    "scale": 2,
                },
            ],
        },
        {"name": "ms", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "ns", "type": ["null", {"type": "long", "logicalType": "timestamp-nanos"}]},
        {
            "name": "clock",
            "type": ["null", {"type": "long", "logicalType": "local-timestamp-micros"}],
        },
        {"name": "seenAt", "type": ["null", "long"]},
        {"name": "said", "type": ["null", "string"]},
        *({"name": name, "type": ["null", _TIMES[at % 3]]} for at, name in enumerate(_COUNTS)),
        {"name": "flagPrice", "type": ["null", "boolean"]},
        {"name": "flagTime", "type": ["null", "boolean"]},
        {"name": "tags", "type": ["null", _list("string")]},
        {"name": "seen", "type": _list(["null", "long"])},  # not declared, as the next
        {
            "name": "shown",
            "type": [_list({"type": "enum", "name": "Slot", "symbols": _SLOTS}), "null"],
        },
    ],
}
# written by a later producer: less, in another order, and the time in another unit
LATER: dict[str, Any] = {
    "type": "record",
    "name": "Thing",
    "fields": [
        {"name": "large", "type": "int"},
        {"name": "more", "type": ["null", "string"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "id", "type": ["string", "null"]},
    ],
}
FIELDS: dict[str, Any] = {
    "id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "small": {"type": "int"},
    "large": {"type": "long"},
    "single": {"type": "float"},
    "double": {"type": "double"},
    "narrow": {"type": "float"},
    "whole": {"type": "double"},
    "flag": {"type": "boolean"},
    "kind": {"type": "string"},
    "day": {"type": "date"},
    "price": {"type": "decimal(9,2)"},
    "cost": {"type": "decimal(10,2)"},
    "ms": {"type": "timestamptz"},
    "ns": {"type": "timestamptz"},
    "clock": {"type": "timestamptz"},
    "seen": {"type": "timestamptz", "unit": "s", "from": "seenAt"},
    "said": {"type": "timestamptz"},
    "absent": {"type": "long"},
    **{f"x{at}": {"type": kind, "from": name} for at, (name, kind) in enumerate(_COUNTS.items())},
    "flag_price": {"type": "decimal(9,2)", "from": "flagPrice"},
    "flag_time": {"type": "timestamptz", "unit": "s", "from": "flagTime"},
    "tags": {"type": "list<string>"},
}


def _number(value: int, size: int = 8) -> bytes:
    return value.to_bytes(size, "big", signed=True)


_SOME: Sequence[Mapping[str, Any]] = (
    {},
    {"id": "", "skipped": "é" * 100, "large": 2**63 - 1, "small": -(2**31)},
    {"id": "é\U0001f600\0x", "large": -(2**63), "small": 64, "skipped": b"\xff\0"},
    {"id": "x" * 9000, "skipped": 0.5, "large": 8191, "single": 0.1, "double": 0.1},
    {"double": -0.0, "single": -1e-45, "narrow": 0.1, "whole": 2**53},
    {"double": 5e-324, "single": 3.4028234663852886e38, "whole": -(2**60), "flag": True},
    {"double": -2.2250738585072014e-308, "narrow": 1e-46, "kind": "B_c", "day": -719_162},
    {"double": 1.7976931348623157e308, "day": 2_932_896, "flag": False, "kind": "A"},
    {"price": _number(1250), "cost": _number(-1, 12), "ms": -1, "ns": -1},
    {"price": _number(-9_999_999_990), "cost": _number(10**10 - 1, 12)},
    {"price": b"", "ms": 253_402_300_799_999, "ns": _T * 10**9 + 1_999},
    {"price": _number(-10, 20), "said": "2026-01-01 10:00:00.1234567+05:30", "seenAt": _T},
    {"at": -62_135_596_800_000_000, "seenAt": 0},
    {"tags": [], "seen": [None], "shown": []},
    {"tags": ["", "a", "é\U0001f600\0", "x" * 63, "y" * 64, "z" * 1023], "shown": _SLOTS},
    {"tags": ["a,b", '"'] * 1000, "seen": [None, 0, -1, 64, 2**63 - 1, -(2**63)] * 300},
)
_WRONG: Sequence[Mapping[str, Any]] = (
    {"single": float("inf")},
    {"double": float("nan")},
    {"narrow": 3.4028236e38},
    {"whole": 2**53 + 1},
    {"whole": 2**63 - 1},
    {"day": -719_163},
    {"day": 2_932_897},
    {"price": _number(1251)},
    {"price": _number(10**12)},
    {"price": _number(2**64, 9)},
    {"cost": _number(10**10, 12)},
    {"ms": 2**63 - 1},
    {"ms": -62_135_596_800_001},
    {"clock": 0},
    {"seenAt": 2**62},
    {"said": "2026-01-01T00:00:00"},
    {"said": "soon"},
    {"said": "2026-02-30T00:00:00Z"},
    *({name: 5} for name in _COUNTS),
    {"flagPrice": True},
    {"flagTime": False},
    {"at": 4_102_444_800_000_000},
    {"at": 2**63 - 1},
)


def _row(more: Mapping[str, Any]) -> dict[str, Any]:
    nothing: dict[str, Any] = {each["name"]: None for each in SCHEMA["fields"]}
    nothing["seen"] = []
    return {**nothing, "id": "a", "at": _T * 10**6 + 1, "inner": {"a": "b", "b": True}, **more}


_SOUND = avro(SCHEMA, _row({"large": 5}))
_CUT = [_SOUND[:at] for at in (0, 1, 5, len(_SOUND) - 1)]
_LISTS = avro(SCHEMA, _row({"tags": ["one", "two"], "seen": [7, None], "shown": ["s1", "s99"]}))
_TAGS = b"\x04\x06one\x06two\0"
assert _LISTS.count(_TAGS) == 1
_BAD_LISTS = (
    *(_LISTS[:at] for at in range(_LISTS.index(_TAGS), len(_LISTS))),
    *(
        _LISTS.replace(_TAGS, other)
        for other in (
            b"\x06\x06one\x06two\0",  # more items than there are
            b"\x04\x06one\x06t\xffo\0",  # a text that is not UTF-8
            b"\x04\x06one\x05two\0",  # a text of negative length
            b"\xfe\xff\xff\xff\x0f\x06one\x06two\0",  # a count that no record has room for
        )
    ),
    _LISTS.replace(b"\x04\x02\xc6\x01\0", b"\x04\x02\xc8\x01\0"),  # no such symbol
    _LISTS.replace(b"\x04\x02\x0e\0\0", b"\x04\x04\x0e\0\0"),  # no such branch
)
_MALFORMED = (
    *_CUT,
    _SOUND + b"\0",
    b"\x04\xff\xfe" + _SOUND[2:],  # a text that is not UTF-8
    _SOUND.replace(b"\x02\x0a", b"\x04\x0a"),  # no such branch
    avro(SCHEMA, _row({"kind": "A"})).replace(b"\x02\0" + b"\0" * 8, b"\x02\x08" + b"\0" * 8),
    b"\x01" + _SOUND[1:],  # a text of negative length
    b"\x02a" + b"\xff" * 9 + b"\x02",  # a number of more than 64 bits
    *_BAD_LISTS,
)
GOOD = tuple(avro(SCHEMA, _row(each)) for each in _SOME)
BAD = (*(avro(SCHEMA, _row(each)) for each in _WRONG), *_MALFORMED)


def later(number: int) -> bytes:
    """Return a value of the later producer."""
    row = {"large": number, "more": "é", "at": _T * 1000 + number, "id": f"later {number}"}
    return avro(LATER, row)


def plain_values() -> tuple[list[bytes], list[bytes]]:
    """Return values of the later producer that are rows, and others."""
    null = {"large": 1, "more": None, "at": _T * 1000, "id": None}
    bad = [avro(LATER, null), b"", later(1)[:-1], later(1) + b"\0"]
    return [later(number) for number in range(5)], bad


def framed_values(first: int, second: int) -> tuple[list[bytes], list[bytes]]:
    """Return values behind the ids of both schemas that are rows, and others."""
    good, bad = plain_values()
    rows = [*(framed(first, each) for each in GOOD), *(framed(second, each) for each in good)]
    others = [
        *(framed(first, each) for each in BAD),
        *(framed(second, each) for each in bad),
        framed(999_999, GOOD[0]),
        b"\0\0\0",
        b"\x01" + framed(first, GOOD[0])[1:],
    ]
    return rows, others
