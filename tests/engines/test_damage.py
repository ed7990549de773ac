"""Damaged and missing files never reach an engine's answer: they are named, with the way back."""

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import CorruptFileError
from headrace.maintenance.compaction.compact import compact
from headrace.storage.locations import local_path
from headrace.tables.lake import LakeTable
from headrace.tables.refs.refs import tag
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from tests.tables.factories import add, events_table, ids_of

pytestmark = pytest.mark.slow


def _read(table: LakeTable) -> list[int]:
    with DuckDBEngine.open(table.lake.settings) as engine:
        engine.bind("t", table.head())
        return sorted(engine.query("select id from t").read_all()["id"].to_pylist())


def _flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_no_flipped_bit_of_a_data_file_reaches_an_engine(lake: Lake) -> None:
    table = events_table(lake)
    add(table, range(3_000))
    path, chance = Path(table.head().files()[0].path), random.Random(15)
    content = path.read_bytes()
    with DuckDBEngine.open(lake.settings) as engine:
        for _ in range(40):
            _flip(path, chance.randrange(32, 8 * len(content) - 64))
            with pytest.raises(CorruptFileError) as found:
                engine.bind("t", table.head())
            assert found.value.path == str(path)
            path.write_bytes(content)
        engine.bind("t", table.head())
        assert engine.query("select id from t").read_all().num_rows == 3_000


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garble(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [_cut, _empty, _garble, Path.unlink])
def test_a_file_that_breaks_under_a_bound_engine_is_named(
    lake: Lake, damage: Callable[[Path], None]
) -> None:
    table = events_table(lake)
    add(table, range(2_000))
    path = Path(table.head().files()[0].path)
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("t", table.head())
        damage(path)
        with pytest.raises(CorruptFileError) as found:
            engine.query("select sum(hash(t)) from t").read_all()
        assert found.value.path == str(path)


def test_a_header_that_no_checksum_covers_is_named_when_the_engine_stumbles(lake: Lake) -> None:
    table = events_table(lake)
    add(table, range(2_000))
    path = Path(table.head().files()[0].path)
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(rows, path, write_page_checksum=False)  # as other programs write
    content = path.read_bytes()
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("t", table.head())
        stumbled = 0
        for at in range(4, 12):  # the header of the first page
            _flip(path, 8 * at + 2)
            try:
                engine.query("select sum(hash(t)) from t").read_all()
            except CorruptFileError as error:
                assert error.path == str(path)
                stumbled += 1
            path.write_bytes(content)
        assert stumbled > 3


def test_an_error_of_the_query_stays_the_engines_own(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    with DuckDBEngine.open(lake.settings) as engine:
        engine.bind("t", table.head())
        with pytest.raises(Exception, match="nonsense") as found:
            engine.query("select error('nonsense') from t").read_all()
        assert not isinstance(found.value, CorruptFileError)


def _commands(error: CorruptFileError) -> list[tuple[str, ...]]:
    assert error.remedy is not None
    return [each.command for each in (error.remedy, *error.remedy.otherwise) if each.command]


def _rollback(error: CorruptFileError) -> int:
    (to,) = [each[3] for each in _commands(error) if each[:2] == ("tables", "rollback")]
    return int(to)


def test_what_to_do_about_a_damaged_file_can_be_done(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    tag(table, "sound", snapshot_id=table.head().snapshot_id or 0)
    good = table.head().snapshot_id
    add(table, [2], day=1)
    path = Path(table.head().files()[1].path)
    add(table, [3], day=2)
    _cut(path)
    for read in (_read, ids_of):
        with pytest.raises(CorruptFileError) as found:
            read(table)
        remedy = found.value.remedy
        assert remedy is not None
        assert str(found.value).endswith(str(remedy))
        assert "`sound`" in remedy.otherwise[-1].advice
        assert _rollback(found.value) == good
    apply_rollback(table, plan_rollback(table, good or 0))
    assert _read(table) == ids_of(table) == [1]


def test_a_file_that_compaction_wrote_leads_back_to_before_it(lake: Lake) -> None:
    table = events_table(lake)
    for number in range(8):
        add(table, [number])
    before = table.head().snapshot_id
    compact(table)
    _cut(Path(table.head().files()[0].path))
    with pytest.raises(CorruptFileError) as found:
        _read(table)
    to = _rollback(found.value)
    assert to == before
    apply_rollback(table, plan_rollback(table, to))
    assert _read(table) == list(range(8))


def test_damaged_manifests_lead_back_to_a_snapshot_that_is_sound(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    good = table.head().snapshot_id
    add(table, [2])
    snapshot = table.iceberg().current_snapshot()
    assert snapshot is not None
    _cut(Path(local_path(snapshot.manifest_list)))
    with pytest.raises(CorruptFileError) as found:
        _read(table)
    to = _rollback(found.value)
    assert to == good
    apply_rollback(table, plan_rollback(table, to))
    assert _read(table) == [1]


def test_a_missing_file_may_lie_in_the_trash(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    Path(table.head().files()[0].path).unlink()
    with pytest.raises(CorruptFileError) as found:
        _read(table)
    assert ("tables", "trash", "raw.events") in _commands(found.value)


def test_damaged_metadata_names_the_newest_sound_file_before_it(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    older = Path(table.head().metadata_location).name
    older_id = table.head().snapshot_id
    add(table, [2])
    _cut(Path(table.head().metadata_location))
    with Lake.open(lake.settings) as again, pytest.raises(CorruptFileError) as found:
        again.table("raw.events").head()
    assert older in str(found.value.remedy)
    assert str(older_id) in str(found.value.remedy)
