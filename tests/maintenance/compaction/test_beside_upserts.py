"""A table that is written by upserts, as Flink writes them: rows and equality deletes in every commit."""

import random

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits.operations import Provenance, append
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.amounts import seed_of_today
from tests.tables.delete_files import delete_values

pytestmark = pytest.mark.slow

_SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("v", pa.string())])


def upsert(table: LakeTable, rows: dict[int, str | None]) -> None:
    """Commit one checkpoint: what had these keys goes by an equality delete, then come the rows."""
    delete_values(table, pa.table({"id": pa.array(list(rows), pa.int64())}))
    kept = {key: value for key, value in rows.items() if value is not None}
    if kept:
        batch = pa.record_batch({"id": list(kept), "v": list(kept.values())}, schema=_SCHEMA)
        append(table, write_batches(table, [batch]), provenance=Provenance())


def found(table: LakeTable) -> dict[int, str]:
    rows = table.head().to_arrow()
    assert rows.num_rows == len(set(rows.column("id").to_pylist())), "a key is there twice"
    return dict(zip(rows.column("id").to_pylist(), rows.column("v").to_pylist(), strict=True))


def plainly(table: Table) -> dict[int, str]:
    """Read as PyIceberg does, which refuses equality deletes."""
    rows = table.scan().to_arrow()
    return dict(zip(rows.column("id").to_pylist(), rows.column("v").to_pylist(), strict=True))


def test_compaction_beside_upserts_keeps_the_newest_row_of_each_key(lake: Lake) -> None:
    rng = random.Random(seed_of_today())
    table = lake.create(TableName.parse("raw.upserts"), _SCHEMA)
    truth: dict[int, str] = {}
    for at in range(14):
        rows = {rng.randrange(12): rng.choice([None, f"v{at}"]) for _ in range(4)}
        upsert(table, rows)
        truth |= {key: value for key, value in rows.items() if value is not None}
        truth = {k: v for k, v in truth.items() if rows.get(k, v) is not None}
        assert found(table) == truth
        if at % 3 == 2:
            compact(table)
            assert found(table) == truth
            assert plainly(table.iceberg()) == truth
    compact(table)
    assert all(not file.deletes for file in table.head().files())
    assert plainly(table.iceberg()) == truth


def test_an_upsert_after_a_compaction_is_newer_than_what_was_rewritten(lake: Lake) -> None:
    table = lake.create(TableName.parse("raw.upserts"), _SCHEMA)
    for at in range(3):
        upsert(table, {key: f"v{at}" for key in range(5)})
    upsert(table, {1: None})
    compact(table)
    upsert(table, {2: "after", 1: "again"})
    expected = {0: "v2", 1: "again", 2: "after", 3: "v2", 4: "v2"}
    assert found(table) == expected
    compact(table)
    assert plainly(table.iceberg()) == found(table) == expected
