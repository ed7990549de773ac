"""Files that change between runs: what was taken stays true to them, or the change is refused by name."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.errors import SourceChangedError, SourceFileError
from headrace.ingest import positions
from headrace.ingest.run import ingest
from headrace.ingest.sources import file_state
from headrace.ingest.sources.base import Position, SourcePartition
from headrace.ingest.sources.files import FileSource
from headrace.ingest.sources.fingerprint import Fingerprint
from headrace.ingest.status import status
from tests.amounts import examples
from tests.ingest.factories import audit, make_stream, rows_of

AT = "2019-11-24T10:00:00Z"
STREAMS = {
    format_: make_stream(
        format_,
        fields={"id": {"type": "string"}, "at": {"type": "timestamptz", "required": True}},
        key=None,
        source={"files": f"*.{format_}"},
    )
    for format_ in ("csv", "json", "parquet")
}


def csv_of(*ids: str, header: str = "id,at") -> bytes:
    return b"".join(f"{line}\n".encode() for line in (header, *(f"{each},{AT}" for each in ids)))


def json_of(*ids: str) -> bytes:
    return b"".join(f'{{"id": "{each}", "at": "{AT}"}}\n'.encode() for each in ids)


def parquet_of(*ids: str) -> bytes:
    sink = pa.BufferOutputStream()
    at = pa.array([0] * len(ids), pa.timestamp("us", tz="UTC"))
    # without encodings, so that texts of one length make files of one length
    pq.write_table(
        pa.table({"id": list(ids), "at": at}), sink, compression="none", use_dictionary=False
    )
    return sink.getvalue().to_pybytes()


WRITE: dict[str, Callable[..., bytes]] = {"csv": csv_of, "json": json_of, "parquet": parquet_of}


def land(lake: Lake, name: str, content: bytes) -> Path:
    lake.settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = lake.settings.data_dir / name
    path.write_bytes(content)
    return path


def ids_of(lake: Lake, format_: str) -> list[str]:
    return sorted(rows_of(lake, STREAMS[format_])["id"].to_pylist())


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_a_last_line_waits_for_its_newline(lake: Lake, format_: str) -> None:
    stream, whole = STREAMS[format_], WRITE[format_]("one", "two", "three")
    half = whole.index(b"wo")
    land(lake, f"a.{format_}", whole[:half])
    assert status(lake, stream).sources_waiting == (f"a.{format_}",)
    assert ingest(lake, stream).rows == 1
    said = status(lake, stream)
    assert (said.sources_waiting, said.sources_unfinished) == ((), (f"a.{format_}",))
    assert ingest(lake, stream).commits == 0
    land(lake, f"a.{format_}", whole)
    assert ingest(lake, stream).rows == 2
    assert ids_of(lake, format_) == ["one", "three", "two"]
    assert status(lake, stream).sources_unfinished == ()
    assert audit(lake, stream) == {f"a.{format_}": 3}


@pytest.mark.parametrize("part", ["i", "id,a", "\n\nid,at"])
def test_half_a_header_waits_too(lake: Lake, part: str) -> None:
    land(lake, "a.csv", part.encode())
    assert ingest(lake, STREAMS["csv"]).commits == 0
    land(lake, "a.csv", csv_of("one"))
    assert ingest(lake, STREAMS["csv"]).rows == 1


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_files_that_are_complete_when_they_appear_need_no_last_newline(
    lake: Lake, format_: str
) -> None:
    complete = {"files": f"*.{format_}", "complete_files": True}
    stream = STREAMS[format_].model_copy(
        update={"source": type(STREAMS[format_].source).model_validate(complete)}
    )
    content = WRITE[format_]("one", "two").removesuffix(b"\n")
    path = land(lake, f"a.{format_}", content)
    assert ingest(lake, stream).rows == 2
    assert status(lake, stream).sources_unfinished == ()
    path.write_bytes(content + b"\n")
    assert ingest(lake, stream).rows == 0
    path.write_bytes(content + b"x\n")
    with pytest.raises(SourceChangedError):
        ingest(lake, stream)


CHANGES: dict[str, Callable[[Callable[..., bytes]], bytes]] = {
    "of equal size": lambda of: of("six", "ten"),
    "of equal lines, and one more": lambda of: of("six", "ten", "new"),
    "longer": lambda of: of("another", "content", "altogether"),
    "with one edited value": lambda of: of("one", "twa"),
    "shorter": lambda of: of("one"),
    "empty": lambda _: b"",
    "with another record before": lambda of: of("new", "one", "two"),
    "with a reordered header": lambda of: of("one", "two").replace(b"id,at", b"at,id"),
}


@pytest.mark.parametrize("change", [*CHANGES])
@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_a_file_that_is_not_what_was_taken_is_refused_by_name(
    lake: Lake, format_: str, change: str
) -> None:
    before, after = WRITE[format_]("one", "two"), CHANGES[change](WRITE[format_])
    if before == after:  # only CSV has a header
        return
    path = land(lake, f"a.{format_}", before)
    taken = taken_of(format_, lake.settings.data_dir)
    path.write_bytes(after)
    (split,) = source_of(format_, lake.settings.data_dir).look(lambda _: taken).splits
    with pytest.raises(SourceChangedError) as raised:
        list(source_of(format_, lake.settings.data_dir).read(split, rows_per_commit=10))
    assert raised.value.path == f"a.{format_}"


def source_of(format_: str, data_dir: Path, *, read_bytes: int = 4096) -> FileSource:
    return FileSource(STREAMS[format_], data_dir=data_dir, read_bytes=read_bytes)


def taken_of(format_: str, data_dir: Path) -> dict[SourcePartition, Position]:
    """Take all there is, and tell how far that was."""
    source = source_of(format_, data_dir)
    return {
        split.partition: list(source.read(split, rows_per_commit=10))[-1].end
        for split in source.look(lambda _: {}).splits
    }


def test_a_refused_change_leaves_the_table_as_it_was_and_ends_when_it_is_undone(lake: Lake) -> None:
    stream = STREAMS["csv"]
    path = land(lake, "a.csv", csv_of("one", "two"))
    ingest(lake, stream)
    before = lake.table(stream.table).head().metadata_location
    path.write_bytes(csv_of("six", "ten", "new"))
    assert status(lake, stream).sources_waiting == ("a.csv",)
    with pytest.raises(SourceChangedError):
        ingest(lake, stream)
    assert lake.table(stream.table).head().metadata_location == before
    path.write_bytes(csv_of("one", "two", "new"))
    assert ingest(lake, stream).rows == 1
    assert ids_of(lake, "csv") == ["new", "one", "two"]


def test_the_same_bytes_by_another_inode_or_time_are_nothing_new(lake: Lake) -> None:
    for format_, write in WRITE.items():
        stream, path = STREAMS[format_], land(lake, f"a.{format_}", write("one", "two"))
        ingest(lake, stream)
        shutil.copy(path, lake.settings.data_dir / "copy")
        (lake.settings.data_dir / "copy").replace(path)
        os.utime(path, (1, 1))
        assert status(lake, stream).sources_waiting == ()
        assert ingest(lake, stream).commits == 0


def test_a_parquet_file_that_is_written_to_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet_of(*map(str, range(100_000))))
    source = source_of("parquet", tmp_path)
    (split,) = source.look(lambda _: {}).splits
    batches = source.read(split, rows_per_commit=200_000)
    next(batches)
    with path.open("ab") as handle:
        handle.write(b"more")
    with pytest.raises(SourceChangedError):
        list(batches)


def test_what_is_settled_is_not_read_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = STREAMS["json"]
    monkeypatch.setattr(positions, "OPEN_MAX", 1)
    monkeypatch.setattr(file_state, "SETTLED_NS", 10**18)  # too young to tell
    for name in "abc":
        land(lake, f"{name}.json", json_of(name))
    ingest(lake, stream)
    reads: list[int] = []
    monkeypatch.setattr(file_state.Fingerprint, "of", staticmethod(_spied(reads)))
    assert status(lake, stream).sources_waiting == ()
    assert len(reads) == 3
    taken = taken_of("json", lake.settings.data_dir)
    look = source_of("json", lake.settings.data_dir).look(lambda _: taken)
    assert (look.splits, look.unchanged) == ((), {})  # nothing that the next look could believe
    monkeypatch.setattr(file_state, "SETTLED_NS", -(10**18))  # old enough
    assert ingest(lake, stream).commits == 0  # and the sealed two are remembered
    reads.clear()
    assert status(lake, stream).sources_waiting == ()
    assert len(reads) == 1
    os.utime(lake.settings.data_dir / "a.json", (1, 1))
    assert status(lake, stream).sources_waiting == ()
    assert len(reads) == 3


def test_what_was_settled_before_a_commit_is_not_read_again_after_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = STREAMS["json"]
    monkeypatch.setattr(file_state, "SETTLED_NS", 10**18)
    for name in "abc":
        land(lake, f"{name}.json", json_of(name))
    ingest(lake, stream)
    monkeypatch.setattr(file_state, "SETTLED_NS", -(10**18))
    land(lake, "d.json", json_of("d"))
    assert ingest(lake, stream).rows == 1
    reads: list[int] = []
    monkeypatch.setattr(file_state.Fingerprint, "of", staticmethod(_spied(reads)))
    assert status(lake, stream).sources_waiting == ()
    assert reads == []


def _spied(reads: list[int]) -> Callable[..., Fingerprint]:
    real = Fingerprint.of

    def of(handle: object, size: int) -> Fingerprint:
        reads.append(size)
        return real(handle, size)  # pyright: ignore[reportArgumentType]

    return of


def test_a_file_under_a_second_name_is_warned_of(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "OPEN_MAX", 1)
    stream = STREAMS["json"]
    path = land(lake, "a.json", json_of("one"))
    land(lake, "b.json", json_of("two"))
    assert ingest(lake, stream).same_content == {}
    path.rename(lake.settings.data_dir / "c.json")
    (lake.settings.data_dir / "d.json").symlink_to("b.json")
    done = ingest(lake, stream)
    assert done.rows == 2  # a name is an identity
    assert done.same_content == {"c.json": ("a.json",), "d.json": ("b.json",)}


EDITS = st.sampled_from(
    ["append", "append", "append half", "take", "take", "take", "swap", "cut", "empty", "edit"]
    + ["touch", "remove", "header"]
)


@pytest.mark.parametrize("format_", ["csv", "json"])
@run_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=examples(60, few=20),
    deadline=None,
)
@given(st.lists(st.tuples(EDITS, st.sampled_from("ab"), st.integers(0, 99)), max_size=25))
def test_whatever_happens_to_files_each_record_taken_was_in_them_and_none_is_passed_over(
    tmp_path: Path, format_: str, edits: list[tuple[str, str, int]]
) -> None:
    world = _World(tmp_path, format_)
    for edit, name, number in edits:
        if edit == "take":
            world.take(number)
        else:
            world.edit(edit, name, number)
    world.take(0)


class _World:
    """Files on disk, what a reader took of them, and what it should have taken."""

    def __init__(self, folder: Path, format_: str) -> None:
        for path in folder.iterdir():
            path.unlink()
        self._folder, self._format = folder, format_
        self._content: dict[str, bytes] = {}
        self._positions: dict[SourcePartition, Position] = {}
        self._prefix: dict[str, bytes] = {}  # what was taken of a file
        self._taken: list[tuple[str, int, bytes]] = []

    def edit(self, edit: str, name: str, number: int) -> None:
        name = f"{name}.{self._format}"
        content = self._content.get(name, csv_of() if self._format == "csv" else b"")
        line = (csv_of if self._format == "csv" else json_of)(f"v{number}").splitlines(True)[-1]
        match edit:
            case "append":
                content += line
            case "append half":
                content += line[: number % len(line)]
            case "swap":
                content = content.replace(b"v", b"w")
            case "cut":
                content = content[: max(0, len(content) - number)]
            case "empty":
                content = b""
            case "edit" if content:
                at = number % len(content)
                content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            case "header":
                content = content.replace(b"id,at", b"at,id", 1)
            case _:
                pass
        path = self._folder / name
        if edit in ("touch", "remove"):
            path.unlink(missing_ok=True)
        if edit == "remove":
            self._content.pop(name, None)
            return
        self._content[name] = content
        path.write_bytes(content)

    def take(self, number: int) -> None:
        source = source_of(self._format, self._folder, read_bytes=16 + number)
        look = source.look(lambda _: self._positions)
        try:
            for split in look.splits:
                for records in source.read(split, rows_per_commit=1000):
                    self._positions[split.partition] = records.end
                    self._taken += [
                        (split.source, offset, line)
                        for offset, line in zip(
                            records.offsets.tolist(), records.lines, strict=True
                        )
                    ]
                self._expect(split.source)
        except (SourceChangedError, SourceFileError) as error:
            self._is_refused_rightly(error.path)
        else:
            for name in self._content:
                self._expect(name)

    def _expect(self, name: str) -> None:
        """Everything of a file that ends in a newline was taken, and is what the file holds."""
        content = self._content[name]
        assert content.startswith(self._prefix.get(name, b""))
        complete = content[: content.rfind(b"\n") + 1]
        lines = [line for line in complete.split(b"\n") if line.strip()]
        if self._format == "csv":
            lines = lines[1:]
        mine = [(at, line) for source, at, line in self._taken if source == name]
        assert mine == [(at, line.removesuffix(b"\r")) for at, line in enumerate(lines)]
        self._prefix[name] = complete

    def _is_refused_rightly(self, name: str) -> None:
        """The file lost what was taken of it, or nothing was; then it is put back as it was."""
        content, prefix = self._content[name], self._prefix.get(name, b"")
        assert not prefix or not content.startswith(prefix)
        self._content[name] = prefix
        (self._folder / name).write_bytes(prefix)
