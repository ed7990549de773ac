"""Minor and major compaction: which files of which partitions each of them rewrites.

Minor compaction is for partitions that are still written to, major compaction for finished ones.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from headrace.iceberg.partitions import PartitionKey
from headrace.maintenance.compaction.bins import Bin, CompactionPolicy, Reason
from headrace.maintenance.compaction.plan import CompactionPlan, plan_compaction
from headrace.maintenance.compaction.tiers import full_tiers
from headrace.tables.version import FileEntry, TableVersion

SORTED_RUNS_MAX = 4  # of a finished partition; more are sorted into one


class BinSize(NamedTuple):
    """Size of a bin of files; `sequence` is the sequence number of the oldest file.

    `plain` means that an engine's server may rewrite it: see `Bin.is_plain`.
    """

    files: int
    files_out: int
    bytes: int
    sequence: int
    plain: bool = False


def minor_plan(
    version: TableVersion, *, target_bytes: int, partition: PartitionKey | None = None
) -> CompactionPlan:
    """Plan to merge small files of similar row count, where a size tier has enough of them."""
    members: dict[PartitionKey, list[FileEntry]] = {}
    for file in _files(version, partition):
        members.setdefault(file.partition, []).append(file)
    tiers = [full_tiers(each, target_bytes=target_bytes) for each in members.values()]
    paths = frozenset(path for each in tiers for path in each)
    return plan_compaction(
        version,
        target_bytes=target_bytes,
        partitions=_pruned(version, partition),
        concerns=lambda file: file.path in paths,
    )


def major_plan(
    version: TableVersion, *, target_bytes: int, partition: PartitionKey | None = None
) -> CompactionPlan:
    """Plan everything there is to compact in a partition, or in all of them.

    A sorted partition is sorted again as a whole once it has more than `SORTED_RUNS_MAX` runs; a
    few runs, as late rows produce, are not worth rewriting the whole partition.
    """
    return plan_compaction(
        version,
        target_bytes=target_bytes,
        policy=CompactionPolicy(runs_max=SORTED_RUNS_MAX),
        partitions=_pruned(version, partition),
        concerns=lambda file: partition is None or file.partition == partition,
    )


def sizes(plan: CompactionPlan) -> Mapping[PartitionKey, tuple[BinSize, ...]]:
    """Return the bin sizes of a plan by partition; files of older specs by their own partition."""
    found: dict[PartitionKey, tuple[BinSize, ...]] = {}
    for each in plan.bins:
        for key in {file.partition: None for file in each.files}:
            part = replace(each, files=tuple(f for f in each.files if f.partition == key))
            size = BinSize(
                files=len(part.files),
                files_out=plan.files_of(part),
                bytes=part.bytes,
                sequence=min(file.sequence for file in part.files),
                plain=part.is_plain,
            )
            found[key] = (*found.get(key, ()), size)
    return found


def reasons(plan: CompactionPlan) -> Mapping[PartitionKey, tuple[str, ...]]:
    """Return the reasons other than size to rewrite files, by partition."""
    found: dict[PartitionKey, Counter[Reason]] = {}
    for each in plan.bins:
        for key in {file.partition for file in each.files}:
            found.setdefault(key, Counter()).update(each.reasons)
    return {
        key: tuple(
            f"{count:,} {reason.value}"
            for reason, count in sorted(counts.items())
            if reason is not Reason.SMALL
        )
        for key, counts in found.items()
    }


def first(plan: CompactionPlan, *, steps: int) -> CompactionPlan:
    """Keep the first `steps` bins of a plan; the rest are left for a later plan."""
    groups: list[tuple[Bin, ...]] = []
    for group in plan.groups:
        groups.append(group[:steps])
        steps -= len(groups[-1])
    return replace(plan, groups=tuple(group for group in groups if group))


def _files(version: TableVersion, partition: PartitionKey | None) -> tuple[FileEntry, ...]:
    wanted = _pruned(version, partition)
    found = version.files(partitions=wanted)
    return tuple(file for file in found if partition is None or file.partition == partition)


def _pruned(version: TableVersion, partition: PartitionKey | None) -> list[PartitionKey] | None:
    """Return the partition to read; None (all of them) if there are files of older specs."""
    if partition is None or len(version.spec_ids) > 1:
        return None
    return [partition]
