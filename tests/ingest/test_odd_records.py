"""No record stops a stream, whatever it holds: it becomes a row or a dead letter, its neighbours too."""

import csv

import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.ingest.base import Position, Records
from headrace.ingest.contract import Checked, check
from headrace.ingest.csv_record import CsvRecordError, split_long, split_record
from headrace.ingest.decode import decode
from tests.ingest.factories import FIELDS, csv_line, json_line, make_stream
from tests.ingest.odd_records import judge, mangled, odd_csv_lines, odd_json_lines

ODD_MIN = 500
POLICIES = ["ignore", "dead_letter"]


@pytest.mark.parametrize("unknown_fields", POLICIES)
def test_every_odd_json_line_is_judged_and_its_neighbours_are_kept(unknown_fields: str) -> None:
    lines = odd_json_lines()
    assert len(lines) >= ODD_MIN
    stream = make_stream("json", unknown_fields=unknown_fields)
    assert judge(stream, lines, good=json_line(), alone_every=12) == 0


@pytest.mark.parametrize("unknown_fields", POLICIES)
def test_every_odd_csv_line_is_judged_and_its_neighbours_are_kept(unknown_fields: str) -> None:
    lines = odd_csv_lines()
    assert len(lines) >= ODD_MIN
    stream = make_stream("csv", unknown_fields=unknown_fields)
    header = tuple(FIELDS)
    assert judge(stream, lines, good=csv_line(), header=header, alone_every=12) == 0


@pytest.mark.proof
@pytest.mark.parametrize("unknown_fields", POLICIES)
@pytest.mark.parametrize("seed", range(5))
def test_odd_lines_alone_and_many_mangled_ones_are_judged_alike(
    unknown_fields: str, seed: int
) -> None:
    json_stream = make_stream("json", unknown_fields=unknown_fields)
    lines = [*odd_json_lines(), *mangled(json_line(other={"x": [1]}), 20_000, seed=seed)]
    assert judge(json_stream, lines, good=json_line(), alone_every=1) == 0
    csv_stream = make_stream("csv", unknown_fields=unknown_fields)
    lines = [*odd_csv_lines(), *mangled(csv_line(), 20_000, seed=seed)]
    assert judge(csv_stream, lines, good=csv_line(), header=tuple(FIELDS), alone_every=1) == 0


_CSV_TEXT = st.text(st.sampled_from('",\r ab\x00é'), min_size=1, max_size=12).filter(str.strip)


@run_settings(max_examples=300, deadline=None)
@given(_CSV_TEXT)
def test_a_long_csv_line_is_split_as_a_short_one(text: str) -> None:
    try:
        expected: list[str] | None = split_record(text)
    except CsvRecordError:
        expected = None
    try:
        found: list[str] | None = split_long(text)
    except CsvRecordError:
        found = None
    assert found == expected


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_long_csv_value_is_a_row_quoted_or_not(quote: str) -> None:
    value = "a" * (csv.field_size_limit() + 1)
    checked = _judged("csv", csv_line(id=f"{quote}{value}{quote}"))
    assert checked.rows.column("id").to_pylist() == [value]


JSON_REASONS = {
    "a whole number of 5,000 digits": (b'"n":' + b"9" * 5_000, "out_of_range"),
    "the same for a double": (b'"x":' + b"9" * 5_000, "not_finite"),
    "the same in an undeclared key": (b'"other":' + b"9" * 5_000, None),
    "an exponent of 20 digits": (b'"price":1e99999999999999999999', "out_of_range"),
    "the same in an undeclared key ": (b'"other":1e99999999999999999999', None),
    "a decimal of too many digits": (b'"price":16777217', "out_of_range"),
    "nested too deep": (b'"other":' + b"[" * 257 + b"]" * 257, "malformed"),
    "brackets in text": (b'"other":"' + b"[" * 300 + b'"', None),
    "many objects": (b'"other":[' + b"{}," * 300 + b"{}]", None),
}


@pytest.mark.parametrize("kind", JSON_REASONS)
def test_an_odd_json_value_is_refused_for_what_it_is(kind: str) -> None:
    member, code = JSON_REASONS[kind]
    line = b'{"id":"a","at":"2019-11-24T10:00:00Z",' + member + b"}"
    codes = [violation.code for violation in _judged("json", line).violations.values()]
    assert codes == ([] if code is None else [code])


def _judged(format_: str, line: bytes) -> Checked:
    stream = make_stream(format_)
    header = tuple(FIELDS) if format_ == "csv" else ()
    records = Records(first_offset=0, end=Position(), lines=[line], header=header)
    return check(decode(records, stream), stream)
