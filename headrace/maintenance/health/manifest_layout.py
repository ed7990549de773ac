"""How many manifests planning one partition opens, and whether rewriting them pays off."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.table.metadata import TableMetadata

from headrace.iceberg.manifest_writer import ENTRIES_PER_MANIFEST, chunks
from headrace.iceberg.manifests import has_live_files, holds_partitions
from headrace.iceberg.partitions import PartitionKey, record_of_key
from headrace.maintenance.health.costs import ENTRY_S, OPEN_MANIFEST_S, REWRITE_ENTRY_S

PARTITIONS_ASKED_MAX = 64  # larger tables are judged by a sample of this size, evenly spread
PAYS_BACK_PLANS = 100  # a rewrite of manifests must pay off within this many plans
_SAVED_S_MIN = 0.005  # the cost of five manifests; appends leave a few, and merge them themselves


@dataclass(frozen=True, kw_only=True)
class Extent:
    """One manifest as the manifest list describes it; `holds` tests if it may list a partition."""

    entries: int
    bytes: int
    holds: Callable[[PartitionKey], bool]
    sequence: int = 0


@dataclass(frozen=True, kw_only=True)
class ManifestLayout:
    """What planning one partition opens on average, now and after a rewrite of the manifests.

    `sequence` is the sequence number of the oldest manifest.
    """

    manifests: int
    entries: int
    bytes: int
    sequence: int = 0
    opened: float = 0.0
    opened_ideal: float = 0.0
    entries_read: float = 0.0
    entries_read_ideal: float = 0.0

    @property
    def saved_s(self) -> float:
        """Seconds that a rewrite would save per plan of one partition."""
        opened = max(0.0, self.opened - self.opened_ideal)
        entries = max(0.0, self.entries_read - self.entries_read_ideal)
        return opened * OPEN_MANIFEST_S + entries * ENTRY_S

    @property
    def pays(self) -> bool:
        """Whether a rewrite pays off within `PAYS_BACK_PLANS` plans; never right after a rewrite."""
        cost_s = self.entries * REWRITE_ENTRY_S + self.manifests * OPEN_MANIFEST_S
        return self.saved_s >= max(_SAVED_S_MIN, cost_s / PAYS_BACK_PLANS)


def layout_of(
    extents: Sequence[Extent],
    *,
    files: Mapping[PartitionKey, int],
    apart: Sequence[int] = (),
    entries_max: int = ENTRIES_PER_MANIFEST,
) -> ManifestLayout:
    """Compare what planning single partitions opens now and after a rewrite of the manifests.

    Pure. All partitions have equal weight, as it is unknown which of them are read.

    Args:
        extents: The manifests that list live files.
        files: How many files of the current partition spec each partition has.
        apart: Counts of entries that keep manifests of their own and are opened by every plan:
            those of each older partition spec, and delete files.
        entries_max: Most entries that a rewrite puts into one manifest.

    """
    total = ManifestLayout(
        manifests=len(extents),
        entries=sum(each.entries for each in extents),
        bytes=sum(each.bytes for each in extents),
        sequence=min((each.sequence for each in extents), default=0),
    )
    if not files:
        return total
    rewritten = _rewritten(files, entries_max=entries_max)
    always = sum(-(-count // entries_max) for count in apart)
    asked = _spread(sorted(files, key=_order))
    opened = [[each for each in extents if each.holds(key)] for key in asked]
    ideal = [[each for each in rewritten if each.holds(key)] for key in asked]
    return replace(
        total,
        opened=_mean(len(found) for found in opened),
        opened_ideal=_mean(len(found) for found in ideal) + always,
        entries_read=_mean(sum(each.entries for each in found) for found in opened),
        entries_read_ideal=_mean(sum(each.entries for each in found) for found in ideal)
        + sum(apart),
    )


def manifest_layout(
    manifests: Iterable[ManifestFile],
    metadata: TableMetadata,
    *,
    files: Mapping[PartitionKey, int],
    entries_max: int = ENTRIES_PER_MANIFEST,
) -> ManifestLayout:
    """Measure the manifests of a snapshot from the bounds in its manifest list, opening none."""
    live = [each for each in manifests if has_live_files(each)]
    spec_id = metadata.default_spec_id
    apart: Counter[tuple[int, int]] = Counter()
    for each in live:
        if each.partition_spec_id != spec_id or each.content != ManifestContent.DATA:
            apart[each.partition_spec_id, int(each.content)] += _entries(each)
    tests = {
        key: holds_partitions(metadata, [key], spec_id=spec_id)
        for key in _spread(sorted(files, key=_order))
    }
    return layout_of(
        [_extent(each, tests) for each in live],
        files=files,
        apart=tuple(apart.values()),
        entries_max=entries_max,
    )


def _extent(
    manifest: ManifestFile, tests: Mapping[PartitionKey, Callable[[ManifestFile], bool]]
) -> Extent:
    is_data = manifest.content == ManifestContent.DATA
    return Extent(
        entries=_entries(manifest),
        bytes=manifest.manifest_length,
        # a plan reads the delete files of every partition
        holds=lambda key: not is_data or tests[key](manifest),
        sequence=manifest.sequence_number,
    )


def _entries(manifest: ManifestFile) -> int:
    counts = (
        manifest.added_files_count,
        manifest.existing_files_count,
        manifest.deleted_files_count,
    )
    return sum(each or 0 for each in counts)


def _rewritten(files: Mapping[PartitionKey, int], *, entries_max: int) -> list[Extent]:
    """Simulate the manifests of a rewrite, which lists files in partition order."""
    listed = [key for key in sorted(files, key=_order) for _ in range(files[key])]
    return [
        Extent(entries=len(chunk), bytes=0, holds=_box(list(dict.fromkeys(chunk))))
        for chunk in chunks(listed, key=lambda key: key, size_max=entries_max)
    ]


def _box(keys: Sequence[PartitionKey]) -> Callable[[PartitionKey], bool]:
    """Build a test of keys against the bounds in a manifest list, which are kept per field."""
    known = [
        [value for value in column if value is not None]
        for column in zip(*_values(keys), strict=True)
    ]
    bounds = [(min(column), max(column)) if column else None for column in known]

    def holds(key: PartitionKey) -> bool:
        (values,) = _values([key])
        return all(
            value is None or (each is not None and each[0] <= value <= each[1])
            for value, each in zip(values, bounds, strict=True)
        )

    return holds


def _values(keys: Iterable[PartitionKey]) -> list[list[Any]]:
    records = [(record_of_key(key), len(key)) for key in keys]
    return [[record[position] for position in range(length)] for record, length in records]


def _order(key: PartitionKey) -> list[tuple[bool, str, Any]]:
    """Return a sort key in the order of a rewrite: nulls first, types separate."""
    (values,) = _values([key])
    return [(False, "", "") if v is None else (True, type(v).__name__, v) for v in values]


def _spread(keys: Sequence[PartitionKey]) -> Sequence[PartitionKey]:
    step = -(-len(keys) // PARTITIONS_ASKED_MAX) or 1
    return keys[::step]


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
