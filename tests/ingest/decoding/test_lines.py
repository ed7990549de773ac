"""A few malformed lines in a large batch: found exactly, and the others still decoded at once."""

import pytest

from headrace.ingest.decoding.csv_lines import CsvDecoder
from headrace.ingest.decoding.decode import decode
from headrace.ingest.decoding.decoded import MALFORMED, Violation
from headrace.ingest.decoding.json_lines import JsonDecoder
from headrace.ingest.decoding.lines import LineDecoder, Whole
from tests.ingest.factories import FIELDS, csv_line, json_line, make_stream, records_of

LINES = 5_000
BROKEN_AT = (0, 1_234, 4_999)
SINGLY_MAX = 20  # a broken line


@pytest.mark.parametrize(
    ("format_", "decoder"), [("json", JsonDecoder), ("csv", CsvDecoder)], ids=["json", "csv"]
)
def test_a_broken_line_sends_only_its_neighbours_the_slow_way(
    format_: str, decoder: type[LineDecoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_json = format_ == "json"
    lines = [json_line(id=f"t{at}") if is_json else csv_line(id=f"t{at}") for at in range(LINES)]
    for at in BROKEN_AT:
        lines[at] = b'{"id": "b" "at": 1}' if is_json else b'"b,2019'
    singly: list[bytes] = []
    one = decoder.one

    def counted(self: LineDecoder, line: bytes) -> dict[str, object] | Violation:
        singly.append(line)
        return one(self, line)

    monkeypatch.setattr(decoder, "one", counted)
    header = () if is_json else tuple(FIELDS)
    records = records_of(lines, header=header)
    decoded = decode(records, make_stream(format_))

    assert set(decoded.violations) == set(BROKEN_AT)
    assert {violation.code for violation in decoded.violations.values()} == {MALFORMED}
    assert decoded.index.tolist() == [at for at in range(LINES) if at not in BROKEN_AT]
    assert decoded.columns["id"].to_pylist() == [f"t{at}" for at in decoded.index.tolist()]
    assert len(singly) <= SINGLY_MAX * len(BROKEN_AT)


def test_a_byte_order_mark_within_a_file_stays_in_its_value_wherever_a_batch_begins() -> None:
    lines = [csv_line(id=f"\ufeff{at}") for at in range(3)]
    for at in range(3):
        records = records_of(lines[at:], first=at, header=tuple(FIELDS))
        decoded = decode(records, make_stream("csv"))
        assert decoded.columns["id"].to_pylist() == [f"\ufeff{n}" for n in range(at, 3)]


def test_a_few_bad_lines_cost_few_lines_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    whole = JsonDecoder.whole

    def counted(self: JsonDecoder, text: bytes, count: int) -> Whole | int | None:
        parsed.append(count)
        return whole(self, text, count)

    monkeypatch.setattr(JsonDecoder, "whole", counted)
    lines = [json_line(id=f"{at}", n="wrong" if at % 500 == 7 else at) for at in range(10_000)]
    decoded = JsonDecoder(make_stream("json")).decode(lines)
    assert sorted(decoded.violations) == list(range(7, 10_000, 500))
    assert decoded.index.tolist() == [at for at in range(10_000) if at % 500 != 7]
    assert sum(parsed) <= 11_200  # a probe that fails, and the good ones


KINDS = {
    "other type": lambda: json_line(n="wrong"),
    "too large": lambda: json_line(n=10**30),
    "repeated": lambda: json_line(id="x")[:-1] + b', "id": "y"}',
    "cut off": lambda: json_line(id="x")[:-5] + b"}",
    "no JSON": lambda: b"nonsense",
}


@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), list(KINDS)])
def test_one_bad_line_in_a_hundred_costs_no_second_parse_of_the_others(
    kinds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    whole = JsonDecoder.whole

    def counted(self: JsonDecoder, text: bytes, count: int) -> Whole | int | None:
        done = whole(self, text, count)
        # what a failure that names its line read; one that does not has read everything
        parsed.append(done if isinstance(done, int) else count)
        return done

    monkeypatch.setattr(JsonDecoder, "whole", counted)
    lines = [json_line(id=f"{at}") for at in range(20_000)]
    bad = list(range(7, 20_000, 100))
    for number, at in enumerate(bad):
        lines[at] = KINDS[kinds[number % len(kinds)]]()
    decoded = JsonDecoder(make_stream("json")).decode(lines)
    assert sorted(decoded.violations) == bad
    assert decoded.index.tolist() == [at for at in range(20_000) if at % 100 != 7]
    assert sum(parsed) < 1.1 * len(lines)
    assert len(parsed) <= 4
