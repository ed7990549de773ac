"""Any bit of any file of a table may flip: the rows are the same, or an error names the file."""

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from headrace.errors import LakeError
from headrace.iceberg import delete_files
from headrace.storage.locations import local_path
from headrace.tables import version as scan
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion
from headrace.tables.writer import write_batches
from tests.amounts import seed_of_today
from tests.conftest import ROOT
from tests.proofs.jobs import TABLE
from tests.tables.delete_files import delete_positions
from tests.tables.factories import EVENTS, day_key, events

FLIPS_SHORT, FLIPS_LONG = 100, 10_000
_SCHEMA = EVENTS.append(pa.field("score", pa.float64()))
Rows = list[dict[str, object]]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A table, its files by kind, and what reading it in every way must give."""

    settings: Settings
    files: Mapping[str, Sequence[Path]]
    reads: tuple[object, ...]
    rows: Rows


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    env = {"HEADRACE_STATE_DIR": str(tmp_path_factory.mktemp("flips") / "state")}
    settings = Settings.load(env=env, path=ROOT / "lake" / "lake.toml")
    with Lake.open(settings) as lake:
        table = lake.create(TABLE, _SCHEMA, partition_by=["day(event_time)"])
        for first in range(0, 90, 30):
            batches = [_batch(range(first + day, first + 30, 3), day=day) for day in range(3)]
            operations.append(table, write_batches(table, batches), provenance=Provenance())
        delete_positions(table, {table.head().files()[0]: [0, 3]})
        delete_positions(table, dict.fromkeys(table.head().files()[3:5], (1, 2)), bounded=False)
        version = table.head()
        return Kept(
            settings=settings,
            files=_files(version),
            reads=_reads(table),
            rows=_by_id(version.to_arrow()),
        )


def test_a_flipped_bit_is_an_error_that_names_the_file_or_changes_nothing(kept: Kept) -> None:
    _flip(kept, FLIPS_SHORT, _reads, kept.reads, kinds=tuple(kept.files))


def test_an_engine_reads_no_file_with_a_flipped_bit(kept: Kept) -> None:
    _flip(kept, FLIPS_SHORT // 2, _engine_reads, kept.rows, kinds=tuple(kept.files))


@pytest.mark.proof
@pytest.mark.timeout(0)
def test_ten_thousand_flipped_bits_are_errors_or_change_nothing(kept: Kept) -> None:
    times = int(os.environ.get("HEADRACE_FLIPS", FLIPS_LONG))
    _flip(kept, times, _reads, kept.reads, kinds=tuple(kept.files))
    _flip(kept, times // 10, _engine_reads, kept.rows, kinds=tuple(kept.files))


def _batch(ids: Sequence[int], *, day: int) -> pa.RecordBatch:
    batch = events(ids, day=day)
    names = [None if i % 5 == 0 else f"event {i}" for i in ids]
    scores = [None if i % 7 == 0 else i / 3 for i in ids]
    batch = batch.set_column(1, "name", pa.array(names, pa.string()))
    return batch.append_column("score", pa.array(scores, pa.float64()))


def _files(version: TableVersion) -> dict[str, tuple[Path, ...]]:
    snapshot = version.snapshot
    assert snapshot is not None
    found = {
        "metadata": [version.metadata_location],
        "manifest list": [snapshot.manifest_list],
        "manifest": [each.manifest_path for each in snapshot.manifests(version.io)],
        "data": [file.path for file in version.files()],
        "deletes": [file.file_path for file in version.delete_files()],
    }
    return {kind: tuple(Path(local_path(each)) for each in files) for kind, files in found.items()}


def _reads(table: LakeTable) -> tuple[object, ...]:
    """Read everything, and some of it by way of partitions and columns."""
    version = table.head()
    whole = version.to_arrow()
    day, columns = [day_key(1)], ["score", "id"]
    pruned = list(version.batches(columns=columns, partitions=day))
    return (
        whole.schema,
        whole.to_pylist(),
        [row for batch in pruned for row in batch.to_pylist()],
        version.row_count,
        version.partitions,
    )


def _engine_reads(table: LakeTable) -> Rows:
    with DuckDBEngine.open(table.lake.settings) as engine:
        engine.bind("t", table.head())
        return _by_id(engine.query("from t").read_all())


def _by_id(rows: pa.Table) -> Rows:
    return rows.sort_by("id").to_pylist()


def _flip(
    kept: Kept,
    times: int,
    read: Callable[[LakeTable], object],
    expected: object,
    *,
    kinds: Sequence[str],
) -> None:
    chance = random.Random(f"{times} {kinds} {seed_of_today()}")
    refused = 0
    for number in range(times):
        path = chance.choice(kept.files[kinds[number % len(kinds)]])
        bit = chance.randrange(8 * path.stat().st_size)
        with _flipped(path, bit), _as_a_new_process(kept.settings) as lake:
            try:
                found = read(lake.table(TABLE))
            except LakeError as error:
                assert str(path) in str(error), f"bit {bit} of {path}: {error}"
                refused += 1
            else:
                assert found == expected, f"bit {bit} of {path} was not noticed"
    assert refused > times // 4


@contextmanager
def _flipped(path: Path, bit: int) -> Iterator[None]:
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    try:
        yield
    finally:
        path.write_bytes(whole)


@contextmanager
def _as_a_new_process(settings: Settings) -> Iterator[Lake]:
    scan._all_files.cache_clear()
    delete_files._rows.cache_clear()
    with Lake.open(settings) as lake:
        yield lake
