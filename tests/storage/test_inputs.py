"""Opening data files: through the catalog's FileIO, and from one place of the library."""

import ast
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, load_file_io

from headrace.datasets.files import FilePlan
from headrace.errors import CorruptFileError, StoreUnavailableError
from headrace.storage.inputs import open_input, reading
from headrace.storage.pages import check_pages
from headrace.tables.version import read_file
from tests.conftest import ROOT

_OPENERS = {"OSFile", "memory_map", "input_stream", "open_input_file", "open_input_stream"}
_READERS = {"ParquetFile", "read_table", "read_schema", "read_metadata"}  # of `pyarrow.parquet`
_NAMES = {*_OPENERS, *_READERS, "from_uri"}  # a text without one of them need not be parsed
# they read files of a source, and of another format: these belong to no table of the lake
_OTHERS = ("ingest/sources/parquet_batches.py", "interop/paimon/files.py")


class StoreIO(FileIO):
    """A store without a local form, whose streams are Python objects and which asks for a key."""

    def __init__(self, files: Mapping[str, bytes], properties: Mapping[str, str]) -> None:
        super().__init__(dict(properties))
        self.files = files

    def new_input(self, location: str) -> InputFile:
        return _Stored(location, self)

    def new_output(self, location: str) -> OutputFile:
        raise NotImplementedError

    def delete(self, location: str | InputFile | OutputFile) -> None:
        raise NotImplementedError


class _Stored(InputFile):
    def __init__(self, location: str, store: StoreIO) -> None:
        super().__init__(location)
        self._store = store

    def __len__(self) -> int:
        return len(self._store.files[self.location])

    def exists(self) -> bool:
        return self.location in self._store.files

    def open(self, seekable: bool = True) -> InputStream:
        if self._store.properties.get("key") != "secret":
            raise PermissionError(self.location)
        if not self.exists():
            raise FileNotFoundError(self.location)
        return cast("InputStream", BytesIO(self._store.files[self.location]))


ROWS = pa.table(
    {"a": pa.array(range(1_000))},
    pa.schema([pa.field("a", pa.int64(), metadata={b"PARQUET:field_id": b"1"})]),
)


@pytest.fixture
def content() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(ROWS, sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}"])
def test_a_local_file_opens_by_path_and_by_uri(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a b.parquet"
    path.write_bytes(b"content")
    with open_input(load_file_io(), form.format(path)) as source:
        assert (source.size(), source.read_at(3, 4)) == (7, b"ent")


def test_a_file_of_another_store_is_opened_by_the_tables_own_io(content: bytes) -> None:
    io = StoreIO({"store://b/f": content}, {"key": "secret"})
    (batch,) = read_file("store://b/f", ROWS.schema, io=io)
    assert batch.column("a").to_pylist() == list(range(1_000))
    assert check_pages("store://b/f", io=io)


@pytest.mark.parametrize(
    ("location", "key", "kind"),
    [
        ("store://b/gone", "secret", CorruptFileError),
        ("store://b/f", "wrong", StoreUnavailableError),
    ],
)
def test_a_file_that_a_store_does_not_give_is_named(
    content: bytes, location: str, key: str, kind: type[CorruptFileError | StoreUnavailableError]
) -> None:
    io = StoreIO({"store://b/f": content}, {"key": key})
    for read in (lambda: list(read_file(location, ROWS.schema, io=io)), _check(location, io)):
        with pytest.raises(kind) as raised:
            read()
        assert raised.value.path == location


def _check(location: str, io: FileIO):  # noqa: ANN202
    return lambda: check_pages(location, io=io)


@pytest.mark.parametrize("left", [0, 3, 11, 100, 500])
def test_a_truncated_file_is_named(tmp_path: Path, content: bytes, left: int) -> None:
    path = tmp_path / "f.parquet"
    path.write_bytes(content[:left])
    stores = (load_file_io(), StoreIO({"store://b/f": content[:left]}, {"key": "secret"}))
    for io, location in zip(stores, (str(path), "store://b/f"), strict=True):
        with pytest.raises(CorruptFileError) as raised:
            list(read_file(location, ROWS.schema, io=io))
        assert raised.value.path == location


def test_what_decoding_raises_names_the_file() -> None:
    for error in (OSError("gone"), pa.ArrowInvalid("bad"), KeyError("column")):
        with pytest.raises(CorruptFileError) as raised, reading("f"):
            raise error
        assert (raised.value.path, raised.value.__cause__) == ("f", error)


def test_a_plan_keeps_what_opens_its_files(content: bytes) -> None:
    io = StoreIO({}, {})
    assert FilePlan((), None, io) == FilePlan(())
    assert "StoreIO" not in repr(FilePlan((), None, io))


def test_only_storage_opens_data_files() -> None:
    found = {
        f"{path.relative_to(ROOT / 'headrace')}:{node.lineno}"
        for path in sorted((ROOT / "headrace").rglob("*.py"))
        if path.parent.name != "storage" and str(path.relative_to(ROOT / "headrace")) not in _OTHERS
        for text in [path.read_text()]
        if any(name in text for name in _NAMES)
        for node in _openings(ast.parse(text))
    }
    assert not found, "open it with `headrace.storage.inputs.open_input`"


def test_the_search_finds_every_way_to_open_a_file() -> None:
    planted = [
        "pa.OSFile(path)",
        "pa.memory_map(path)",
        "fs.open_input_file(path)",
        "pq.ParquetFile(path)",
        "pq.read_schema(entry.path)",
        "FileSystem.from_uri(path)",
    ]
    allowed = [
        "with open_input(io, path) as source:\n    pq.ParquetFile(source)",
        "f = pa.table(a)",
    ]
    assert [len(list(_openings(ast.parse(each)))) for each in planted] == [1] * len(planted)
    assert [len(list(_openings(ast.parse(each)))) for each in allowed] == [0, 0]


def _openings(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield the calls that open a file, or hand a Parquet reader what `open_input` did not open."""
    opened = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, of = node.func.attr, node.func.value
        is_parquet = isinstance(of, ast.Name) and of.id == "pq" and name in _READERS
        given = node.args[0] if node.args else None
        is_open = isinstance(given, ast.Name) and given.id in opened
        if name in _OPENERS or name == "from_uri" or (is_parquet and not is_open):
            yield node
