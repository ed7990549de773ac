"""Every consumed record ends in exactly one of table and dead letters, whatever it holds."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.ingest.contract import check
from headrace.ingest.decoding.csv_lines import CsvDecoder
from headrace.ingest.decoding.decode import decode
from headrace.ingest.decoding.json_lines import JsonDecoder
from headrace.ingest.decoding.lines import LineDecoder
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.files import READ_BYTES, FileSource
from tests.amounts import examples
from tests.ingest.factories import (
    BAD,
    EXPECTED,
    FIELDS,
    audit,
    csv_line,
    dead_of,
    json_line,
    make_stream,
    positions_of,
    records_of,
    rows_of,
    write_things,
)

FORMATS = ["json", "csv", "parquet"]


@pytest.mark.parametrize(
    ("format_", "kind"), [(format_, kind) for format_ in FORMATS for kind in BAD[format_]]
)
def test_a_bad_record_is_refused_by_its_code_and_its_neighbours_are_kept(
    tmp_path_factory: pytest.TempPathFactory, format_: str, kind: str
) -> None:
    data_dir = tmp_path_factory.mktemp("kinds")
    codes = write_things(data_dir, "a", ["good", kind, "good"], format_=format_)
    stream = make_stream(format_)
    (records,) = _read(stream, data_dir)
    checked = check(decode(records, stream), stream)
    assert checked.index.tolist() == [0, 2]
    assert {at: violation.code for at, violation in checked.violations.items()} == codes
    for row in checked.rows.to_pylist():
        assert row | EXPECTED == row


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
@run_settings(
    max_examples=examples(10, few=5),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_rows_and_dead_letters_together_are_what_was_consumed(
    lake: Lake, format_: str, data: st.DataObject
) -> None:
    stream = make_stream(format_)
    kinds = data.draw(
        st.lists(st.sampled_from(["good", "good", *BAD[format_]]), min_size=1, max_size=30)
    )
    kinds.insert(data.draw(st.integers(0, len(kinds))), "good")
    rows_per_commit = data.draw(
        st.sampled_from([3, 1000])
    )  # drawn first: a draw may end the example
    name = f"{len(list(lake.settings.data_dir.glob('things/*'))):04}"
    codes = write_things(lake.settings.data_dir, name, kinds, format_=format_)
    result = ingest(lake, stream, rows_per_commit=rows_per_commit)

    assert (result.rows, result.dead_letters) == (len(kinds) - len(codes), len(codes))
    source = result.splits[0].source
    assert audit(lake, stream)[source] == len(kinds)
    dead = [row for row in dead_of(lake, stream).to_pylist() if row["_source"] == source]
    assert {row["_source_offset"]: row["error_code"] for row in dead} == codes
    rows = [row for row in rows_of(lake, stream).to_pylist() if row["_source"] == source]
    assert {row["id"] for row in rows} == {
        f"t{at}" for at, kind in enumerate(kinds) if kind == "good"
    }
    assert all(row | EXPECTED == row for row in rows)


def test_a_dead_letter_keeps_the_record_as_it_came(lake: Lake) -> None:
    for format_ in ("json", "csv"):
        stream = make_stream(format_, stream=f"things_{format_}", table=f"raw.things_{format_}")
        kinds = ["good", *BAD[format_]]
        write_things(lake.settings.data_dir, "a", kinds, format_=format_)
        ingest(lake, stream)
        for row in dead_of(lake, stream).to_pylist():
            assert row["raw"] == BAD[format_][kinds[row["_source_offset"]]][0]
            assert row["reason"]
            assert row["contract_version"] == 1


_SLIPS = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"NaN", b"1", b"-", b"e9", b".", b"\\", b" "]
    + [b"\\ud800", b"\xff", b"true", b"9" * 20, b"\r", b"\x00", b"\xef\xbb\xbf", b"\xe2\x82\xac"]
)  # fmt: skip


@st.composite
def _mangled(draw: st.DrawFn, good: bytes) -> bytes:
    line = bytearray(good)
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 4]))):
        at, width = draw(st.integers(0, len(line))), draw(st.sampled_from([0, 0, 1, 3]))
        line[at : at + width] = draw(_SLIPS)
    return bytes(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format_", "decoder"), [("json", JsonDecoder), ("csv", CsvDecoder)], ids=["json", "csv"]
)
@run_settings(max_examples=examples(200, few=60), deadline=None)
@given(data=st.data())
def test_whole_batches_and_single_records_are_judged_alike(
    format_: str, decoder: type[LineDecoder], data: st.DataObject
) -> None:
    stream = make_stream(format_)
    good = json_line(other={"x": [1]}) if format_ == "json" else csv_line() + b",other"
    header = (*FIELDS, "other") if format_ == "csv" else ()
    lines = data.draw(st.lists(_mangled(good), min_size=1, max_size=3))
    records = records_of(lines, header=header)
    at_once = check(decode(records, stream), stream)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "odd", lambda _, lines: range(len(lines)))
        one_by_one = check(decode(records, stream), stream)
    assert at_once.index.tolist() == one_by_one.index.tolist()
    assert at_once.rows.to_pylist() == one_by_one.rows.to_pylist()
    assert sorted([*at_once.index.tolist(), *at_once.violations]) == list(range(len(lines)))


def test_a_line_longer_than_a_block_is_a_dead_letter_and_its_neighbours_are_rows(
    lake: Lake,
) -> None:
    stream = make_stream("json")
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True)
    long = json_line(id="x" * (READ_BYTES + 100))
    lines = [json_line(id="before"), long, json_line(id="behind"), b""]
    (folder / "a.jsonl").write_bytes(b"\n".join(lines))
    done = ingest(lake, stream)
    assert (done.rows, done.dead_letters) == (2, 1)
    assert rows_of(lake, stream)["id"].to_pylist() == ["before", "behind"]
    (letter,) = dead_of(lake, stream).to_pylist()
    assert (letter["error_code"], letter["_source_offset"]) == ("too_long", 1)


def _read(stream: Stream, data_dir: Path) -> list[Records]:
    source = FileSource(stream, data_dir=data_dir)
    return [
        records
        for split in source.look(positions_of()).splits
        for records in source.read(split, rows_per_commit=1000)
    ]
