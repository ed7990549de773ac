"""Claim: compaction makes scans of upserted tables five times cheaper, and Paimon's changes are read fast.

They cost at most twice an Iceberg scan of the same rows.

The upserted table has 1M rows and 10,000 equality deletes in a hundred commits, as Flink leaves it after a few
minutes. The scan before compaction applies them, that afterwards reads files without deletes. Changes of Paimon
are read from their files as an import does, by snapshot; the same rows are then scanned in the table of the
lake that took them.
"""

from collections.abc import Iterator

import pyarrow as pa

from benchmarks.harness import Contender, Measured, Result, Rounds, measure, open_lake, show
from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.facts import Changes
from headrace.interop.paimon.rows import change_rows
from headrace.interop.paimon.table import PaimonTable
from headrace.interop.paimon.take import take_changes
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.tables.delete_files import delete_values

GAIN_MIN, PAIMON_MAX = 5.0, 2.0
_COMMITS = 100
_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("seen", pa.timestamp("us", tz="UTC")),
    ]
)
_TAKEN = TableName("raw", "taken")


def with_deletes(*, folder: str, rows: int) -> Rounds:
    """Scan the upserted table as Flink left it."""
    with open_lake(folder) as lake:
        table = _upserted(lake, rows)
        yield {}
        while True:
            yield {"rows": _scan(table)}


def compacted(*, folder: str, rows: int) -> Rounds:
    """Scan it after compaction."""
    with open_lake(folder) as lake:
        table = _upserted(lake, rows)
        compact(table)
        assert not any(file.deletes for file in table.head().files())
        yield {}
        while True:
            yield {"rows": _scan(table)}


def paimon_changes(*, folder: str, rows: int) -> Rounds:
    """Read the changes of a Paimon table's one snapshot."""
    table = _paimon(folder, rows)
    (snapshot,) = table.snapshots()
    yield {}
    while True:
        yield {"rows": sum(b.num_rows for b in change_rows(table, snapshot, Changes.UPSERTS))}


def iceberg_scan(*, folder: str, rows: int) -> Rounds:
    """Scan the same rows in the table of the lake that took them."""
    with open_lake(folder) as lake:
        take_changes(lake, _paimon(folder, rows), _TAKEN)
        head = lake.table(_TAKEN).head()
        names = [*_SCHEMA.names, "_row_kind"]
        yield {}
        while True:
            yield {"rows": sum(batch.num_rows for batch in head.batches(columns=names))}


def run(*, quick: bool) -> list[Result]:
    """Measure 1M upserted rows and 500,000 changes; `quick` measures a tenth."""
    upserted, changed = (100_000, 50_000) if quick else (1_000_000, 500_000)
    sizes = {
        "with_deletes": upserted,
        "compacted": upserted,
        "paimon_changes": changed,
        "iceberg_scan": changed,
    }
    contenders = [
        Contender(name=name, module=__name__, function=name, arguments={"rows": rows})
        for name, rows in sizes.items()
    ]
    found = measure(contenders, rounds=3 if quick else 9)
    show("scans", [_row(each) for each in found.values()])
    before, after, ours, theirs = found.values()
    gain, cost = before.cpu_s / after.cpu_s, ours.cpu_s / theirs.cpu_s
    return [
        Result(
            claim="upserts",
            value=before.cpu_s,
            unit=f"CPU s for {upserted:,} rows with {upserted // 100:,} equality deletes",
            peer=f"after compaction, {after.cpu_s:.3f} s",
            ratio=gain,
            target=f"ratio >= {GAIN_MIN}",
            holds=gain >= GAIN_MIN,
        ),
        Result(
            claim="paimon_changes",
            value=ours.cpu_s,
            unit=f"CPU s for {changed:,} changes",
            peer=f"Iceberg scan of the same rows, {theirs.cpu_s:.3f} s",
            ratio=cost,
            target=f"ratio <= {PAIMON_MAX}",
            holds=cost <= PAIMON_MAX,
        ),
    ]


def _scan(table: LakeTable) -> int:
    return sum(batch.num_rows for batch in table.head().batches())


def _upserted(lake: Lake, rows: int) -> LakeTable:
    """Make a table, and replace one row in a hundred by upserts in a hundred commits."""
    table = lake.create(TableName("raw", "upserted"), _SCHEMA)
    append(table, write_batches(table, _batches(range(rows))), provenance=Provenance())
    for commit in range(_COMMITS):
        keys = range(commit, rows, 100 * _COMMITS)
        delete_values(table, pa.table({"id": pa.array(keys, pa.int64())}))
        append(table, write_batches(table, _batches(keys)), provenance=Provenance())
    return table


def _paimon(folder: str, rows: int) -> PaimonTable:
    """Make a Paimon table with a key, in one snapshot."""
    warehouse = PaimonWarehouse(f"file://{folder}")
    options = {"bucket": "1", "file.format": "parquet"}
    described = warehouse.describe("bench.users", _SCHEMA, keys=("id",), options=options)
    table = warehouse.create(described)
    table.write(_batches(range(rows)), properties={}, replace=False)
    return table


def _batches(keys: range) -> Iterator[pa.RecordBatch]:
    step = 100_000
    for first in range(0, len(keys), step):
        some = list(keys[first : first + step])
        yield pa.record_batch(
            [
                pa.array(some, pa.int64()),
                pa.array([f"user {key % 977}" for key in some]),
                pa.array([key % 1000 / 10 for key in some]),
                pa.array([1_767_225_600_000_000 + key for key in some], _SCHEMA.field("seen").type),
            ],
            schema=_SCHEMA,
        )


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "rows": measured.figure("rows"),
        "CPU s": measured.cpu_s,
        "wall s": measured.wall_s,
        "peak RSS MiB": measured.peak_rss_mib,
    }
