"""Values: what each type accepts, and times to the microsecond."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.definitions.types import TIMESTAMP
from headrace.ingest import values
from headrace.ingest.contract import check
from headrace.ingest.decoding.decode import decode
from headrace.ingest.values import NOT_EXACT, convert, holds
from tests.amounts import examples
from tests.ingest.factories import json_line, make_stream, records_of


def one(value: object, wanted: pa.DataType, kind: pa.DataType | None = None) -> object:
    done = convert(pa.array([value], kind), wanted)
    return done.errors.get(0) or done.values[0].as_py()


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001 - bounds must be naive
    st.integers(-14 * 60 + 1, 14 * 60 - 1),
    st.sampled_from("T "),
)
def test_a_time_with_an_offset_is_that_instant(naive: datetime, minutes: int, between: str) -> None:
    sign, (hours, rest) = "+-"[minutes < 0], divmod(abs(minutes), 60)
    text = f"{naive.isoformat(between)}{sign}{hours:02}:{rest:02}"
    wanted = naive.replace(tzinfo=UTC) - timedelta(minutes=minutes)
    assert one(text, TIMESTAMP) == wanted


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00.1Z", 100_000),
        ("1970-01-01T00:00:00.1234567Z", 123_456),
        ("1970-01-01T00:00:00.999999999Z", 999_999),
        ("1969-12-31T23:59:59.9999999+0000", -1),
        ("1970-01-01 00:00Z", 0),
        ("1970-01-01 01:00:00+01", 0),
    ],
)
def test_digits_beyond_microseconds_are_cut_off(text: str, us: int) -> None:
    assert one(text, TIMESTAMP) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2019-11-24T10:00:00", "naive_time"),
        ("2019-11-24 10:00", "naive_time"),
        ("2019-11-24", "wrong_type"),
        ("2019-11-24T10:00:00z", "wrong_type"),
        ("2019-11-24T10:00:00 Z", "wrong_type"),
        ("24.11.2019 10:00Z", "wrong_type"),
        ("2019-11-24T24:00:00Z", "out_of_range"),
        ("2019-11-24T23:59:60Z", "out_of_range"),
        ("2019-11-24T10:00:00+25:00", "out_of_range"),
        ("0000-01-01T00:00:00Z", "out_of_range"),
        ("9999-12-31T23:59:59-01:00", "out_of_range"),
    ],
)
def test_a_text_that_is_no_instant_is_refused(text: str, code: str) -> None:
    assert one(text, TIMESTAMP) == code


def test_nanoseconds_are_cut_off_towards_the_past() -> None:
    done = convert(pa.array([-1, 1999], pa.timestamp("ns", tz="Asia/Tokyo")), TIMESTAMP)
    assert done.values.cast(pa.int64()).to_pylist() == [-1, 1]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**70), 2**70)), max_size=50))
def test_whole_numbers_fit_exactly_or_are_refused(numbers: list[int | None]) -> None:
    texts = pa.array([None if n is None else str(n) for n in numbers], pa.string())
    for wanted, bits in ((pa.int32(), 31), (pa.int64(), 63)):
        done = convert(texts, wanted)
        fits = [n is None or -(2**bits) <= n < 2**bits for n in numbers]
        assert set(done.errors) == {at for at, fit in enumerate(fits) if not fit}
        assert done.values.to_pylist() == [
            n if f else None for n, f in zip(numbers, fits, strict=True)
        ]


_AROUND_EXACT = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    *(st.integers(2**bits - 3, 2**bits + 3) for bits in (23, 24, 25, 52, 53, 54, 62)),
    st.builds(lambda odd, shift: odd << shift, st.integers(-(2**20), 2**20), st.integers(0, 42)),
)


@run_settings(max_examples=examples(50, few=20), deadline=None)
@given(st.lists(_AROUND_EXACT, min_size=1, max_size=20), st.sampled_from(["double", "float"]))
def test_whole_numbers_become_floating_ones_exactly_or_are_refused_in_every_format(
    numbers: list[int], declared: str
) -> None:
    wanted = pa.float64() if declared == "double" else pa.float32()
    exact = [int(pa.scalar(float(n), wanted).as_py()) == n and int(float(n)) == n for n in numbers]
    texts = [str(n) for n in numbers]
    for column in (
        pa.array(numbers, pa.int64()),
        pa.array(texts),
        pa.array(texts).dictionary_encode(),
    ):
        done = convert(column, wanted)
        assert done.errors == {at: NOT_EXACT for at, fits in enumerate(exact) if not fits}
        kept = [None if value is None else int(value) for value in done.values.to_pylist()]
        assert kept == [n if fits else None for n, fits in zip(numbers, exact, strict=True)]
    fields = {"y": {"type": declared}, "ys": {"type": f"list<{declared}>"}}
    for value in ("%d", "[1,%d]"):
        name = "y" if value == "%d" else "ys"
        lines = [json_line(**{name: "@"}).replace(b'"@"', (value % n).encode()) for n in numbers]
        records = records_of(lines)
        stream = make_stream("json", more_fields=fields)
        checked = check(decode(records, stream), stream)
        codes = {at: found.code for at, found in checked.violations.items()}
        assert codes == {at: NOT_EXACT for at, fits in enumerate(exact) if not fits}


def test_numbers_with_a_point_become_the_nearest_floating_one() -> None:
    assert one("9007199254740993.0", pa.float64()) == 9007199254740992.0
    line = json_line().replace(b'"x": 0.5', b'"x": 9007199254740993.0')
    stream = make_stream("json")
    checked = check(decode(records_of([line]), stream), stream)
    assert checked.rows.column("x").to_pylist() == [9007199254740992.0]


def test_a_list_with_one_wrong_element_is_refused_whole() -> None:
    lists = pa.array([[1], None, [], [2, 2**40], [3, None]], pa.list_(pa.int64()))
    for column in (lists, pa.concat_arrays([lists[:1], lists]).slice(1)):
        done = convert(column, pa.list_(pa.field("element", pa.int32())))
        assert done.errors == {3: "out_of_range"}
        assert done.values.to_pylist() == [[1], None, [], None, [3, None]]


@pytest.mark.parametrize(
    ("found", "wanted", "can"),
    [
        (pa.timestamp("us"), TIMESTAMP, False),
        (pa.timestamp("ms", tz="Asia/Tokyo"), TIMESTAMP, True),
        (pa.float64(), pa.int64(), False),
        (pa.uint64(), pa.int64(), True),
        (pa.dictionary(pa.int8(), pa.string()), pa.string(), True),
        (pa.binary(), pa.string(), False),
        (pa.list_(pa.int32()), pa.list_(pa.int64()), True),
        (pa.int64(), pa.list_(pa.int64()), False),
    ],
)
def test_columnar_types_widen_and_never_lose_meaning(
    found: pa.DataType, wanted: pa.DataType, can: bool
) -> None:
    assert holds(found, wanted) is can


NUMBERS = st.text("0123456789-+.eExainf ", min_size=1, max_size=8) | st.integers().map(str)
TIMES = st.builds(
    lambda text, at, letter: text[:at] + letter + text[at + len(letter) :],
    st.sampled_from(
        [
            "2026-03-01T12:34:56.123456Z",
            "2026-03-01 12:34:56.1-0130",
            "2026-03-01T12:34:56+01:00",
            "2026-03-01T12+01:00",
            "0000-03-01T12:34:56.000Z",
        ]
    ),
    st.integers(0, 27),
    st.sampled_from(["", "", "0", "9", "T", ":", ".", "+", "-", "Z", " "]),
)


@given(
    st.sampled_from([pa.int32(), pa.int64(), pa.float32(), pa.float64(), TIMESTAMP]),
    st.lists(st.none() | NUMBERS, min_size=1, max_size=4) | st.lists(TIMES, min_size=1, max_size=3),
    st.integers(0, 1),
)
@run_settings(max_examples=examples(2_000, few=100))
def test_texts_that_are_cast_at_once_are_what_each_is_by_its_form(
    wanted: pa.DataType, texts: list[str | None], skipped: int
) -> None:
    column = pa.array(["x" * skipped, *texts], pa.string())[skipped:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "cast_plain", lambda *_: None)
        looked_at = convert(column, wanted)
    done = convert(column, wanted)
    assert done.errors == looked_at.errors
    assert done.values.to_pylist() == looked_at.values.to_pylist()
    assert done.values.type == wanted


@given(st.lists(st.none() | TIMES, min_size=1, max_size=3), st.integers(0, 12))
@run_settings(max_examples=examples(2_000, few=100))
def test_a_few_odd_times_among_plain_ones_are_what_each_is_by_its_form(
    odd: list[str | None], at: int
) -> None:
    plain = [f"2026-03-01T12:34:{second:02d}.5Z" for second in range(12)]
    texts = [*plain[:at], *odd, *plain[at:]]
    done = convert(pa.array(texts, pa.string()), TIMESTAMP)
    singly = [convert(pa.array([text], pa.string()), TIMESTAMP) for text in texts]
    assert done.values.to_pylist() == [each.values[0].as_py() for each in singly]
    assert done.errors == {row: each.errors[0] for row, each in enumerate(singly) if each.errors}
    assert done.values.type == TIMESTAMP


def test_only_the_odd_ones_among_plain_times_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    matches = pc.match_substring_regex

    def counted(column: pa.Array, pattern: str) -> pa.Array:
        looked_at.append(len(column))
        return matches(column, pattern)

    monkeypatch.setattr(pc, "match_substring_regex", counted)
    texts = ["2026-03-01T12:34:56.123456Z"] * 100
    texts[7], texts[70] = "2026-03-01T12:34:56.123456", "2026-03-01T12:34:56+01:00"
    done = convert(pa.array(texts), TIMESTAMP)
    assert 0 < max(looked_at) <= 2
    assert done.errors == {7: "naive_time"}
    assert done.values.null_count == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0x1F", pa.int64()),
        ("nan", pa.float64()),
        ("9007199254740993", pa.float64()),
        ("2026-03-01T12+01:00", TIMESTAMP),
    ],
)
def test_what_a_cast_accepts_and_a_contract_does_not_is_refused(
    text: str, wanted: pa.DataType
) -> None:
    assert isinstance(one(text, wanted), str)
