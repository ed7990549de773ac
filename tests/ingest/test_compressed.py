"""Compressed files, comments and skipped rows: the records of the plain file, with their offsets."""

import bz2
import gzip
import io
import random
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.errors import DraftError, SourceChangedError, SourceFileError
from headrace.ingest import dead_letters
from headrace.ingest.draft import text_of
from headrace.ingest.infer import draft_of
from headrace.ingest.open_batch import Committed, OpenBatch
from headrace.ingest.run import ingest
from headrace.ingest.sampling import sample_of
from headrace.ingest.sources import kept_text, whole_files
from headrace.ingest.sources.base import Position
from headrace.ingest.sources.compressed import plain_content
from headrace.ingest.sources.files import FileSource
from headrace.ingest.status import status
from tests.amounts import examples
from tests.raising import refused

pytestmark = pytest.mark.slow

SEED = 20


def zipped(content: bytes, *, beside: Mapping[str, bytes] | None = None) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/", b"")
        archive.writestr("data/things.csv", content)
        for name, other in (beside or {}).items():
            archive.writestr(name, other)
    return made.getvalue()


PACK: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "zstd": lambda content: pa.compress(content, "zstd", asbytes=True),
    "zip": zipped,
}


def contract(compression: str | None = "gzip", **changes: Any) -> Stream:  # noqa: ANN401
    source: dict[str, Any] = {"files": "things/*"}
    source |= {"complete_files": True} if compression is None else {"compression": compression}
    said: dict[str, Any] = {
        "stream": "things",
        "table": "raw.things",
        "source": source,
        "format": "csv",
        "event_time": "at",
        "known_at": {"after_event": "0s"},
        "fields": {
            "id": {"type": "long", "required": True},
            "at": {"type": "timestamptz", "required": True},
        },
    }
    return Stream.model_validate(said | changes)


def plain(count: int, *, bad: frozenset[int] = frozenset()) -> bytes:
    lines = [f"{'x' if n in bad else n},2026-03-01T00:00:{n % 60:02d}Z" for n in range(count)]
    return "\n".join(["id,at", *lines]).encode()


def land(lake: Lake, name: str, content: bytes) -> Path:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def blocks(lake: Lake, stream: Stream) -> FileSource:
    return FileSource(stream, data_dir=lake.settings.data_dir, read_bytes=1_000)


def rows(lake: Lake) -> list[tuple[int, int]]:
    found = lake.table("raw.things").head().to_arrow()
    return sorted(zip(found["_source_offset"].to_pylist(), found["id"].to_pylist(), strict=True))


@pytest.mark.parametrize("compression", PACK)
def test_every_record_has_the_offset_that_it_has_in_the_plain_file(
    lake: Lake, compression: str
) -> None:
    land(lake, "a", PACK[compression](plain(2_000, bad=frozenset({7}))))
    done = ingest(lake, contract(compression))
    assert (done.rows, done.dead_letters) == (1_999, 1)
    assert rows(lake) == [(n, n) for n in range(2_000) if n != 7]
    (letter,) = lake.table(dead_letters.TABLE).head().to_arrow().to_pylist()
    assert (letter["_source_offset"], letter["source_line"]) == (7, 9)
    assert ingest(lake, contract(compression)).commits == 0
    assert status(lake, contract(compression)).sources_waiting == ()


@pytest.mark.parametrize(
    ("layout", "room_bytes", "times"),
    [
        ("lines", 2**30, 1),
        ("documents", 2**30, 1),
        ("lines", 2_000, 3),  # to find damage, for records, and for the number of a line
        ("documents", 2_000, 4),
    ],
)
def test_a_file_is_decompressed_once_and_nothing_of_its_text_is_left_on_disk(
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    layout: str,
    room_bytes: int,
    times: int,
) -> None:
    """Unless the text has no room: then nothing of it is kept."""
    opened: list[Path] = []

    def counting(
        path: Path, compression: str | None, *, source: str
    ) -> AbstractContextManager[BinaryIO]:
        opened.append(path)
        return plain_content(path, compression, source=source)

    monkeypatch.setattr(whole_files, "plain_content", counting)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(kept_text, "_free_bytes", lambda _: room_bytes)
    (tmp_path / "temporary").mkdir()
    bad = b'{"id": "x", "at": "2026-03-01T00:00:00Z"}\n'  # its line number is counted from the text
    lines = [b'{"id": %d, "at": "2026-03-01T00:00:00Z"}\n' % n for n in range(2_000)]
    land(lake, "a", gzip.compress(b"".join([*lines, bad])))
    done = ingest(lake, contract(format="json", json={"layout": layout}))
    assert done.dead_letters == 1
    assert rows(lake) == [(n, n) for n in range(2_000)]
    (letter,) = lake.table(dead_letters.TABLE).head().to_arrow().to_pylist()
    assert letter["source_line"] == 2_001
    assert len(opened) == times
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_file_is_read_where_there_is_no_folder_to_keep_its_text_in(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    land(lake, "a", gzip.compress(plain(100)))
    ingest(lake, contract())
    assert rows(lake) == [(n, n) for n in range(100)]


@pytest.mark.parametrize("compression", PACK)
def test_a_run_that_ended_within_a_file_goes_on_at_its_record(
    lake: Lake, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = land(lake, "a", PACK[compression](plain(1_000)))
    stream = contract(compression)
    taken: list[int] = []
    real = OpenBatch.commit

    def once(self: OpenBatch, **given: Any) -> Committed:  # noqa: ANN401
        if taken:
            raise KeyboardInterrupt
        taken.append(self.rows)
        return real(self, **given)

    with monkeypatch.context() as patch:
        patch.setattr(OpenBatch, "commit", once)
        with pytest.raises(KeyboardInterrupt):
            ingest(lake, stream, rows_per_commit=100, source=blocks(lake, stream))
    assert 100 <= taken[0] < 1_000
    assert len(rows(lake)) == taken[0]
    assert len(status(lake, stream).sources_waiting) == 1
    before = path.read_bytes()
    path.write_bytes(PACK[compression](plain(1_001)))
    with refused(SourceChangedError, path="things/a"):  # half of it is taken
        ingest(lake, stream)
    path.write_bytes(before)
    ingest(lake, stream, rows_per_commit=100, source=blocks(lake, stream))
    assert rows(lake) == [(n, n) for n in range(1_000)]
    path.write_bytes(PACK[compression](plain(1_001)))
    with refused(SourceChangedError, path="things/a"):
        ingest(lake, stream)


@pytest.mark.parametrize("compression", PACK)
def test_a_file_that_is_cut_off_or_damaged_is_refused_before_its_first_row(
    lake: Lake, compression: str
) -> None:
    noise = random.Random(SEED)
    content = plain(3_000) + b"".join(b"\n%d,2026-03-01" % noise.getrandbits(60) for _ in range(99))
    whole = PACK[compression](content)
    path = land(lake, "a", whole[: len(whole) * 2 // 3])
    with refused(SourceFileError, path="things/a"):
        ingest(lake, contract(compression), rows_per_commit=100)
    assert rows(lake) == []
    path.write_bytes(whole)  # it was being written: no row of the part is there, so nothing changed
    assert ingest(lake, contract(compression)).rows == 3_000


def test_members_of_one_gzip_are_read_one_after_the_other(lake: Lake) -> None:
    whole = plain(100)
    land(lake, "a", gzip.compress(whole[:500]) + gzip.compress(whole[500:]))
    ingest(lake, contract())
    assert rows(lake) == [(n, n) for n in range(100)]


def test_zeros_behind_a_gzip_are_no_damage(lake: Lake) -> None:
    land(lake, "a", gzip.compress(plain(100)) + bytes(512))
    ingest(lake, contract())
    assert rows(lake) == [(n, n) for n in range(100)]


def test_an_archive_of_two_files_is_refused_by_their_names_and_what_systems_add_is_not_data(
    lake: Lake,
) -> None:
    extra = {"__MACOSX/._things.csv": b"x", "data/.DS_Store": b"y"}
    land(lake, "a", zipped(plain(10), beside=extra))
    assert ingest(lake, contract("zip")).rows == 10
    land(lake, "b", zipped(plain(10), beside={"more.csv": plain(5)}))
    with refused(SourceFileError, path="things/b") as caught:
        ingest(lake, contract("zip"))
    assert "more.csv" in caught.value.detail
    assert "data/things.csv" in caught.value.detail


@pytest.mark.parametrize(("declared", "is_"), [(None, "zstd"), ("gzip", "bz2"), ("zip", None)])
def test_another_compression_than_declared_is_named(
    lake: Lake, declared: str | None, is_: str | None
) -> None:
    land(lake, "a", plain(10) if is_ is None else PACK[is_](plain(10)))
    with refused(SourceFileError, path="things/a") as caught:
        ingest(lake, contract(declared))
    assert "compression: " in caught.value.detail
    assert (is_ or "plain") in caught.value.detail


def test_json_lines_may_be_compressed_and_parquet_files_are_inside(lake: Lake) -> None:
    lines = b"".join(b'{"id": %d, "at": "2026-03-01T00:00:00Z"}\n' % n for n in range(50))
    land(lake, "a", gzip.compress(lines))
    ingest(lake, contract(format="json"))
    assert rows(lake) == [(n, n) for n in range(50)]
    with pytest.raises(ValidationError):
        contract(format="parquet")


@pytest.mark.parametrize("compression", PACK)
def test_a_draft_says_how_files_are_compressed_and_takes_all_of_them(
    lake: Lake, compression: str
) -> None:
    path = land(lake, "a", PACK[compression](plain(20_000)))
    draft = draft_of(sample_of([path]), stream="things", table="raw.things", files="things/*")
    assert f"compression: {compression}" in text_of(draft)
    done = ingest(lake, Stream.model_validate(draft.declared()))
    assert (done.rows, done.dead_letters) == (20_000, 0)
    other = land(lake, "b", plain(5))
    with refused(DraftError, path=str(other)):
        sample_of([path, other])


TEXT = st.sampled_from(["", " ", "# note", "#1,2026-03-01T00:00:00Z", "1,2026-03-01T00:00:00Z"])


@settings(max_examples=examples(500, few=40), deadline=None)
@given(before=st.lists(TEXT, max_size=4), lines=st.lists(TEXT, max_size=12), data=st.data())
def test_comments_and_skipped_rows_are_counted_as_lines_and_are_no_records(
    before: list[str], lines: list[str], data: st.DataObject
) -> None:
    stream = contract(None, csv={"skip_rows": len(before), "comment": "#"})
    content = "\n".join([*before, "# the header follows", "id,at", *lines, ""])
    block = data.draw(st.integers(1, 40))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "things").mkdir()
        (Path(folder) / "things" / "a").write_text(content)
        source = FileSource(stream, data_dir=Path(folder), read_bytes=block)
        reader = source.open(lambda _: {}, rows_per_commit=10)
        found: list[tuple[int, bytes, int]] = []
        end = Position()
        while not reader.drained:
            batch = reader.poll(10, max_s=0)
            for part in () if batch is None else batch.parts:
                numbers = part.line_numbers.of(range(part.count)) if part.line_numbers else []
                found += zip(part.offsets.tolist(), part.lines, numbers, strict=True)
                end = part.end
    first = len(before) + 3
    wanted = [
        (line.encode(), at)
        for at, line in enumerate(lines, first)
        if line.strip() and not line.startswith("#")
    ]
    assert found == [(n, line, at) for n, (line, at) in enumerate(wanted)]
    assert end.bytes == len(content) or not content.strip()


def test_a_hash_within_a_line_is_part_of_it(lake: Lake) -> None:
    land(
        lake,
        "a",
        b"#made by hand\nid,at,color\n#1,2026-03-01T00:00:00Z,x\n2,2026-03-01T00:00:00Z,#ffcc95\n",
    )
    fields = contract().model_dump()["fields"]
    fields = {"id": {"type": "long"}, "at": {"type": "timestamptz"}, "color": {"type": "string"}}
    fields["at"]["required"] = True  # pyright: ignore[reportArgumentType]
    done = ingest(lake, contract(None, csv={"comment": "#"}, fields=fields))
    assert (done.rows, done.dead_letters) == (1, 0)
    assert lake.table("raw.things").head().to_arrow()["color"].to_pylist() == ["#ffcc95"]
