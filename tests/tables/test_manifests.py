"""Manifests after any mix of commits say exactly what the format wants them to say."""

import random
from collections import Counter

import pytest
from pyiceberg.manifest import ManifestEntryStatus

from headrace.tables import commit
from headrace.tables.commit import Provenance
from headrace.tables.files import write_batches
from headrace.tables.lake import Lake, LakeTable
from tests.tables.factories import add, day_key, events, events_table


def change_somehow(table: LakeTable, chance: random.Random, number: int) -> None:
    key = day_key(day := chance.randrange(4))
    files = table.head().files(partitions=[key])
    match chance.choices(["append", "overwrite", "replace"], [6, 1, 1])[0]:
        case "overwrite":
            rewritten = write_batches(table, [events([number], day=day)])
            commit.overwrite_partitions(table, rewritten, partitions=[key], provenance=Provenance())
        case "replace" if files:
            rows = table.head().to_arrow(partitions=[key])
            commit.replace_files(
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


@pytest.mark.parametrize("seed", [1, 2])
def test_counts_totals_and_sequence_numbers_hold_after_every_commit(lake: Lake, seed: int) -> None:
    table, chance = events_table(lake), random.Random(seed)
    sequence_of: dict[str, int] = {}
    for number in range(60):
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
