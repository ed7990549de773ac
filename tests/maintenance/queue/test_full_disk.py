"""A full disk: what could not be done is said, and nothing half-written takes the last room."""

import random
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import MIB, Settings
from headrace.errors import DatabaseUnavailableError, LakeError, StorageFullError
from headrace.identifiers import TableName
from headrace.maintenance.queue.maintain import maintain
from headrace.maintenance.queue.perform import ActionResult, Outcome
from headrace.tables.commits import operations
from headrace.tables.lake import LakeTable
from headrace.tables.writer import TableWriter, write_batches
from tests.conftest import ROOT
from tests.disks import SmallDisk, on_small_disk
from tests.maintenance.cleanup.needed import files_below, folder_of, needed_by
from tests.maintenance.compaction.test_compact import stray_files

pytestmark = pytest.mark.slow

_ROWS = 600
_COLUMNS = pa.schema([pa.field("id", pa.int64()), pa.field("text", pa.string())])
_LEFT_KIB = (0, 16, 100, 400)


def test_maintenance_of_a_full_disk_fails_by_name_and_leaves_no_file(tmp_path: Path) -> None:
    on_small_disk(tmp_path / "disk", _maintained, mib=6)


def texts_table(lake: Lake, *, files: int) -> LakeTable:
    """A table of files of a quarter of a MiB that hardly compress."""
    table = lake.create(TableName("raw", "texts"), _COLUMNS)
    for number in range(files):
        written = write_batches(table, [_rows(number)])
        operations.append(table, written, provenance=operations.Provenance())
    return table


def _maintained(disk: SmallDisk) -> None:
    env = {"HEADRACE_STATE_DIR": str(disk.folder / "state")}
    with Lake.open(Settings.load(env=env, path=ROOT / "lake" / "lake.toml")) as lake:
        table = texts_table(lake, files=6)
        before = _ids(table)
        for left_kib in _LEFT_KIB:
            with disk.filled(left_bytes=left_kib * 1024):
                _maintenance_fails(lake, disk)
                _writing_fails(table)
            # half-written files would take the room that a person makes
            assert stray_files(table) == []
            if disk.mounted:  # else answers of the catalog are lost, and late ones need manifests
                assert files_below(folder_of(table)) == needed_by(table.iceberg()), left_kib
            assert _ids(table) == before
        done = maintain(lake, cold_after_s=0)
        assert {result.outcome for result in done.results} == {Outcome.DONE}
        assert _ids(table) == before


def _maintenance_fails(lake: Lake, disk: SmallDisk) -> None:
    try:
        done = maintain(lake, cold_after_s=0)
    except DatabaseUnavailableError:
        return
    failed = [result for result in done.results if result.outcome is not Outcome.DONE]
    assert failed
    for result in failed:
        _is_named(result, disk)
        assert result.error in done.errors


def _is_named(result: ActionResult, disk: SmallDisk) -> None:
    assert result.outcome is Outcome.FAILED, result.detail
    assert result.error is not None
    assert result.error.retryable
    if not disk.mounted:
        return
    assert isinstance(result.error, StorageFullError), repr(result.error)
    assert result.error.disk == str(disk.folder)
    assert result.error.free_bytes is not None
    assert result.error.free_bytes < MIB


def _writing_fails(table: LakeTable) -> None:
    """Write more than there is room for; what was written goes, closed files too."""
    try:
        with TableWriter(table) as writer:
            for number in range(100, 130):
                writer.write(_rows(number))
                writer.roll()
    except LakeError as error:
        assert isinstance(error, StorageFullError), repr(error)
        return
    writer.discard()  # a limit on the size of files leaves room for many


def _rows(number: int) -> pa.RecordBatch:
    rng = random.Random(number)
    ids = [number * _ROWS + at for at in range(_ROWS)]
    texts = [f"{rng.getrandbits(1600):0400x}" for _ in ids]
    return pa.record_batch([ids, texts], schema=_COLUMNS)


def _ids(table: LakeTable) -> list[int]:
    return sorted(table.head().to_arrow(columns=["id"]).column("id").to_pylist())
