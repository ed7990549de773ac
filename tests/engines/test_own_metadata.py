"""What another program wrote never reaches an engine as it is: strange metadata is an error with a name.

DuckDB runs in a process of its own here, as it ends the process on what it cannot decode.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.extensions import load_iceberg_extension
from headrace.engines.own_metadata import engine_metadata
from headrace.errors import CorruptFileError, LakeError
from headrace.storage.locations import local_path
from tests.engines.strange_metadata import STRANGE, change_header, without_codec
from tests.processes import CONTEXT
from tests.tables.delete_files import delete_positions
from tests.tables.factories import add, events, events_table
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

TABLE = "theirs.events"
Outcome = tuple[str, str]  # the error's name and its file, or `rows` and the rows


def _catalog(folder: Path) -> SqlCatalog:
    return SqlCatalog("theirs", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}/wh")


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Table]:
    """A table of stock pyiceberg with two commits, three rows each."""
    catalog = _catalog(tmp_path)
    catalog.create_namespace("theirs")
    rows = pa.Table.from_batches([events([1, 2, 3])])
    table = catalog.create_table(TABLE, rows.schema)
    table.append(rows)
    table.append(rows)
    yield catalog.load_table(TABLE)
    catalog.close()


def _manifest(table: Table) -> Path:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return Path(local_path(snapshot.manifests(table.io)[0].manifest_path))


def _manifest_list(table: Table) -> Path:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return Path(local_path(snapshot.manifest_list))


def _settings(folder: Path) -> Settings:
    return Settings.without_lake(env={"HEADRACE_STATE_DIR": str(folder / "state")})


def _read_each(folder: Path, path: Path, contents: Sequence[bytes], answer: Connection) -> None:
    """Let an engine read the table with each content of one of its files."""
    with (
        closing(_catalog(folder)) as catalog,
        Lake.of(catalog, settings=_settings(folder)) as lake,
        DuckDBEngine.open(lake.settings) as engine,
    ):
        for content in contents:
            path.write_bytes(content)
            try:
                engine.bind("t", lake.table(TABLE).head())
                rows = engine.query("select id from t order by id").read_all()
            except LakeError as error:
                answer.send((error.code, getattr(error, "path", "")))
            else:
                answer.send(("rows", str(rows["id"].to_pylist())))
    catalog.close()


def _outcomes(folder: Path, path: Path, contents: Sequence[bytes]) -> list[Outcome]:
    mine, other = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=_read_each, args=(folder, path, contents, other))
    child.start()
    other.close()
    found: list[Outcome] = []
    try:
        while len(found) < len(contents):
            found.append(mine.recv())
    except EOFError:
        child.join(WAIT_S)
        pytest.fail(f"the engine ended the process ({child.exitcode}) after {len(found)} files")
    child.join(WAIT_S)
    mine.close()
    assert child.exitcode == 0
    return found


@pytest.mark.parametrize("file_of", [_manifest, _manifest_list])
def test_strange_metadata_of_other_programs_is_named_and_ends_no_process(
    theirs: Table, tmp_path: Path, file_of: Callable[[Table], Path]
) -> None:
    path = file_of(theirs)
    sound = path.read_bytes()
    contents = [sound, *(change(sound) for change in STRANGE.values()), sound]
    (before, *strange, after) = _outcomes(tmp_path, path, contents)
    assert before == after == ("rows", str([1, 1, 2, 2, 3, 3]))
    named = {name: ("corrupt-file", str(path)) for name in STRANGE}
    assert {
        name: (code, local_path(where))
        for name, (code, where) in zip(STRANGE, strange, strict=True)
    } == named


def test_sound_metadata_that_duckdb_does_not_know_is_read(theirs: Table, tmp_path: Path) -> None:
    path = _manifest(theirs)
    sound = path.read_bytes()
    other_name = change_header(lambda meta: meta | {"written-by": b"somebody"})
    contents = [without_codec(sound), other_name(sound)]
    assert _outcomes(tmp_path, path, contents) == [("rows", str([1, 1, 2, 2, 3, 3]))] * 2


def test_a_missing_or_damaged_metadata_file_of_other_programs_is_named(
    theirs: Table, tmp_path: Path
) -> None:
    path = Path(local_path(theirs.metadata_location))
    sound = path.read_bytes()
    contents = [b"", sound[: len(sound) // 2], b"[1, 2]", b"{}"]
    found = _outcomes(tmp_path, path, contents)
    assert [code for code, _ in found] == ["corrupt-file"] * len(contents)
    path.unlink()
    with (
        closing(_catalog(tmp_path)) as catalog,
        Lake.of(catalog, settings=_settings(tmp_path)) as lake,
        pytest.raises(CorruptFileError),
    ):
        lake.table(TABLE).head()


def test_an_engine_reads_a_copy_of_what_others_wrote_and_what_we_wrote_as_it_is(
    theirs: Table, lake: Lake, tmp_path: Path
) -> None:
    own = events_table(lake)
    add(own, [1])
    assert engine_metadata(own.head(), folder=tmp_path) == own.head().metadata_location
    with Lake.of(theirs.catalog, settings=_settings(tmp_path)) as other:
        version = other.table(TABLE).head()
        copy = Path(engine_metadata(version, folder=tmp_path / "copies"))
    assert copy.is_relative_to(tmp_path / "copies")
    shutil.rmtree(Path(local_path(theirs.location())) / "metadata")
    with duckdb.connect() as connection:
        load_iceberg_extension(connection)
        rows = connection.sql(f"select id from iceberg_scan('{copy}')").fetchall()
    assert sorted(rows) == [(1,), (1,), (2,), (2,), (3,), (3,)]


def test_deletes_older_snapshots_and_new_columns_read_alike_through_the_copy(
    theirs: Table, tmp_path: Path
) -> None:
    first = theirs.metadata.snapshots[0].snapshot_id
    with theirs.update_schema() as update:
        update.rename_column("name", "label")
    with Lake.of(theirs.catalog, settings=_settings(tmp_path)) as lake:
        table = lake.table(TABLE)
        delete_positions(table, {table.head().files()[0]: [0]})
        with DuckDBEngine.open(lake.settings) as engine:
            for version in (table.head(), table.at(snapshot_id=first)):
                engine.bind("t", version)
                read = engine.query("select * from t order by id, label").read_all()
                want = version.to_arrow().sort_by([("id", "ascending"), ("label", "ascending")])
                assert read.to_pylist() == want.to_pylist()


@pytest.mark.parametrize("bound", [b"", b"123", b"123456789"])
def test_a_bound_that_is_no_value_of_its_column_is_named(
    theirs: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: bytes
) -> None:
    with Lake.of(theirs.catalog, settings=_settings(tmp_path)) as lake:
        version = lake.table(TABLE).head()
        bounds = version.files()[0].data_file.lower_bounds
        monkeypatch.setitem(bounds, 1, bound)
        with pytest.raises(CorruptFileError) as found:
            engine_metadata(version, folder=tmp_path / "copies")
        assert found.value.path == str(_manifest_list(theirs))
