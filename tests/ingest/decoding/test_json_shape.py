"""JSON lines that are written alike are read without a parser: what is read is what the parser reads."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.ingest.contract import check
from headrace.ingest.decoding.decoded import Violation
from headrace.ingest.decoding.json_lines import JsonDecoder
from headrace.ingest.decoding.json_shape import Declared, Shape
from headrace.ingest.sources.line_block import LineBlock
from tests.amounts import examples
from tests.ingest.factories import json_line, make_stream
from tests.ingest.odd_records import NUMBERS, odd_json_lines

WHOLES = pa.list_(pa.int64())
DECLARED = {"id": pa.string(), "n": pa.int64(), "x": pa.float64(), "ok": pa.bool_()}
FLAT = {"price": ...}  # a decimal is of no shape
LINES = 1_000


def shape_of(line: bytes, *, strict: bool = False) -> Shape | None:
    declared = DECLARED | {"tags": WHOLES}
    return Shape.of(line, Declared.of(declared, declared), strict=strict)


def rows_by_shape(first: bytes, lines: list[bytes]) -> dict[int, dict[str, Any]]:
    """Read lines by the shape of the first; their rows, by the place of the line."""
    decoder = JsonDecoder(make_stream("json"))
    declared = {field.name: field.type for field in decoder.schema()}
    shape = Shape.of(first, Declared.of(declared, declared), strict=False)
    assert shape is not None
    found, table = shape.read(LineBlock.of(lines))
    return dict(zip(found.tolist(), table.to_pylist(), strict=True))


def check_against_parser(rows: dict[int, dict[str, Any]], lines: list[bytes]) -> None:
    decoder = JsonDecoder(make_stream("json"))
    for at, row in rows.items():
        singly = decoder.one(lines[at])
        assert not isinstance(singly, Violation), lines[at]
        assert row == {name: singly.get(name) for name in row}, lines[at]


def test_each_value_of_a_shape_is_read_from_its_place() -> None:
    first = b'{"id": "a", "n": 1, "other": "?", "x": 0.5, "ok": true, "z": -3}'
    lines = [
        first,
        b'{"id": "", "n": -12345678901, "other": "", "x": -0, "ok": true, "z": 10.25}',
        '{"id": "é, {}", "n": 0, "other": "b", "x": 12, "ok": true, "z": 0}'.encode(),
    ]
    shape = shape_of(first)
    assert shape is not None
    found, table = shape.read(LineBlock.of(lines))
    assert found.tolist() == [0, 1, 2]
    assert table.to_pylist() == [
        {"id": "a", "n": 1, "x": 0.5, "ok": True, "tags": None},
        {"id": "", "n": -12345678901, "x": 0.0, "ok": True, "tags": None},
        {"id": "é, {}", "n": 0, "x": 12.0, "ok": True, "tags": None},
    ]


def test_each_number_of_a_list_is_read_from_its_place() -> None:
    declared = {"ids": WHOLES, "n": pa.int64()}
    first = b'{"ids": [1, 22], "n": 5}'
    shape = Shape.of(first, Declared.of(declared, declared), strict=True)
    assert shape is not None
    lists = [b"1, 22", b"", b"-3", b"1,2, 3,0", b"4, 1e2", b"7,", b"[8]", b"01", b"null", b"5"]
    lists += [b"9" * 18, b"9" * 19, b" 6", b"6 ", b"6  ,7", b'"6"', b"1.5"]
    lines = [b'{"ids": [%s], "n": %d}' % each for each in zip(lists, range(99), strict=False)]
    found, table = shape.read(LineBlock.of(lines))
    assert dict(zip(found.tolist(), table["ids"].to_pylist(), strict=True)) == {
        0: [1, 22],
        1: [],
        2: [-3],
        3: [1, 2, 3, 0],
        9: [5],
        10: [10**18 - 1],
        12: [6],
    }
    assert table["n"].to_pylist() == found.tolist()


@pytest.mark.parametrize("key", ["", "n", "key"])
@pytest.mark.parametrize("digits", range(1, 21))
def test_a_number_is_exact_wherever_it_lies_or_left_to_the_parser(key: str, digits: int) -> None:
    declared = {key: pa.int64()}
    for number in (int("12345678901234567890"[:digits]), -(10**digits - 1)):
        line = f'{{"{key}":{number}}}'.encode()
        shape = Shape.of(line, Declared.of(declared, declared), strict=True)
        assert shape is not None
        found, table = shape.read(LineBlock.of([line] * 4))
        assert table[key].to_pylist() == [number] * len(found)
        assert (3 in found) == (digits <= 18)


def test_a_number_may_be_null_in_any_line() -> None:
    declared = {"n": pa.int64(), "x": pa.float64(), "ids": WHOLES}
    lines = [
        b'{"n": %s, "x": %s, "ids": [1]}' % each
        for each in [
            *[(b"1", b"0.5"), (b"null", b"null"), (b"-2", b"null"), (b"null", b"3")],
            *[(b"nul", b"1"), (b"1", b"nulls"), (b"nuLl", b"1"), (b"1", b"-null"), (b"", b"1")],
        ]
    ]
    for first in lines[:4]:
        shape = Shape.of(first, Declared.of(declared, declared), strict=True)
        assert shape is not None
        found, table = shape.read(LineBlock.of([b" " * 40, *lines]))
        assert found.tolist() == [1, 2, 3, 4]
        assert table["n"].to_pylist() == [1, None, -2, None]
        assert table["x"].to_pylist() == [0.5, None, None, 3.0]


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "a", "id": "b"}',
        b'{"id": 1}',
        b'{"n": "1"}',
        b'{"ok": 1}',
        b'{"n": true}',
        b'{"id": "a\\u0020"}',
        b'{"id": "a", "other": [1]}',
        b'{"id": [1]}',
        b'{"tags": 1}',
        b'{"tags": [[1]]}',
        b'{"tags": ["a"]}',
        b'{"id": "a", "other": {}}',
        b'{"id": "a"',
        b'{"id": "a"},',
        b' {"id": "a"}',
        b'{"id": null}',
        b"{}",
        b"",
    ],
)
def test_a_line_of_no_plain_values_has_no_shape(line: bytes) -> None:
    assert shape_of(line) is None


def test_with_a_strict_contract_a_line_with_an_undeclared_value_has_no_shape() -> None:
    assert shape_of(b'{"id": "a", "b": 1}') is not None
    assert shape_of(b'{"id": "a", "b": 1}', strict=True) is None
    assert shape_of(b'{"id": "a", "b": true}', strict=True) is None
    assert shape_of(b'{"id": "a", "b": null}', strict=True) is not None


@pytest.mark.parametrize("number", [*NUMBERS, "1.5.2", "1-2", "-", "- 1", "1 ", "", '"1"', "[1]"])
@pytest.mark.parametrize("key", ["n", "x", "other"])
def test_an_odd_number_is_read_as_the_parser_reads_it_or_left_to_it(number: str, key: str) -> None:
    first = json_line(**FLAT, n=5, x=0.25, other=7)
    lines = [json_line(**FLAT, **{"n": 5, "x": 0.25, "other": 7, key: "@"})] * 3
    lines = [line.replace(b'"@"', number.encode()) for line in lines]
    lines = [first, *lines, first]
    rows = rows_by_shape(first, lines)
    assert {0, 4} <= rows.keys()
    check_against_parser(rows, lines)


def test_a_whole_number_that_32_bits_round_is_refused_by_its_shape_as_by_the_parser() -> None:
    stream = make_stream("json", more_fields={"score": {"type": "float"}})
    numbers = ["16777216", "16777217", "-16777217", "0.1", "123456789", "9007199254740993", "7"]
    lines = [
        json_line(**FLAT, score="@").replace(b'"@"', numbers[at % len(numbers)].encode())
        for at in range(LINES)
    ]
    checked = check(JsonDecoder(stream).decode(lines), stream)
    refused = {at for at in range(LINES) if at % len(numbers) in (1, 2, 4, 5)}
    assert {at: each.code for at, each in checked.violations.items()} == dict.fromkeys(
        refused, "not_exact"
    )


def test_odd_lines_have_a_shape_only_where_the_parser_reads_the_same() -> None:
    first = json_line(**FLAT, id="first")
    lines = [first, *odd_json_lines(), first]
    rows = rows_by_shape(first, lines)
    assert {0, len(lines) - 1} <= rows.keys()
    check_against_parser(rows, lines)


@st.composite
def changed_lines(draw: st.DrawFn) -> list[bytes]:
    """Draw lines of one shape, some of which were changed by a few bytes."""
    values = st.fixed_dictionaries(
        {
            "id": st.text(max_size=8),
            "n": st.integers(-(2**65), 2**65),
            "x": st.floats(allow_nan=False) | st.integers(-(2**60), 2**60),
            "other": st.integers() | st.floats(),
            "tags": st.lists(st.integers(-(2**65), 2**65), max_size=3),
        }
    )
    separators = draw(st.sampled_from([(", ", ": "), (",", ":"), (" ,  ", " : ")]))
    lines: list[bytes] = []
    for record in draw(st.lists(values, min_size=1, max_size=6)):
        line = bytearray(json.dumps(record, separators=separators, ensure_ascii=False).encode())
        for _ in range(draw(st.integers(0, 2))):
            at = draw(st.integers(0, len(line) - 1))
            line[at : at + draw(st.integers(0, 2))] = draw(
                st.sampled_from(
                    [b'"', b"0", b"-", b".", b",", b"}", b"{", b" ", b"\\", b"\n", b"e", b"[", b"]"]
                )
            )
        lines.append(line.decode(errors="ignore").encode())
    return lines


@given(lines=changed_lines())
@run_settings(max_examples=examples(3_000, few=100), deadline=None)
def test_any_line_of_the_shape_of_another_is_read_as_the_parser_reads_it(
    lines: list[bytes],
) -> None:
    declared = {key: kind for key, kind in DECLARED.items() if key != "ok"} | {"tags": WHOLES}
    decoder = JsonDecoder(make_stream("json"))
    for first in lines:
        shape = Shape.of(first, Declared.of(declared, declared), strict=False)
        if shape is None:
            continue
        found, table = shape.read(LineBlock.of(lines))
        for at, row in zip(found.tolist(), table.to_pylist(), strict=True):
            singly = decoder.one(lines[at])
            assert not isinstance(singly, Violation)
            assert row == {name: singly.get(name) for name in declared}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines the parser was given, each time."""
    given_: list[int] = []
    whole = JsonDecoder.whole
    monkeypatch.setattr(
        JsonDecoder,
        "whole",
        lambda self, text, count: (given_.append(count), whole(self, text, count))[1],
    )
    return given_


def test_lines_of_few_shapes_need_no_parser_and_keep_their_order(parsed: list[int]) -> None:
    lines = [
        json_line(**FLAT, id=f"t{at}", n=None if at % 3 == 0 else at, x=at / 4)
        for at in range(6 * LINES)
    ]
    decoded = JsonDecoder(make_stream("json")).decode(lines)
    assert parsed == []
    assert decoded.index.tolist() == list(range(len(lines)))
    assert decoded.columns["id"].to_pylist() == [f"t{at}" for at in range(len(lines))]
    expected = [None if at % 3 == 0 else at for at in range(len(lines))]
    assert decoded.columns["n"].to_pylist() == expected


def test_bad_lines_among_those_of_a_shape_are_all_that_is_read_singly(
    parsed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    singly: list[bytes] = []
    one = JsonDecoder.one
    monkeypatch.setattr(
        JsonDecoder, "one", lambda self, line: (singly.append(line), one(self, line))[1]
    )
    kinds = [b"nonsense", json_line(**FLAT, n="wrong"), json_line(**FLAT)[:-1], b"\xff\xfe"]
    lines = [json_line(**FLAT, id=f"t{at}") for at in range(6 * LINES)]
    bad = list(range(0, len(lines), 100))
    for number, at in enumerate(bad):
        lines[at] = kinds[number % len(kinds)]
    decoded = JsonDecoder(make_stream("json")).decode(lines)
    assert parsed == []
    assert len(singly) == len(bad) * 3 // 4  # what is not UTF-8 is not parsed
    assert sorted(decoded.violations) == bad
    assert decoded.index.tolist() == sorted(set(range(len(lines))) - set(bad))
    assert decoded.columns["id"].to_pylist() == [f"t{at}" for at in decoded.index.tolist()]


def test_lines_that_stop_to_be_alike_are_left_to_the_parser(parsed: list[int]) -> None:
    lines = [json_line(**FLAT, id=f"t{at}") for at in range(5 * LINES)]
    lines += [json_line(id=f"t{at}", tags=[at]) for at in range(5 * LINES, 15 * LINES)]
    decoded = JsonDecoder(make_stream("json")).decode(lines)
    assert sum(parsed) == 10 * LINES + 1_024  # so many are tried before all of them
    assert decoded.columns["id"].to_pylist() == [f"t{at}" for at in range(15 * LINES)]
    assert decoded.columns["tags"].to_pylist()[-1] == [15 * LINES - 1]
    assert np.array_equal(decoded.index, np.arange(15 * LINES))


# of each declared type, as JSON: values that fit, that are refused, and that are read with care
MIXED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "score": ({"type": "float"}, ["0.1", "16777216", "16777217", "1e3", "-0", "null", "1e39"]),
    "rounded": ({"type": "float", "rounds": True}, ["0.1", "16777217", "9007199254740993", "3"]),
    "wide": ({"type": "double"}, ["0.25", "9007199254740992", "9007199254740993", "-1.5", "0"]),
    "count": ({"type": "int"}, ["1", "2147483647", "2147483648", "-5", "1.0", "1.5", "null"]),
    "big": ({"type": "long"}, ["1", "9223372036854775807", "9223372036854775808", "01", "-0"]),
    "cost": ({"type": "decimal(9,2)"}, ["1.25", '"1.25"', "1.255", "7", "1e2"]),
    "ids": ({"type": "list<long>"}, ["[1, 2]", "[]", "[3]", "null", "[null]", "[1.5]", "[1,]"]),
    "weights": ({"type": "list<float>"}, ["[0.1, 2]", "[]", "[-0.5]", "[16777217, 1]", '["a"]']),
    "on": ({"type": "boolean"}, ["true", "false", "null", "1", '"true"']),
    "born": ({"type": "date"}, ['"2026-03-01"', '"2026-02-30"', "null", "20260301"]),
    "seen": (
        {"type": "timestamptz", "unit": "ms"},
        ["1772323200000", "1772323200000.5", '"1772323200000"', "null"],
    ),
    "named": ({"type": "string", "from": "its name"}, ['"a"', '"\\u00e9"', '"é"', "null", "5"]),
}


@pytest.mark.parametrize("unknown", ["ignore", "refuse", "evolve"])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_decoded_is_the_same_without_shapes(seed: int, unknown: str) -> None:
    random = np.random.default_rng(seed)
    chosen = random.permutation(list(MIXED))[: 1 + seed].tolist()
    stream = make_stream(
        "json",
        more_fields={name: MIXED[name][0] for name in chosen},
        unknown_fields=unknown,
    )
    keys = {name: MIXED[name][0].get("from", name) for name in chosen}
    lines = list[bytes]()
    for _ in range(700):
        # mostly a value that fits: else hardly a line is a row
        picked = {n: 0 if random.random() < 0.8 else int(random.integers(20)) for n in chosen}
        texts = {n: MIXED[n][1][at % len(MIXED[n][1])] for n, at in picked.items()}
        more = [f', "{keys[name]}": {text}' for name, text in texts.items()]
        more += [', "other": 1'] if random.random() < 0.01 else []
        lines.append(json_line(**FLAT)[:-1] + "".join(more).encode() + b"}")
    with_shapes, without = JsonDecoder(stream), JsonDecoder(stream)
    without.alike = lambda lines: iter(())  # pyright: ignore[reportUnknownLambdaType]
    alike = sum(len(found) for found, _ in with_shapes.alike(lines))
    assert bool(alike) != any(
        name in chosen for name in ("cost", "seen", "weights")
    )  # are of no shape
    one, other = (check(each.decode(lines), stream) for each in (with_shapes, without))
    assert one.violations == other.violations
    assert one.index.tolist() == other.index.tolist()
    assert one.rows.to_pylist() == other.rows.to_pylist()
    assert len(one.index)
