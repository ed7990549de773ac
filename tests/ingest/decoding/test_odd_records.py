"""No record stops a stream, whatever it holds: it becomes a row or a dead letter, its neighbours too."""

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.errors import SourceFileError
from headrace.ingest.contract import Checked, check
from headrace.ingest.decoding.decode import decode
from headrace.ingest.run import ingest
from headrace.ingest.sources import parquet_batches
from headrace.ingest.sources.base import RECORD_BYTES_MAX
from headrace.ingest.sources.csv_record import CsvRecordError, split_long, split_record
from tests.amounts import examples
from tests.ingest.factories import (
    CSV_HEADER,
    FIELDS,
    csv_line,
    dead_of,
    json_line,
    make_stream,
    records_of,
    rows_of,
)
from tests.ingest.odd_records import (
    in_own_process,
    judge,
    judge_damaged,
    judge_files,
    mangled,
    odd_csv_lines,
    odd_json_lines,
    read_files,
    write_odd_parquet,
)

pytestmark = pytest.mark.slow

ODD_MIN = 500
POLICIES = ["ignore", "dead_letter"]


@pytest.mark.parametrize("unknown_fields", POLICIES)
def test_every_odd_json_line_is_judged_and_its_neighbours_are_kept(unknown_fields: str) -> None:
    lines = odd_json_lines()
    assert len(lines) >= ODD_MIN
    stream = make_stream("json", unknown_fields=unknown_fields)
    assert judge(stream, lines, good=json_line(), alone_every=30) == 0


@pytest.mark.parametrize("unknown_fields", POLICIES)
def test_every_odd_csv_line_is_judged_and_its_neighbours_are_kept(unknown_fields: str) -> None:
    lines = odd_csv_lines()
    assert len(lines) >= ODD_MIN
    stream = make_stream("csv", unknown_fields=unknown_fields)
    header = tuple(FIELDS)
    assert judge(stream, lines, good=csv_line(), header=header, alone_every=30) == 0


@pytest.mark.parametrize(("unknown_fields", "good"), [("ignore", 144), ("dead_letter", 0)])
def test_every_odd_parquet_row_is_judged(tmp_path: Path, unknown_fields: str, good: int) -> None:
    count = write_odd_parquet(put(tmp_path))
    assert count >= ODD_MIN
    stream = make_stream("parquet", unknown_fields=unknown_fields)
    assert in_own_process(judge_files, stream, tmp_path, good, count - good, 100) == 0


@pytest.mark.parametrize(
    "writing",
    [
        {"use_dictionary": ["id"], "dictionary_pagesize_limit": 8 * 1024 * 1024},
        {"use_dictionary": False, "column_encoding": {"id": "DELTA_BYTE_ARRAY"}},
    ],
    ids=["dictionary", "shared prefix"],
)
def test_a_value_stored_once_for_many_rows_takes_bounded_memory(
    tmp_path: Path, writing: dict[str, Any]
) -> None:
    """Decoded at once, these few KB are 315 MB."""
    rows, text = 300, "a" * 1_050_000
    places = pa.array([*[0] * rows, *[1] * rows, 0], pa.int32())
    ids = pa.DictionaryArray.from_arrays(places, ["a", text])
    if not writing["use_dictionary"]:
        ids = ids.cast(pa.string())
    table = pa.table({"id": ids, "at": ["2019-11-24T10:00:00Z"] * len(ids)})
    pq.write_table(table, put(tmp_path), compression="zstd", store_schema=False, **writing)
    assert put(tmp_path).stat().st_size < 100_000
    stream = make_stream("parquet")
    assert in_own_process(judge_files, stream, tmp_path, rows + 1, rows, 250) == 0


def test_a_page_too_large_to_read_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_batches, "PAGE_BYTES_MAX", 2_000_000)
    for text, fits in (("a" * 1_900_000, True), ("a" * 2_100_000, False)):
        table = pa.table({"id": ["a", text, "b"], "at": ["2019-11-24T10:00:00Z"] * 3})
        pq.write_table(table, put(tmp_path), compression="zstd", use_dictionary=False)
        if fits:
            assert read_files(make_stream("parquet"), tmp_path) == (2, 1)
        else:
            with pytest.raises(SourceFileError):
                read_files(make_stream("parquet"), tmp_path)


def test_a_long_parquet_value_is_a_dead_letter_with_its_beginning(lake: Lake) -> None:
    ids = ["a", "b" * (RECORD_BYTES_MAX + 1), "c"]
    tags = [[1], [2], [3] * (RECORD_BYTES_MAX // 8 + 1)]
    table = pa.table({"id": ids, "at": ["2019-11-24T10:00:00Z"] * 3, "tags": tags})
    pq.write_table(table, put(lake.settings.data_dir))
    stream = make_stream("parquet")
    ingest(lake, stream)
    assert rows_of(lake, stream).column("id").to_pylist() == ["a"]
    dead = dead_of(lake, stream).to_pylist()
    assert [(row["_source_offset"], row["error_code"]) for row in dead] == [
        (1, "too_long"),
        (2, "too_long"),
    ]
    assert all(len(row["raw"]) == RECORD_BYTES_MAX for row in dead[:1])


@pytest.mark.parametrize(
    "count", [400, pytest.param(20_000, marks=pytest.mark.proof)], ids=["few", "many"]
)
def test_a_damaged_parquet_file_ends_in_a_named_error_and_not_the_process(
    tmp_path: Path, count: int
) -> None:
    table = pa.table(
        {
            "id": ["a", "b"] * 50,
            "at": ["2019-11-24T10:00:00Z"] * 100,
            "n": list(range(100)),
            "tags": [[1, 2]] * 100,
        }
    )
    pq.write_table(table, put(tmp_path), row_group_size=40)
    assert in_own_process(judge_damaged, make_stream("parquet"), tmp_path, count, 2) == 0


@pytest.mark.parametrize(
    "unknown_fields", ["ignore", pytest.param("dead_letter", marks=pytest.mark.proof)]
)
def test_a_csv_file_of_very_many_columns_costs_as_much_as_it_is_long(
    tmp_path: Path, unknown_fields: str
) -> None:
    """140,000 columns took two minutes, more than the process may."""
    names = [b"%x" % at for at in range(0x10000, 0x10000 + 140_000)]
    header = CSV_HEADER + b"," + b",".join(names)
    rows = [csv_line() + b"," * len(names), csv_line() + b",1" * len(names)]
    path = put(tmp_path).with_suffix(".csv")
    path.write_bytes(b"\n".join([header, *rows]) + b"\n")
    stream = make_stream("csv", unknown_fields=unknown_fields)
    good = 2 if unknown_fields == "ignore" else 1
    assert in_own_process(judge_files, stream, tmp_path, good, 2 - good, 300) == 0


def test_a_csv_header_longer_than_a_record_is_refused_by_name(tmp_path: Path) -> None:
    names = b",".join(b"%x" % at for at in range(0x10000, 0x10000 + 180_000))
    put(tmp_path).with_suffix(".csv").write_bytes(CSV_HEADER + b"," + names + b"\n")
    with pytest.raises(SourceFileError):
        read_files(make_stream("csv"), tmp_path)


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


@run_settings(max_examples=examples(300, few=80), deadline=None)
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


def put(data_dir: Path) -> Path:
    (data_dir / "things").mkdir(parents=True, exist_ok=True)
    return data_dir / "things" / "a.parquet"


def _judged(format_: str, line: bytes) -> Checked:
    stream = make_stream(format_)
    header = tuple(FIELDS) if format_ == "csv" else ()
    records = records_of([line], header=header)
    return check(decode(records, stream), stream)
