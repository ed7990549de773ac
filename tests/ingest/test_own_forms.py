"""Files as people have them: other delimiters and encodings, no header, names and times of their own."""

import csv
import datetime as dt
import io
import json
import zoneinfo
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.definitions.stream_field import StreamField
from headrace.errors import SourceFileError
from headrace.ingest import dead_letters
from headrace.ingest.run import ingest
from headrace.ingest.time_forms import convert_field
from headrace.ingest.values import NO_SUCH_TIME
from tests.amounts import examples
from tests.raising import refused

pytestmark = pytest.mark.slow

UTC = dt.UTC
PARIS = "Europe/Paris"


def contract(**changes: Any) -> Stream:  # noqa: ANN401
    said: dict[str, Any] = {
        "stream": "ratings",
        "table": "raw.ratings",
        "source": {"files": "ratings/*", "complete_files": True},
        "format": "csv",
        "event_time": "rated_at",
        "fields": {
            "user_id": {"type": "long", "required": True, "from": "userId"},
            "item_id": {"type": "long", "required": True, "from": "movieId:token"},
            "rating": {"type": "double"},
            "rated_at": {
                "type": "timestamptz",
                "required": True,
                "from": "timestamp",
                "unit": "s",
            },
        },
    }
    return Stream.model_validate(said | changes)


def land(lake: Lake, name: str, content: bytes) -> None:
    folder = lake.settings.data_dir / "ratings"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def rows(lake: Lake) -> list[tuple[object, ...]]:
    found = lake.table("raw.ratings").head().to_arrow().sort_by("_source_offset").to_pylist()
    names = ("user_id", "item_id", "rating", "event_time")
    return [tuple(row[name] for name in names) for row in found]


RATED = dt.datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC)
EXPECTED = [(196, 242, 3.0, RATED), (186, 302, None, RATED + dt.timedelta(seconds=1))]
LAYOUTS: Mapping[str, tuple[dict[str, Any], bytes]] = {
    "u.data": (
        {"csv": {"delimiter": "\t", "header": False}},
        b"196\t242\t3\t881250949\n186\t302\t\t881250950\n",
    ),
    "ratings.dat": (
        {"csv": {"delimiter": "::", "header": False}},
        b"196::242::3::881250949\n186::302::::881250950\n",
    ),
    "ratings.csv": (
        {},
        b"userId,movieId:token,rating,timestamp\n196,242,3.0,881250949\n186,302,,881250950\n",
    ),
    "another order": (
        {
            "csv": {
                "header": False,
                "delimiter": "|",
                "columns": ["timestamp", "userId", "other", "movieId:token", "rating"],
            }
        },
        b"881250949|196|x|242|3\n881250950|186|y|302|\n",
    ),
    "nulls": (
        {"csv": {"delimiter": ";", "null_values": ["NULL", "\\N"]}},
        b'userId;"movieId:token";rating;timestamp\n196;242;3;881250949\n186;302;\\N;881250950\n',
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layouts_are_read_by_contract_alone(lake: Lake, layout: str) -> None:
    changes, content = LAYOUTS[layout]
    land(lake, "one", content)
    done = ingest(lake, contract(**changes))
    assert (done.rows, done.dead_letters) == (2, 0)
    assert rows(lake) == EXPECTED


def test_parquet_columns_have_names_of_their_own_too(lake: Lake) -> None:
    folder = lake.settings.data_dir / "ratings"
    folder.mkdir(parents=True)
    table = pa.table(
        {
            "userId": [196, 186],
            "movieId:token": [242, 302],
            "rating": [3.0, None],
            "timestamp": [881250949, 881250950],
        }
    )
    pq.write_table(table, folder / "one.parquet")
    assert ingest(lake, contract(format="parquet")).rows == 2
    assert rows(lake) == EXPECTED


def test_json_keys_have_names_of_their_own_and_refusals_name_the_field(lake: Lake) -> None:
    stream = contract(format="json", unknown_fields="dead_letter")
    lines = [
        {"userId": 196, "movieId:token": 242, "rating": 3, "timestamp": 881250949},
        {"userId": 186, "movieId:token": 302, "timestamp": 881250950, "rating": None},
        {"user_id": 1, "userId": 1, "movieId:token": 1, "timestamp": 881250950},
        {"userId": "x", "movieId:token": 1, "timestamp": 881250950},
    ]
    land(lake, "one", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    done = ingest(lake, stream)
    assert (done.rows, done.dead_letters) == (2, 2)
    assert rows(lake) == EXPECTED
    letters = lake.table(dead_letters.TABLE).head().to_arrow().to_pylist()
    assert [(each["error_code"], each["field"]) for each in letters] == [
        ("unknown_field", "user_id"),
        ("wrong_type", "user_id"),
    ]


def test_a_header_with_another_delimiter_is_told_to_declare_it(lake: Lake) -> None:
    land(lake, "one", b"userId\tmovieId:token\trating\ttimestamp\n1\t2\t3\t4\n")
    with refused(SourceFileError) as found:
        ingest(lake, contract())
    assert '{delimiter: "\\t"}' in found.value.detail


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "koi8-r", "utf-8"])
def test_texts_of_other_encodings_are_read_and_what_is_none_of_them_refused(
    lake: Lake, encoding: str
) -> None:
    text = "Привет" if encoding == "koi8-r" else "Amélie"
    stream = contract(
        csv={"delimiter": "|", "encoding": encoding},
        fields={
            "title": {
                "type": "string",
                "from": f"{text} название" if encoding == "koi8-r" else "t",
            },
            "rated_at": {"type": "timestamptz", "required": True, "unit": "ms"},
        },
    )
    name = stream.fields["title"].source_name
    content = f"{name}|rated_at\n{text}|881250949000\n".encode(encoding)
    bad = b"\x81|881250949000\n" if encoding in ("cp1252", "utf-8") else b""
    land(lake, "one", content + bad)
    done = ingest(lake, stream)
    assert (done.rows, done.dead_letters) == (1, bool(bad))
    found = lake.table("raw.ratings").head().to_arrow().to_pylist()
    assert (found[0]["title"], found[0]["event_time"]) == (text, RATED)
    if bad:
        (letter,) = lake.table(dead_letters.TABLE).head().to_arrow().to_pylist()
        assert letter["error_code"] in ("invalid_encoding", "invalid_utf8")
        assert letter["raw"] == b"\x81|881250949000"


_TEXT = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=6)
_DELIMITERS = (",", ";", "\t", "|", "~", "::", "<>", "\xa7")


@given(
    delimiter=st.sampled_from(_DELIMITERS),
    encoding=st.sampled_from(["utf-8", "latin-1"]),
    header=st.booleans(),
    values=st.lists(st.tuples(_TEXT, _TEXT), min_size=1, max_size=6),
)
@settings(deadline=None, max_examples=examples(300, few=40))
def test_what_pythons_csv_wrote_is_read_back(
    delimiter: str, encoding: str, header: bool, values: list[tuple[str, str]]
) -> None:
    from headrace.ingest.decoding.csv_lines import CsvDecoder

    quoted = len(delimiter) == 1
    names = ("a", "b")
    if quoted:
        written = io.StringIO()
        csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows(values)
        text = written.getvalue()
    else:  # quotes mean nothing, and the delimiter cannot be part of a value
        values = [
            tuple(v.replace(delimiter[0], "").replace(delimiter[1], "") for v in pair)  # type: ignore[misc]
            for pair in values
        ]
        text = "".join(delimiter.join(pair) + "\n" for pair in values)
    lines = [line.encode(encoding) for line in text.split("\n")[:-1]]
    stream = contract(
        csv={"delimiter": delimiter, "encoding": encoding, "header": header},
        fields={
            "a": {"type": "string"},
            "b": {"type": "string"},
            "rated_at": {"type": "timestamptz", "required": True},
        },
    )
    kept = [at for at, line in enumerate(lines) if line and not line.isspace()]
    found = CsvDecoder(stream, names).decode([lines[at] for at in kept])
    assert found.violations == {}
    columns = [found.columns[name].to_pylist() if kept else [] for name in names]
    expected = [[values[at][n] or None for at in kept] for n in (0, 1)]
    assert columns == expected


def field(**said: Any) -> StreamField:  # noqa: ANN401
    return StreamField.model_validate({"type": "timestamptz"} | said)


def read(column: pa.Array, **said: Any) -> tuple[list[Any], dict[int, str]]:  # noqa: ANN401
    done = convert_field(column, field(**said))
    return done.values.to_pylist(), done.errors


@given(
    st.lists(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999), min_size=1, max_size=8),
    st.sampled_from(["s", "ms", "us", "ns"]),
)
@settings(deadline=None, max_examples=examples(200, few=40))
def test_numbers_since_1970_are_exact_and_finer_digits_cut_towards_the_past(
    instants_us: list[int], unit: str
) -> None:
    per = {"s": Decimal(10**6), "ms": Decimal(1000), "us": Decimal(1), "ns": Decimal("0.001")}[unit]
    texts = [f"{Decimal(us) / per:f}" for us in instants_us]
    if unit != "ns":
        texts = [text + ("0000007" if "." in text else ".0000007") for text in texts]
        # a digit beyond the microsecond: towards the past is one earlier for times before 1970
        instants_us = [us - (us < 0) for us in instants_us]
    values, errors = read(pa.array(texts), unit=unit)
    epoch = dt.datetime(1970, 1, 1, tzinfo=UTC)
    low = -62_135_596_800_000_000
    expected = [None if us < low else epoch + dt.timedelta(microseconds=us) for us in instants_us]
    if unit == "ns":
        expected = [
            None if abs(us) * 1000 > 10**20 else each
            for us, each in zip(instants_us, expected, strict=True)
        ]
    for found, wanted in zip(values, expected, strict=True):
        assert found == wanted
    assert {row for row in errors} == {row for row, each in enumerate(values) if each is None}


@given(st.lists(st.none() | st.integers(-(2**63), 2**64 - 1), min_size=1, max_size=8))
@settings(deadline=None, max_examples=examples(200, few=40))
def test_integers_of_nanoseconds_are_read_whatever_they_are(numbers: list[int | None]) -> None:
    fits = all(each is None or each < 2**63 for each in numbers)
    kept = numbers if fits else [None if each is None or each < 0 else each for each in numbers]
    found, errors = read(pa.array(kept, pa.int64() if fits else pa.uint64()), unit="ns")
    epoch = dt.datetime(1970, 1, 1, tzinfo=UTC)
    assert errors == {}
    assert found == [
        None if each is None else epoch + dt.timedelta(microseconds=each // 1_000) for each in kept
    ]
    # of today, and of few bits
    assert read(pa.array([1_767_225_600_000_000_999]), unit="ns")[0] == [
        dt.datetime(2026, 1, 1, tzinfo=UTC)
    ]
    assert read(pa.array([-1], pa.int8()), unit="ns")[0] == [epoch - dt.timedelta(microseconds=1)]


def test_numbers_of_every_kind_are_read_and_what_is_none_is_refused() -> None:
    assert read(pa.array([881250949, None]), unit="s")[0] == [RATED, None]
    assert read(pa.array([881250949.5]), unit="s")[0] == [RATED + dt.timedelta(milliseconds=500)]
    assert read(pa.array([881250949000.0]), unit="ms")[0] == [RATED]
    assert read(pa.array([Decimal("881250949.25")]), unit="s")[0] == [
        RATED + dt.timedelta(milliseconds=250)
    ]
    far = [2**62, -(2**62)]
    assert read(pa.array(far), unit="s") == ([None, None], {0: "out_of_range", 1: "out_of_range"})
    assert read(pa.array(["1e9", "soon", "9" * 19]), unit="s")[1].keys() == {0, 1, 2}
    assert read(pa.array([float("nan")]), unit="s")[1] == {0: "wrong_type"}


def test_clocks_of_a_zone_are_read_and_hours_they_lack_or_repeat_refused() -> None:
    texts = [
        "2024-01-31 12:00:00",
        "2024-07-31T12:00",
        "2024-03-31 02:30:00",
        "2024-10-27 02:30:00",
    ]
    texts += ["2024-07-31", "2024-07-31T12:00:00Z", "soon", "2024-13-01"]
    values, errors = read(pa.array(texts), timezone=PARIS)
    assert values == [
        dt.datetime(2024, 1, 31, 11, tzinfo=UTC),
        dt.datetime(2024, 7, 31, 10, tzinfo=UTC),
        None,
        None,
        dt.datetime(2024, 7, 30, 22, tzinfo=UTC),
        dt.datetime(2024, 7, 31, 12, tzinfo=UTC),
        None,
        None,
    ]
    assert (errors[2], errors[3]) == (NO_SUCH_TIME, NO_SUCH_TIME)
    assert set(errors) == {2, 3, 6, 7}


_FIRST, _LAST = (dt.datetime(year, 1, 1) for year in (1971, 2037))  # noqa: DTZ001  (clocks)


@given(st.lists(st.datetimes(_FIRST, _LAST), min_size=1, max_size=6))
@settings(deadline=None, max_examples=examples(200, few=30))
def test_every_clock_time_is_that_of_pythons_zones(moments: list[dt.datetime]) -> None:
    zone = zoneinfo.ZoneInfo(PARIS)
    column = pa.array(moments, pa.timestamp("us"))
    texts = pa.array([each.isoformat(sep=" ") for each in moments])
    for given_column in (column, texts):
        values, errors = read(given_column, timezone=PARIS)
        for row, (found, naive) in enumerate(zip(values, moments, strict=True)):
            first, second = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
            if first.utcoffset() != second.utcoffset():
                assert errors[row] == NO_SUCH_TIME
            else:
                assert found == first


def test_texts_of_a_declared_form_are_read() -> None:
    assert read(pa.array(["14102100", None, "x"]), time_format="%y%m%d%H", timezone="UTC") == (
        [dt.datetime(2014, 10, 21, tzinfo=UTC), None, None],
        {2: "wrong_type"},
    )
    found, _ = read(pa.array(["04/Dec/1997:16:55:49 +0100"]), time_format="%d/%b/%Y:%H:%M:%S %z")
    assert found == [RATED]


T_1 = dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_numbers_and_texts_at_the_ends_of_their_types_are_dead_letters_and_no_end() -> None:
    least = pa.array([-(2**63), 1, None], pa.int64())  # what pandas writes for no time
    assert read(least, unit="s") == ([None, T_1, None], {0: "out_of_range"})
    most = pa.array([2**63, 1], pa.uint64())
    assert read(most, unit="s") == ([None, T_1], {0: "out_of_range"})
    first = pa.array(["0001-01-01 +1400", "1970-01-01 +0000"])
    found, errors = read(first, time_format="%Y-%m-%d %z")
    assert (found[0], set(errors)) == (None, {0})


_WRONG: list[tuple[dict[str, Any], str]] = [
    ({"type": "long", "unit": "s"}, "only a `timestamptz`"),
    ({"unit": "s", "timezone": "UTC"}, "counts from 1970"),
    ({"time_format": "%d-%m", "timezone": "UTC"}, "no year"),
    ({"time_format": "%Y-%m-%d %Z", "timezone": "UTC"}, "names of zones"),
    ({"time_format": "%Y-%Y", "timezone": "UTC"}, "no form"),
    ({"time_format": "%Y-%Q", "timezone": "UTC"}, "no form"),
    ({"timezone": "Paris"}, "no time zone"),
    ({"time_format": "%Y"}, "neither `%z` nor"),
    ({"time_format": "%Y %z", "timezone": "UTC"}, "needs one of them"),
    ({"unit": "s", "time_format": "%s %z"}, "not both"),
]


@pytest.mark.parametrize(("said", "why"), _WRONG)
def test_a_form_of_times_that_contradicts_itself_is_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        field(**said)


_WRONG_CSV: list[tuple[dict[str, Any], str]] = [
    ({"csv": {"delimiter": '"'}}, "cannot be a delimiter"),
    ({"csv": {"columns": ["a"]}}, "header: false"),
    (
        {"csv": {"encoding": "utf-16"}, "source": {"files": "ratings/*"}},
        "declare `complete_files: true`",
    ),
    (
        {"csv": {"quoted_newlines": True}, "source": {"files": "ratings/*"}},
        "declare `complete_files: true`",
    ),
    ({"csv": {"quoted_newlines": True, "quote": False}}, "have none"),
    ({"csv": {"decimal": ",", "thousands": ","}}, "decimal sign already"),
    ({"json": {"layout": "documents"}}, "files of `format: json`"),
    (
        {"json": {"layout": "documents"}, "format": "json", "source": {"files": "ratings/*"}},
        "declare `complete_files: true`",
    ),
    ({"csv": {"encoding": "klingon"}}, "Python knows"),
    ({"csv": {"delimiter": ";"}, "format": "json", "fields": None}, "is about files of"),
]


@pytest.mark.parametrize(("changes", "why"), _WRONG_CSV)
def test_a_form_of_files_that_cannot_be_is_refused(changes: dict[str, Any], why: str) -> None:
    if "fields" in changes:
        changes = changes | {"fields": {"rated_at": {"type": "timestamptz", "required": True}}}
    with pytest.raises(ValidationError, match=why):
        contract(**changes)


def test_a_contract_says_the_same_when_it_is_written_and_read_again() -> None:
    stream = contract(csv={"delimiter": "\t", "header": False}, json={})
    assert "json" in stream.model_dump()
    again = Stream.model_validate(stream.model_dump(mode="json") | {"known_at": "ingested"})
    assert again == stream


def test_records_without_a_header_resume_where_they_were_taken(lake: Lake, tmp_path: Path) -> None:
    lines = [f"{n}::{n + 1}::{n % 5}::{881250949 + n}\n".encode() for n in range(50)]
    stream = contract(csv={"delimiter": "::", "header": False})
    land(lake, "one", b"".join(lines[:20]))
    ingest(lake, stream, rows_per_commit=7)
    land(lake, "one", b"".join(lines))
    done = ingest(lake, stream, rows_per_commit=7)
    assert done.rows == 30
    assert [row[0] for row in rows(lake)] == list(range(50))
