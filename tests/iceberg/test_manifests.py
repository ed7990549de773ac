"""Manifests after any mix of commits say exactly what the format wants them to say."""

import os
import random
from collections import Counter
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
)
from pyiceberg.types import IcebergType, IntegerType, LongType

from headrace.api import Lake
from headrace.errors import CorruptFileError
from headrace.iceberg import manifests
from headrace.iceberg.avro import schema_written
from headrace.iceberg.manifest_writer import chunks
from headrace.storage.locations import local_path
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.writer import write_batches
from tests.amounts import seed_of_today
from tests.raising import refused
from tests.tables.delete_files import delete_values, written_with_long_ids
from tests.tables.factories import EVENTS, add, day_key, events, events_table

pytestmark = pytest.mark.slow


def change_somehow(table: LakeTable, chance: random.Random, number: int) -> None:
    key = day_key(day := chance.randrange(4))
    files = table.head().files(partitions=[key])
    match chance.choices(["append", "overwrite", "replace", "cluster"], [6, 1, 1, 1])[0]:
        case "cluster":
            operations.rewrite_manifests(table, provenance=Provenance(), entries_max=5)
        case "overwrite":
            rewritten = write_batches(table, [events([number], day=day)])
            operations.overwrite_partitions(
                table, rewritten, partitions=[key], provenance=Provenance()
            )
        case "replace" if files:
            rows = table.head().to_arrow(partitions=[key])
            operations.replace_files(
                table,
                removed=[file.data_file for file in files],
                added=write_batches(table, rows.to_batches()),
                provenance=Provenance(),
            )
        case _:
            add(table, [number], day=day)


def check_manifests(table: LakeTable) -> int:
    """Compare every manifest's counts with its entries; return the live files."""
    iceberg = table.iceberg()
    snapshot = iceberg.metadata.current_snapshot()
    assert snapshot is not None
    live = 0
    for manifest in snapshot.manifests(iceberg.io):
        entries = manifest.fetch_manifest_entry(iceberg.io, discard_deleted=False)
        counts, rows = Counter[str](), Counter[str]()
        for entry in entries:
            counts[entry.status.name] += 1
            rows[entry.status.name] += entry.data_file.record_count
            if entry.status != ManifestEntryStatus.EXISTING:
                assert entry.snapshot_id == manifest.added_snapshot_id
        for status in ("ADDED", "EXISTING", "DELETED"):
            assert counts[status] == getattr(manifest, f"{status.lower()}_files_count")
            assert rows[status] == getattr(manifest, f"{status.lower()}_rows_count")
        alive = [e.sequence_number for e in entries if e.status != ManifestEntryStatus.DELETED]
        assert not alive or manifest.min_sequence_number == min(alive)
        live += len(alive)
    return live


def test_counts_totals_and_sequence_numbers_hold_after_every_commit(lake: Lake) -> None:
    hold_after_every_commit(lake, random.Random(seed_of_today()), commits=50)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(20))
def test_counts_totals_and_sequence_numbers_hold_after_many_commits(lake: Lake, seed: int) -> None:
    hold_after_every_commit(lake, random.Random(seed), commits=60)


def hold_after_every_commit(lake: Lake, chance: random.Random, *, commits: int) -> None:
    table = events_table(lake)
    sequence_of: dict[str, int] = {}
    for number in range(commits):
        change_somehow(table, chance, number)
        head = table.head()
        for file in head.files():  # a file keeps the number of the commit that brought it
            assert sequence_of.setdefault(file.path, file.sequence) == file.sequence
        assert check_manifests(table) == len(head.files()) == int(head.summary["total-data-files"])
        assert head.row_count == sum(file.rows for file in head.files())
        assert int(head.summary["total-files-size"]) == sum(file.bytes for file in head.files())
    read = table.iceberg().scan().to_arrow().column("id").to_pylist()
    assert sorted(read) == sorted(table.head().to_arrow().column("id").to_pylist())
    assert table.head().manifest_count < 24


@given(keys=st.lists(st.integers(0, 9), max_size=60).map(sorted), size_max=st.integers(1, 12))
def test_chunks_keep_everything_in_order_and_cut_between_keys_where_they_can(
    keys: list[int], size_max: int
) -> None:
    found = list(chunks(keys, key=lambda key: key, size_max=size_max))
    assert [key for chunk in found for key in chunk] == keys
    assert all(1 <= len(chunk) <= size_max for chunk in found)
    for chunk, following in pairwise(found):
        assert 2 * len(chunk) >= size_max
        assert chunk[-1] != following[0] or len(chunk) == size_max


def test_a_plan_of_one_partition_opens_few_manifests_once_they_are_rewritten(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    for number in range(48):
        add(table, [number], day=number % 6)
    operations.rewrite_manifests(table, provenance=Provenance(), entries_max=8)
    opened: list[str] = []
    read = manifests.entries_of

    def count_and_read(manifest: ManifestFile, io: FileIO) -> list[ManifestEntry]:
        opened.append(manifest.manifest_path)
        return read(manifest, io)

    # how many files a plan reads is not to be seen from outside
    monkeypatch.setattr(manifests, "entries_of", count_and_read)
    assert len(table.head().files(partitions=[day_key(2)])) == 8
    assert len(opened) == 1


def test_a_manifest_of_another_program_that_was_cut_is_refused_wherever_it_ends(
    tmp_path: Path,
) -> None:
    stock = SqlCatalog("stock", uri=f"sqlite:///{tmp_path / 'c.db'}", warehouse=str(tmp_path))
    stock.create_namespace("raw")
    table = stock.create_table("raw.events", EVENTS)
    with table.update_spec() as update:
        update.add_identity("id")
    rows = pa.Table.from_batches([events([1, 2, 3])]).cast(EVENTS)
    table.append(rows)  # three files, each a block
    (manifest,) = manifests.manifests_of(table.current_snapshot(), table.io)
    file = Path(local_path(manifest.manifest_path))
    whole = file.read_bytes()
    ends = [at for at in range(len(whole)) if whole[:at].endswith(whole[-16:])]
    assert len(ends) == 3  # the header's and two blocks'; pyiceberg takes any of these for the end
    assert len(manifests.entries_of(manifest, table.io)) == 3
    for at in (*ends, *(each + 3 for each in ends), len(whole) - 1):
        file.write_bytes(whole[:at])
        with refused(CorruptFileError, path=manifest.manifest_path):
            manifests.entries_of(manifest, table.io)
    stock.close()


def test_ids_of_an_earlier_version_are_mended_by_a_rewrite_of_the_manifests(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    with written_with_long_ids(monkeypatch):
        for day in range(2):
            add(table, [day, day + 10], day=day)
            (file,) = table.head().files(partitions=[day_key(day)])
            delete_values(table, pa.table({"id": [day]}), partition=file.data_file.partition)
    assert types_of_ids(table) == {LongType()}
    operations.rewrite_manifests(table, provenance=Provenance())
    assert types_of_ids(table) == {IntegerType()}
    assert sorted(table.head().to_arrow()["id"].to_pylist()) == [10, 11]


def types_of_ids(table: LakeTable) -> set[IcebergType]:
    """Return the types in which the manifests of deletes hold ids of columns."""
    return {
        schema_written(table.head().io, each.manifest_path).find_type(136)
        for each in manifests_of_head(table)
        if each.content == ManifestContent.DELETES
    }


def test_ids_of_columns_are_written_in_the_type_that_java_readers_expect(lake: Lake) -> None:
    """With `long`, Trino and Flink cannot read the table; `tests/cluster/test_upserted_on_trino.py`."""
    table = events_table(lake)
    add(table, [1])
    (file,) = table.head().files()
    delete_values(table, pa.table({"id": [1]}), partition=file.data_file.partition)
    operations.rewrite_manifests(table, provenance=Provenance())
    io = table.iceberg().io
    for manifest in manifests_of_head(table):
        written = schema_written(io, manifest.manifest_path)
        assert written.find_type(136) == IntegerType(), manifest.content
    assert table.head().to_arrow().num_rows == 0


def test_appends_leave_full_manifests_alone(lake: Lake) -> None:
    table = events_table(lake)
    (file,) = write_batches(table, [events([0])])
    # one real file under many names: nothing here reads its rows
    for batch in range(10):
        copies = [copy_of(file, f"{file.file_path}-{batch}-{number}") for number in range(600)]
        operations.append(table, copies, provenance=Provenance())
    before = {m.manifest_path for m in manifests_of_head(table)}
    for number in range(20):
        add(table, [number])
    assert before <= {m.manifest_path for m in manifests_of_head(table)}
    assert len(table.head().files()) == 6_020


def copy_of(file: DataFile, path: str) -> DataFile:
    os.link(local_path(file.file_path), local_path(path))
    made = deepcopy(file)
    made[1] = path  # `file_path`, the second field of a data file
    return made


def manifests_of_head(table: LakeTable) -> list[ManifestFile]:
    loaded = table.iceberg()
    snapshot = loaded.metadata.current_snapshot()
    assert snapshot is not None
    return list(snapshot.manifests(loaded.io))
