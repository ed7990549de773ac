"""Source files: odd ones have a defined reading, and those that are not what they claim are refused whole."""

import errno
import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.definitions.stream import Stream
from headrace.errors import SourceChangedError, SourceFileError
from headrace.ingest.sources import text_files
from headrace.ingest.sources.base import Position, SourcePartition
from headrace.ingest.sources.files import FileSource
from tests.ingest.factories import (
    CSV_HEADER,
    csv_line,
    json_line,
    make_stream,
    positions_of,
    write_things,
)

COMPLETE = {"files": "things/*.jsonl", "complete_files": True}


def put(data_dir: Path, name: str, content: bytes) -> None:
    (data_dir / "things").mkdir(exist_ok=True)
    (data_dir / "things" / name).write_bytes(content)


def records(
    stream: Stream, data_dir: Path, *, read_bytes: int = 4096, start: Position | None = None
) -> list[tuple[int, bytes]]:
    """Read everything as (offset, line), checking that positions lead on."""
    found: list[tuple[int, bytes]] = []
    source = FileSource(stream, data_dir=data_dir, read_bytes=read_bytes)
    taken = positions_of() if start is None else positions_of(a_jsonl=start)
    for split in source.look(taken).splits:
        offset, end = split.start.offset, split.start
        for batch in source.read(split, rows_per_commit=1000):
            assert batch.offsets.tolist() == list(range(offset, offset + batch.count))
            found += zip(batch.offsets.tolist(), batch.lines, strict=True)
            offset += batch.count
            end = batch.end
            assert end.offset == offset
        assert end.bytes == (data_dir / split.source).stat().st_size
    return found


@pytest.mark.parametrize("read_bytes", [1, 7, 4096])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\r\n{"b":2}\r\n', [b'{"a":1}', b'{"b":2}']),
        (b'\n\n{"a":1}\n \t\n\n{"b":2}\n\n \n', [b'{"a":1}', b'{"b":2}']),
        (b'\xef\xbb\xbf{"a":1}\n', [b'{"a":1}']),
        (b"", []),
        (b"\n \n", []),
    ],
    ids=["plain", "no last newline", "CRLF", "blank lines", "BOM", "empty", "only blanks"],
)
def test_a_newline_ends_a_record_and_blank_lines_are_none(
    tmp_path: Path, content: bytes, lines: list[bytes], read_bytes: int
) -> None:
    put(tmp_path, "a.jsonl", content)
    stream = make_stream("json", source=COMPLETE)
    assert records(stream, tmp_path, read_bytes=read_bytes) == list(enumerate(lines))


@pytest.mark.parametrize("read_bytes", [64, 4096])
def test_reading_goes_on_where_it_stopped_after_every_batch(
    tmp_path: Path, read_bytes: int
) -> None:
    lines = [json_line(id=f"{n}" * (n % 40)) for n in range(50)]
    put(tmp_path, "a.jsonl", b"\n\n".join(lines) + b"\n")
    stream = make_stream("json")
    whole = records(stream, tmp_path, read_bytes=read_bytes)
    assert whole == list(enumerate(lines))
    source = FileSource(stream, data_dir=tmp_path, read_bytes=read_bytes)
    (split,) = source.look(positions_of()).splits
    for batch in source.read(split, rows_per_commit=1000):
        rest = records(stream, tmp_path, read_bytes=read_bytes, start=batch.end)
        assert rest == whole[batch.end.offset :]
        counted = records(stream, tmp_path, start=Position(batch.end.offset))
        assert counted == whole[batch.end.offset :]


def test_a_record_of_any_length_is_read_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "RECORD_BYTES_MAX", 100)
    put(tmp_path, "a.jsonl", b'{"a":1}\n{' + b"x" * 5000 + b'\n{"b":2}\n')
    for read_bytes in (64, 256, 100_000):
        found = records(make_stream("json"), tmp_path, read_bytes=read_bytes)
        assert [(at, len(line)) for at, line in found] == [(0, 7), (1, 101), (2, 7)]


@pytest.mark.parametrize("beyond", [b"", b"y", b"y" * 20, b"\r" * 20])
def test_a_record_that_is_cut_at_a_carriage_return_is_still_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beyond: bytes
) -> None:
    monkeypatch.setattr(text_files, "RECORD_BYTES_MAX", 20)
    put(tmp_path, "a.jsonl", b"{" + b"x" * 19 + b"\r" + beyond + b"\n{}\r\n")
    for read_bytes in (*range(1, 50), 1000):
        found = records(make_stream("json"), tmp_path, read_bytes=read_bytes)
        assert [(at, len(line)) for at, line in found] == [(0, 21 if beyond else 20), (1, 2)]


def test_files_are_taken_by_name_and_unfinished_ones_left_alone(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "a0.jsonl", ".c.jsonl", "_d.jsonl", "e.jsonl.tmp"):
        put(tmp_path, name, json_line() + b"\n")
    source = FileSource(make_stream("json"), data_dir=tmp_path)
    names = ["things/a.jsonl", "things/a0.jsonl", "things/b.jsonl"]
    assert [split.source for split in source.look(positions_of()).splits] == names
    done = {SourcePartition(name): Position(1, len(json_line()) + 1) for name in names}
    assert source.look(lambda _: done).splits == ()


def refusal(format_: str, data_dir: Path) -> str:
    source = FileSource(make_stream(format_), data_dir=data_dir)
    (split,) = source.look(positions_of()).splits
    with pytest.raises(SourceFileError) as raised:
        list(source.read(split, rows_per_commit=10))
    assert raised.value.path == split.source
    return raised.value.detail


@pytest.mark.parametrize(
    ("format_", "content", "said"),
    [
        ("json", gzip.compress(json_line()), "it is gzip data, not JSON"),
        ("json", b"PAR1" + bytes(50), "it is a Parquet file, not JSON"),
        ("json", json_line().decode().encode("utf-16"), "it is UTF-16 text"),
        ("json", b"id,at\n1,2\n", "no line of its beginning is a JSON object"),
        ("json", b'{"a":"' + bytes(9) + b'"}', "it holds binary data"),
        ("csv", bytes(range(256)), "it holds binary data"),
        ("csv", b"id,n\na,1\n", "its header has no column `at`, which is required"),
        ("csv", b"id,at,id\n", "its header has `id` twice"),
        ("csv", csv_line() + b"\n", "its header has no column `id`"),
        ("csv", b'"id,at\n', "its first line is not a CSV header"),
        ("csv", b"id,at,\xff\n", "its first line is not a CSV header"),
        ("parquet", csv_line(), "it is not a readable Parquet file"),
        ("parquet", b"PAR1" + bytes(20) + b"PAR1", "it is not a readable Parquet file"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_refused_by_name(
    tmp_path: Path, format_: str, content: bytes, said: str
) -> None:
    suffix = {"json": "jsonl", "csv": "csv", "parquet": "parquet"}[format_]
    put(tmp_path, f"a.{suffix}", content)
    assert said in refusal(format_, tmp_path)


@pytest.mark.parametrize("format_", ["json", "csv", "parquet"])
def test_a_directory_and_a_dangling_link_are_refused_by_name(tmp_path: Path, format_: str) -> None:
    suffix = {"json": "jsonl", "csv": "csv", "parquet": "parquet"}[format_]
    (tmp_path / "things" / f"a.{suffix}").mkdir(parents=True)
    assert "it is not a file" in refusal(format_, tmp_path)
    (tmp_path / "things" / f"a.{suffix}").rmdir()
    (tmp_path / "things" / f"a.{suffix}").symlink_to("nowhere")
    assert "it is not a file" in refusal(format_, tmp_path)


def test_a_damaged_parquet_file_is_refused_before_its_first_row(tmp_path: Path) -> None:
    write_things(tmp_path, "a", ["good"] * 5000, format_="parquet")
    path = tmp_path / "things" / "a.parquet"
    table = pq.read_table(path)
    pq.write_table(
        table, path, row_group_size=1000, write_page_checksum=True, compression="none",
        use_dictionary=False,
    )  # fmt: skip
    whole = bytearray(path.read_bytes())
    whole[int(len(whole) * 0.7)] ^= 1
    path.write_bytes(whole)
    assert "not a readable Parquet file" in refusal("parquet", tmp_path)
    path.write_bytes(bytes(whole[: len(whole) // 2]))
    assert "not a readable Parquet file" in refusal("parquet", tmp_path)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([0], pa.date32()), "its column `n` is `date32[day]`, which cannot become `long`"),
        (pa.array([[1]]), "its column `n` is `list<element: int64>`, which cannot"),
    ],
)
def test_a_parquet_column_of_another_kind_refuses_the_file(
    tmp_path: Path, column: pa.Array, said: str
) -> None:
    put(tmp_path, "a.parquet", b"")
    at = pa.array([0], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"id": ["a"], "at": at, "n": column}), tmp_path / "things/a.parquet")
    assert said in refusal("parquet", tmp_path)
    naive = pa.array([0], pa.timestamp("us"))
    pq.write_table(pa.table({"id": ["a"], "at": naive}), tmp_path / "things/a.parquet")
    assert "its column `at` is `timestamp[us]`" in refusal("parquet", tmp_path)


def test_csv_columns_may_come_in_any_order_and_optional_ones_may_be_missing(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", b'\xef\xbb\xbfat,"id",other\n2019-11-24 10:00Z,a,1\n')
    source = FileSource(make_stream("csv"), data_dir=tmp_path)
    (batch,) = source.read(source.look(positions_of()).splits[0], rows_per_commit=10)
    assert batch.header == ("at", "id", "other")


def test_a_file_of_nothing_but_a_header_is_taken_once(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", CSV_HEADER + b"\n")
    source = FileSource(make_stream("csv"), data_dir=tmp_path)
    (batch,) = source.read(source.look(positions_of()).splits[0], rows_per_commit=10)
    assert batch.count == 0
    assert source.look(positions_of(a_csv=batch.end)).splits == ()


def test_a_file_that_lost_what_was_taken_is_refused(tmp_path: Path) -> None:
    lines = b"\n".join([json_line()] * 3)
    source = FileSource(make_stream("json"), data_dir=tmp_path)
    for content, taken in (
        (lines[:50], Position(3, len(lines))),  # shorter than what was taken
        (lines, Position(4)),  # fewer records than were taken
        (lines + b"x\n", Position(3, len(lines))),  # the last line went on
    ):
        put(tmp_path, "a.jsonl", content)
        (split,) = source.look(positions_of(a_jsonl=taken)).splits
        with pytest.raises(SourceChangedError) as raised:
            list(source.read(split, rows_per_commit=10))
        assert raised.value.path == "things/a.jsonl"


def test_a_parquet_file_that_changed_after_it_was_taken_is_refused(tmp_path: Path) -> None:
    write_things(tmp_path, "a", ["good"] * 3, format_="parquet")
    source = FileSource(make_stream("parquet"), data_dir=tmp_path)
    (split,) = source.look(positions_of(a_parquet=Position(3, 17))).splits
    with pytest.raises(SourceChangedError):
        list(source.read(split, rows_per_commit=10))


def test_an_unreadable_file_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.jsonl", json_line())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    # root, as which tests often run, reads every file: only a stand-in is refused everywhere
    monkeypatch.setattr(Path, "open", refuse)
    assert "it cannot be read (Permission denied)" in refusal("json", tmp_path)


def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FileSource(make_stream("json"), data_dir=tmp_path)
    (tmp_path / "things").mkdir()
    assert "no file below" in str(source.missing())
    # root, as which tests often run, reads every folder: only a stand-in is refused everywhere
    monkeypatch.setattr(os, "access", lambda folder, _: folder != tmp_path / "things")
    said = f"the folder `{tmp_path / 'things'}` may not be read by this process"
    assert source.missing() == said
    put(tmp_path, "a.jsonl", json_line())
    assert source.missing() is None
