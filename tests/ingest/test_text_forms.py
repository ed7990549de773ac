"""Text files of every declared form hold what was written: quoted newlines, wide encodings, signs, documents."""

import csv
import datetime as dt
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.errors import SourceFileError
from headrace.ingest import dead_letters
from headrace.ingest.contract import check
from headrace.ingest.decoding import lines as line_decoding
from headrace.ingest.decoding.decode import decode
from headrace.ingest.draft import text_of
from headrace.ingest.infer import draft_of
from headrace.ingest.run import ingest
from headrace.ingest.sampling import sample_of
from headrace.ingest.sources import quoted_records, whole_files
from headrace.ingest.sources.files import FileSource
from tests.amounts import examples
from tests.ingest.test_compressed import PACK
from tests.raising import refused

AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
FIELDS: dict[str, Any] = {
    "n": {"type": "long"},
    "text": {"type": "string"},
    "price": {"type": "decimal(12,2)"},
    "at": {"type": "timestamptz", "required": True},
}


def contract(**changes: Any) -> Stream:  # noqa: ANN401
    said: dict[str, Any] = {
        "stream": "things",
        "table": "raw.things",
        "source": {"files": "things/*", "complete_files": True},
        "format": "csv",
        "event_time": "at",
        "known_at": {"after_event": "0s"},
        "fields": FIELDS,
    }
    return Stream.model_validate(said | changes)


def land(lake: Lake, name: str, content: bytes) -> Path:
    path = lake.settings.data_dir / "things" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def rows(lake: Lake) -> list[dict[str, Any]]:
    return lake.table("raw.things").head().to_arrow().sort_by("_source_offset").to_pylist()


def letters(lake: Lake) -> list[dict[str, Any]]:
    found = lake.table(dead_letters.TABLE).head().to_arrow()
    return found.sort_by("_source_offset").to_pylist()


def read(content: bytes, stream: Stream, *, block: int) -> tuple[pa.Table, list[int]]:
    """Read one file as ingestion does, in blocks of some size: rows, and the line of each."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "things").mkdir()
        (Path(folder) / "things" / "a").write_bytes(content)
        source = FileSource(stream, data_dir=Path(folder), read_bytes=block)
        reader = source.open(lambda _: {}, rows_per_commit=10)
        tables, numbers, offset = list[pa.Table](), list[int](), 0
        while not reader.drained:
            batch = reader.poll(10, max_s=0)
            for part in () if batch is None else batch.parts:
                assert part.offsets.tolist() == list(range(offset, offset + part.count))
                offset += part.count
                done = check(decode(part, stream), stream)
                assert done.violations == {}
                tables.append(done.rows)
                assert part.line_numbers is not None or not part.count
                numbers += part.line_numbers.of(range(part.count)) if part.line_numbers else []
    schema = stream.table_schema()
    empty = pa.table({name: pa.nulls(0, schema.field(name).type) for name in ("n", "text")})
    return pa.concat_tables(tables) if tables else empty, numbers


LETTERS = st.text(st.sampled_from('ab ,;\t"\n\r#é0.'), max_size=8)
ENCODINGS = ("utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-be", "utf-32", "cp500")


def signed(number: Decimal, decimal: str, thousands: str) -> str:
    return f"{number:,}".replace(",", "T").replace(".", decimal).replace("T", thousands)


@pytest.mark.slow
@given(
    records=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            LETTERS,
            st.decimals(-(10**9), 10**9, places=2),
        ),
        max_size=6,
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(ENCODINGS),
    header=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    ends=st.sampled_from(["\n", "\r\n"]),
    signs=st.sampled_from([(".", ""), (",", "."), (".", ","), (",", " "), (",", "\u00a0")]),
    null=st.sampled_from(["", "NULL"]),
    whole=st.sampled_from(["", ".0", ".00"]),
    block=st.integers(1, 60),
)
@settings(max_examples=examples(1_000, few=25))
def test_csv_files_hold_what_was_written_with_any_options(
    records: list[tuple[int, str, Decimal]],
    delimiter: str,
    encoding: str,
    header: bool,
    quoting: Any,  # noqa: ANN401
    ends: str,
    signs: tuple[str, str],
    null: str,
    whole: str,
    block: int,
) -> None:
    if ends == "\n" and quoting != csv.QUOTE_ALL:  # Python then writes it without quotes
        records = [(n, text.replace("\r", ""), price) for n, text, price in records]
    decimal, thousands = signs
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, lineterminator=ends, quoting=quoting)
    if header:
        writer.writerow(FIELDS)
    lines = []
    for n, text, price in records:
        lines.append(1 + written.getvalue().count("\n"))
        numbers = (f"{n}{whole.replace('.', decimal)}", signed(price, decimal, thousands))
        writer.writerow((numbers[0], text or null, numbers[1], AT.isoformat()))
    form = {
        "delimiter": delimiter,
        "encoding": encoding,
        "header": header,
        "quoted_newlines": True,
        "decimal": decimal,
        "thousands": thousands,
        "null_values": [null] if null else [],
    }
    content = written.getvalue().encode(encoding)
    found, numbers = read(content, contract(csv=form), block=block)
    expected = [(n, None if text in ("", null) else text, price) for n, text, price in records]
    columns = [found[name].to_pylist() for name in ("n", "text", "price")] if records else []
    assert list(zip(*columns, strict=True)) == expected
    assert numbers == lines


PLAIN = st.text(st.sampled_from("ab é0.~"), max_size=6)


@pytest.mark.slow
@given(
    records=st.lists(st.tuples(st.integers(-9, 10**12), PLAIN), max_size=6),
    order=st.permutations(["n", "text", "at"]),
    delimiter=st.sampled_from([",", "|", "::", "<->"]),
    quote=st.booleans(),
    header=st.booleans(),
    null=st.sampled_from(["", "NULL", "-"]),
    before=st.lists(st.sampled_from(["", "made by hand", "# a", '"']), max_size=3),
    remarks=st.booleans(),
    compression=st.sampled_from([None, *PACK]),
    block=st.integers(1, 60),
)
@settings(max_examples=examples(1_000, few=25))
def test_lines_around_records_their_order_and_compression_change_no_record(
    records: list[tuple[int, str]],
    order: list[str],
    delimiter: str,
    quote: bool,
    header: bool,
    null: str,
    before: list[str],
    remarks: bool,
    compression: str | None,
    block: int,
) -> None:
    quote = quote and len(delimiter) == 1
    lines = list(before)
    lines += ["# what follows is data"] if remarks else []
    lines += [delimiter.join(order)] if header else []
    first = len(lines) + 1
    for n, text in records:
        values = {"n": str(n), "text": text or null, "at": AT.isoformat()}
        line = [f'"{value}"' if quote and value else value for value in map(values.get, order)]
        lines += [delimiter.join(str(value) for value in line)]
        lines += ["#"] if remarks else []
    content = "".join(f"{line}\n" for line in lines).encode()
    form = {
        "delimiter": delimiter,
        "quote": quote,
        "header": header,
        "columns": [] if header else order,
        "null_values": [null] if null else [],
        "skip_rows": len(before),
        "comment": "#" if remarks else "",
    }
    source: dict[str, Any] = {"files": "things/*", "complete_files": True}
    if compression is not None:
        source, content = (
            {"files": "things/*", "compression": compression},
            PACK[compression](content),
        )
    fields = {name: FIELDS[name] for name in ("n", "text", "at")}
    found, numbers = read(content, contract(csv=form, source=source, fields=fields), block=block)
    texts = found["text"].to_pylist() if len(found) else []
    expected = [None if text in ("", null) else text for _, text in records]
    assert (found["n"].to_pylist() if len(found) else [], texts) == (
        [n for n, _ in records],
        expected,
    )
    assert numbers == [first + at * (2 if remarks else 1) for at in range(len(records))]


JSON_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@pytest.mark.slow
@given(
    records=st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.one_of(st.none(), JSON_TEXT)), max_size=8
    ),
    indent=st.sampled_from([None, 0, 1, 4, "\t"]),
    is_array=st.booleans(),
    ascii_only=st.booleans(),
    ends=st.sampled_from(["\n", "\r\n"]),
    block=st.integers(1, 50),
)
@settings(max_examples=examples(1_000, few=25))
def test_json_documents_hold_what_was_written_with_any_options(
    records: list[tuple[int, str | None]],
    indent: int | str | None,
    is_array: bool,
    ascii_only: bool,
    ends: str,
    block: int,
) -> None:
    made = [{"n": n, "text": text, "x": [{"a": "}"}], "at": AT.isoformat()} for n, text in records]
    parts = made if not is_array else [made]
    text = ends.join(json.dumps(each, indent=indent, ensure_ascii=ascii_only) for each in parts)
    if indent is not None:
        text = text.replace("\n", ends)
    stream = contract(format="json", json={"layout": "documents"})
    found, numbers = read(text.encode(), stream, block=block)
    assert list(zip(found["n"].to_pylist(), found["text"].to_pylist(), strict=True)) == records
    assert numbers == sorted(numbers)
    assert len(numbers) == len(records)


def test_a_record_of_several_lines_is_one_and_a_stray_quote_swallows_no_other(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quoted_records, "RECORD_BYTES_MAX", 1_000)
    lines = ["n,text,at", '1,"two', 'lines",2026-03-01T00:00:00Z', '2,"stray,2026-03-01T00:00:00Z']
    lines += [f"{n},plain,2026-03-01T00:00:00Z" for n in range(3, 200)]
    land(lake, "a", "\n".join(lines).encode())
    fields = {name: FIELDS[name] for name in ("n", "text", "at")}
    done = ingest(lake, contract(csv={"quoted_newlines": True}, fields=fields))
    assert (done.rows, done.dead_letters) == (198, 1)
    assert rows(lake)[0]["text"] == "two\nlines"
    (letter,) = letters(lake)
    assert (letter["error_code"], letter["source_line"]) == ("malformed", 4)
    assert letter["raw"] == lines[3].encode()
    assert len("\n".join(lines)) > 2_000


def test_a_quoted_record_that_is_cut_at_a_carriage_return_is_too_long(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_files, "RECORD_BYTES_MAX", 100)
    monkeypatch.setattr(line_decoding, "RECORD_BYTES_MAX", 100)
    begin = "1,2026-03-01T00:00:00Z,"
    text = begin + "x" * (100 - len(begin)) + "\rmore"
    land(lake, "a", f"n,at,text\n{text}\n2,2026-03-01T00:00:00Z,y\r\n".encode())
    fields = {name: FIELDS[name] for name in ("n", "text", "at")}
    done = ingest(lake, contract(csv={"quoted_newlines": True}, fields=fields))
    assert (done.rows, done.reasons) == (1, {"too_long": 1})


def test_half_of_a_character_refuses_its_record_and_a_file_that_ends_in_one_is_refused(
    lake: Lake,
) -> None:
    good = "n,text,at\n1,x\U0001f600,2026-03-01T00:00:00Z\n".encode("utf-16")
    bad = "2,".encode("utf-16-le") + b"\x3d\xd8" + ",2026-03-01T00:00:00Z\n".encode("utf-16-le")
    path = land(lake, "a", good + bad + b"\x33")
    fields = {name: FIELDS[name] for name in ("n", "text", "at")}
    stream = contract(csv={"encoding": "utf-16"}, fields=fields)
    with refused(SourceFileError, path="things/a"):
        ingest(lake, stream)
    path.write_bytes(good + bad)
    done = ingest(lake, stream)
    assert (done.rows, done.reasons) == (1, {"invalid_utf8": 1})
    assert rows(lake)[0]["text"] == "x\U0001f600"


BROKEN: Mapping[str, tuple[str, str]] = {
    "cut off": ('[{"n": 1, "at": "x"}, {"n"', "cut off"),
    "cut off between": ('[{"n": 1, "at": "x"},', "cut off"),
    "a text over two lines": ('{"n": "a\nb"}', "does not end on its line"),
    "no comma": ('[{"n": 1} {"n": 2}]', "`,` or `]`"),
    "no object": ("[1, 2]", "where a record begins"),
    "more behind": ('[{"n": 1}] x', "behind the last record"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_of_documents_that_is_cut_off_or_holds_something_else_is_refused_whole(
    lake: Lake, kind: str
) -> None:
    text, why = BROKEN[kind]
    land(lake, "a", text.encode())
    with refused(SourceFileError, path="things/a") as caught:
        ingest(lake, contract(format="json", json={"layout": "documents"}))
    assert why in caught.value.detail
    assert rows(lake) == []


def test_documents_may_begin_with_a_byte_order_mark(lake: Lake) -> None:
    text = json.dumps([{"n": 1, "at": AT.isoformat()}, {"n": 2, "at": AT.isoformat()}], indent=1)
    land(lake, "a", b"\xef\xbb\xbf" + text.encode())
    assert ingest(lake, contract(format="json", json={"layout": "documents"})).rows == 2


def test_a_record_that_is_wrong_in_itself_is_a_dead_letter_and_the_others_are_rows(
    lake: Lake,
) -> None:
    good = json.dumps({"n": 1, "at": AT.isoformat()}, indent=1)
    land(lake, "a", f'[{good},\n{{"n": tru}},\n{{"n": 2}},\n{good}]'.encode())
    done = ingest(lake, contract(format="json", json={"layout": "documents"}))
    assert (done.rows, done.reasons) == (2, {"malformed": 1, "missing_required `at`": 1})
    assert [each["source_line"] for each in letters(lake)] == [5, 6]


def named(**form: str) -> dict[str, Any]:
    fields = {name: FIELDS[name] for name in ("text", "at")}
    return {"csv": form, "fields": fields | {"name": {"type": "string", "required": True}}}


OTHER_FORMS: Mapping[str, tuple[bytes, dict[str, Any], str]] = {
    "delimiter": (b"name;at\n", named(), 'delimiter: ";"'),
    "another delimiter": (b"name,at\n", named(delimiter="|"), 'delimiter: ","'),
    "encoding": ("größe,at\n".encode("latin-1"), named(), "declare its `csv: {encoding: …}`"),
    "UTF-16": ("name,at\n".encode("utf-16"), named(), "encoding: utf-16}"),
    "UTF-16 without a mark": ("name,at\n".encode("utf-16-be"), named(), "encoding: utf-16-be}"),
    "no UTF-16": (b"name,at\n", named(encoding="utf-16"), "no zero byte"),
    "documents": (b'[\n {"at": "x"}\n]', {"format": "json"}, "layout: documents"),
    "a printed object": (b'{\n "at": "x"\n}\n', {"format": "json"}, "layout: documents"),
    "gzip": (b"\x1f\x8b\x08\x00", {"format": "json"}, "compression: gzip"),
}


@pytest.mark.parametrize("kind", OTHER_FORMS)
def test_a_file_of_another_form_is_refused_with_what_to_declare(lake: Lake, kind: str) -> None:
    content, changes, hint = OTHER_FORMS[kind]
    land(lake, "a", content)
    with refused(SourceFileError, path="things/a") as caught:
        ingest(lake, contract(**changes))
    assert hint in caught.value.detail


def test_signs_that_are_not_declared_are_dead_letters(lake: Lake) -> None:
    texts = ["1.234,5", "1,23", "1.234", "12.34", "1,2,3", "1.23,5", "1.234.567"]
    lines = [f"1;x;{text};{AT.isoformat()}" for text in texts]
    land(lake, "a", "\n".join(["n;text;price;at", *lines]).encode())
    form = {"delimiter": ";", "decimal": ",", "thousands": "."}
    ingest(lake, contract(csv=form))
    taken = [row["price"] for row in rows(lake)]
    assert taken == [Decimal("1234.50"), Decimal("1.23"), Decimal(1234), Decimal(1234567)]
    assert [each["error_code"] for each in letters(lake)] == ["wrong_type"] * 3


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_a_whole_number_may_have_zeros_behind_its_point(lake: Lake, format_: str) -> None:
    texts = ["7.0", "-3.00", "9007199254740993.0", "7.5", "1e3"]
    lines = [
        f"{text},{AT.isoformat()}"
        if format_ == "csv"
        else f'{{"n": {text}, "at": "{AT.isoformat()}"}}'
        for text in texts
    ]
    land(lake, "a", "\n".join((["n,at"] if format_ == "csv" else []) + lines).encode())
    done = ingest(lake, contract(format=format_))
    assert done.reasons == {"wrong_type `n`": 2}
    assert [row["n"] for row in rows(lake)] == [7, -3, 9007199254740993]


def drafted(lake: Lake, content: bytes) -> dict[str, Any]:
    """Draft a contract of one file, and ingest that by it: every record must be a row."""
    path = land(lake, "a", content)
    draft = draft_of(sample_of([path]), stream="things", table="raw.things", files="things/*")
    assert ingest(lake, Stream.model_validate(draft.declared())).dead_letters == 0
    return draft.declared() | {"text": text_of(draft)}


def table_of(lines: Sequence[str], *, encoding: str = "utf-8") -> bytes:
    return "\n".join(["id;amount;note;at", *lines]).encode(encoding)


DRAFTS: Mapping[str, tuple[bytes, Callable[[dict[str, Any]], bool], int]] = {
    "UTF-16": (
        table_of([f"{n};1;é;2026-03-01T00:00:00Z" for n in range(300)], encoding="utf-16"),
        lambda said: said["csv"] == {"delimiter": ";", "encoding": "utf-16"},
        300,
    ),
    "quoted newlines": (
        table_of([f'{n};1;"a{n}\n\nb;""c""";2026-03-01T00:00:00Z' for n in range(300)]),
        lambda said: said["csv"]["quoted_newlines"],
        300,
    ),
    "a decimal comma": (
        table_of([f"{n};{n},5;x;2026-03-01T00:00:00Z" for n in range(300)]),
        lambda said: said["csv"]["decimal"] == "," and said["fields"]["amount"]["type"] == "double",
        300,
    ),
    "thousands": (
        table_of(["1;1.234,5;x;2026-03-01T00:00:00Z", "2;7,25;y;2026-03-01T00:00:00Z"]),
        lambda said: (said["csv"]["decimal"], said["csv"]["thousands"]) == (",", "."),
        2,
    ),
    "signs of two readings": (
        table_of(["1;1,234;x;2026-03-01T00:00:00Z", "2;7,250;y;2026-03-01T00:00:00Z"]),
        lambda said: said["fields"]["amount"]["type"] == "string" and "decimal" in said["text"],
        2,
    ),
    "a printed array": (
        json.dumps([{"id": n, "at": AT.isoformat()} for n in range(300)], indent=2).encode(),
        lambda said: said["json"] == {"layout": "documents"},
        300,
    ),
    "printed objects": (
        b"\n".join(
            json.dumps({"id": n, "at": AT.isoformat()}, indent=2).encode() for n in range(30)
        ),
        lambda said: said["json"] == {"layout": "documents"},
        30,
    ),
}


@pytest.mark.parametrize("kind", DRAFTS)
def test_a_draft_declares_the_form_and_takes_every_record(lake: Lake, kind: str) -> None:
    content, expected, count = DRAFTS[kind]
    said = drafted(lake, content)
    assert expected(said), said
    assert len(rows(lake)) == count
