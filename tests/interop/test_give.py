"""Exports to Paimon: all rows of a snapshot once, with its tag, and only over exports of the same table."""

import multiprocessing as mp
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.errors import (
    DuplicateKeyError,
    PaimonReason,
    PaimonTagExistsError,
    PaimonTargetError,
    PaimonUnsupportedError,
)
from headrace.identifiers import TableName
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.give import export_version
from headrace.interop.paimon.take import take_state
from headrace.tables.lake import LakeTable
from headrace.tables.refs.refs import tag
from tests.interop.warehouses import users
from tests.raising import refused
from tests.tables.factories import add, events_table, ids_of
from tests.waiting import WAIT_S

OUT = "out.events"


@pytest.fixture
def warehouse(tmp_path: Path) -> PaimonWarehouse:
    (tmp_path / "paimon").mkdir()
    return PaimonWarehouse(f"file://{tmp_path / 'paimon'}")


def give(lake: Lake, table: LakeTable, warehouse: PaimonWarehouse, *keys: str) -> bool:
    return export_version(lake, table.head(), warehouse, OUT, keys=keys).written


def back(lake: Lake, warehouse: PaimonWarehouse, *, of: str | None = None) -> LakeTable:
    """Import an export again."""
    target = TableName.parse("raw.back")
    take_state(lake, warehouse.table(OUT), target, tag=of)
    return lake.table(target)


@pytest.mark.parametrize("keys", [(), ("id",)])
def test_what_is_exported_comes_back_the_same(
    lake: Lake, warehouse: PaimonWarehouse, keys: tuple[str, ...]
) -> None:
    table = events_table(lake)
    add(table, range(50))
    assert give(lake, table, warehouse, *keys)
    again = back(lake, warehouse)
    assert again.head().to_arrow().sort_by("id") == table.head().to_arrow().sort_by("id").cast(
        again.head().schema
    )


def test_one_snapshot_is_written_once_and_the_next_replaces_it(
    lake: Lake, warehouse: PaimonWarehouse
) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    assert [give(lake, table, warehouse), give(lake, table, warehouse)] == [True, False]
    add(table, [3])
    assert give(lake, table, warehouse)
    assert ids_of(back(lake, warehouse)) == [1, 2, 3]
    assert len(warehouse.table(OUT).snapshots()) == 2


def test_a_tag_goes_along_and_names_one_snapshot(lake: Lake, warehouse: PaimonWarehouse) -> None:
    table = events_table(lake)
    tag(table, "monday", snapshot_id=add(table, [1]).snapshot_id)
    add(table, [2])
    at = table.at(tag="monday")
    export_version(lake, at, warehouse, OUT, tag="monday")
    export_version(lake, at, warehouse, OUT, tag="monday")
    give(lake, table, warehouse)
    assert ids_of(back(lake, warehouse, of="monday")) == [1]
    with refused(PaimonTagExistsError, tag="monday", snapshot_id=1):
        export_version(lake, table.head(), warehouse, OUT, tag="monday")


def test_a_table_of_another_writer_is_left_alone(
    lake: Lake, warehouse: PaimonWarehouse, tmp_path: Path
) -> None:
    written = users(tmp_path / "paimon")
    written.put(1, name="a")
    table = events_table(lake)
    add(table, [1])
    with refused(PaimonTargetError, target="k.users"):
        export_version(lake, table.head(), warehouse, "k.users")
    give(lake, table, warehouse)
    other = events_table(lake, "raw.others")
    add(other, [1])
    with refused(PaimonTargetError, target=OUT):
        give(lake, other, warehouse)
    with refused(PaimonTargetError, target=OUT):
        give(lake, table, warehouse, "id")


def test_rows_with_one_key_are_refused(lake: Lake, warehouse: PaimonWarehouse) -> None:
    table = events_table(lake)
    add(table, [1, 2])
    add(table, [2])
    with refused(DuplicateKeyError, keys=1, example="id=2"):
        give(lake, table, warehouse, "id")


def test_a_type_that_would_not_come_back_is_refused(lake: Lake, warehouse: PaimonWarehouse) -> None:
    schema = pa.schema([pa.field("m", pa.map_(pa.string(), pa.int64()))])
    table = lake.create(TableName.parse("raw.maps"), schema)
    add_map(table)
    with refused(PaimonUnsupportedError, reason=PaimonReason.COLUMN_TYPE, column="m"):
        export_version(lake, table.head(), warehouse, OUT)
    assert warehouse.names() == []


def add_map(table: LakeTable) -> None:
    from headrace.tables.commits.operations import Provenance, append
    from headrace.tables.writer import write_batches

    batch = pa.RecordBatch.from_pylist([{"m": [("a", 1)]}], schema=table.head().schema)
    append(table, write_batches(table, [batch]), provenance=Provenance())


def test_of_two_exporters_at_once_both_are_told_the_truth(
    lake: Lake, warehouse: PaimonWarehouse
) -> None:
    # pypaimon replaces a snapshot that another process wrote at the same moment: a lock prevents it
    tables = [events_table(lake, f"raw.t{at}") for at in range(2)]
    for at, table in enumerate(tables):
        add(table, [at])
    fork = mp.get_context("fork")
    results = fork.Queue()
    processes = [
        fork.Process(target=_export, args=(lake.settings, warehouse.uri, str(t.name), results))
        for t in tables
    ]
    for process in processes:
        process.start()
    said = dict(results.get(timeout=WAIT_S) for _ in processes)
    for process in processes:
        process.join(WAIT_S)
    assert sorted(said.values()) == ["PaimonTargetError", "written"]
    winner = next(name for name, result in said.items() if result == "written")
    assert ids_of(back(lake, warehouse)) == [int(winner[-1])]


def _export(settings: Settings, uri: str, name: str, results: "mp.Queue[tuple[str, str]]") -> None:
    with Lake.open(settings) as mine:
        try:
            export_version(mine, mine.table(name).head(), PaimonWarehouse(uri), OUT)
        except PaimonTargetError as error:
            results.put((name, type(error).__name__))
        else:
            results.put((name, "written"))
