"""How many manifests a plan of one partition opens, and whether listing files anew would pay."""

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

PARTITIONS_ASKED_MAX = 64  # a table with more is judged by as many of them, evenly spread
PAYS_BACK_PLANS = 100  # listing files anew must be repaid by so many plans
_SAVED_S_MIN = 0.005  # as much as five manifests; appends leave a few, and merge them themselves


@dataclass(frozen=True, kw_only=True)
class Extent:
    """One manifest as its list describes it; `holds` says whether it may list a partition."""

    entries: int
    bytes: int
    holds: Callable[[PartitionKey], bool]
    sequence: int = 0


@dataclass(frozen=True, kw_only=True)
class ManifestLayout:
    """What planning one partition opens and reads, on average, and what it would after a rewrite.

    `sequence` is that of the oldest manifest.
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
        """Seconds that each plan of one partition would take less."""
        opened = max(0.0, self.opened - self.opened_ideal)
        entries = max(0.0, self.entries_read - self.entries_read_ideal)
        return opened * OPEN_MANIFEST_S + entries * ENTRY_S

    @property
    def pays(self) -> bool:
        """Whether `PAYS_BACK_PLANS` plans repay a rewrite; never right after one."""
        cost_s = self.entries * REWRITE_ENTRY_S + self.manifests * OPEN_MANIFEST_S
        return self.saved_s >= max(_SAVED_S_MIN, cost_s / PAYS_BACK_PLANS)


def layout_of(
    extents: Sequence[Extent],
    *,
    files: Mapping[PartitionKey, int],
    apart: Sequence[int] = (),
    entries_max: int = ENTRIES_PER_MANIFEST,
) -> ManifestLayout:
    """Compare what plans of single partitions open with what they would if files were listed anew.

    Pure. Partitions count alike: nobody knows which of them readers ask for.

    Args:
        extents: The manifests that list live files.
        files: How many files of the current partition spec each partition has.
        apart: Counts of entries that stay in manifests of their own and are opened by every plan:
            those of each older partition spec, and delete files.
        entries_max: Entries that a rewrite puts into one manifest.

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
    """Judge the manifests of a snapshot by the bounds in their list; none of them is opened."""
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
        # a plan reads every delete file, whatever partition it is of
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
    """Foresee the manifests of a rewrite, which lists files in the order of their partitions."""
    listed = [key for key in sorted(files, key=_order) for _ in range(files[key])]
    return [
        Extent(entries=len(chunk), bytes=0, holds=_box(list(dict.fromkeys(chunk))))
        for chunk in chunks(listed, key=lambda key: key, size_max=entries_max)
    ]


def _box(keys: Sequence[PartitionKey]) -> Callable[[PartitionKey], bool]:
    """Test keys by the bounds that a manifest list keeps: of each field on its own."""
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
    """Order keys as a rewrite does: missing values first, mixed types apart."""
    (values,) = _values([key])
    return [(False, "", "") if v is None else (True, type(v).__name__, v) for v in values]


def _spread(keys: Sequence[PartitionKey]) -> Sequence[PartitionKey]:
    step = -(-len(keys) // PARTITIONS_ASKED_MAX) or 1
    return keys[::step]


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
