"""Which small files to put together, decided from metadata alone."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from headrace.identifiers import TableName
from headrace.tables.partitions import PartitionKey
from headrace.tables.scan import FileEntry, TableVersion

SMALL_SHARE = 0.75  # a file below this share of the target counts as small


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Files of one partition that become one file."""

    partition: PartitionKey
    files: tuple[FileEntry, ...]

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes on disk of all files."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, kw_only=True)
class CompactionPlan:
    """What a compaction would rewrite; empty when there is nothing to gain."""

    table: TableName
    snapshot_id: int | None
    target_bytes: int
    bins: tuple[Bin, ...]
    sequence_max: int  # of the files the plan was made from; later ones are for the next plan

    @property
    def files_in(self) -> int:
        """Files that would be replaced."""
        return sum(len(each.files) for each in self.bins)

    @property
    def files_out(self) -> int:
        """Files that would replace them."""
        return len(self.bins)

    @property
    def bytes_in(self) -> int:
        """Bytes that would be read."""
        return sum(each.bytes for each in self.bins)

    def __bool__(self) -> bool:
        return bool(self.bins)


def is_small(file: FileEntry, *, target_bytes: int) -> bool:
    """Whether a file is worth putting together with others."""
    return file.bytes < SMALL_SHARE * target_bytes


def plan_bins(files: Sequence[FileEntry], *, target_bytes: int) -> list[list[FileEntry]]:
    """Group small files into bins of about `target_bytes`.

    Pure. Keeps the order of `files` inside a bin, and never returns a bin of one file, so a second
    run plans nothing as far as a rewritten file is as large as its bin.

    Args:
        files: Data files of one partition, oldest first.
        target_bytes: Wanted size of a rewritten file; a bin may exceed it by one file.

    Raises:
        ValueError: If `target_bytes` is not positive.

    """
    if target_bytes <= 0:
        msg = f"`target_bytes` must be positive, not {target_bytes}"
        raise ValueError(msg)
    bins: list[list[FileEntry]] = [[]]
    size = 0
    for file in files:
        if not is_small(file, target_bytes=target_bytes):
            continue
        bins[-1].append(file)
        size += file.bytes
        if size >= target_bytes:
            bins.append([])
            size = 0
    return [each for each in bins if len(each) > 1]


def plan_compaction(
    version: TableVersion,
    *,
    target_bytes: int,
    partitions: Collection[PartitionKey] | None = None,
    concerns: Callable[[FileEntry], bool] = lambda _: True,
) -> CompactionPlan:
    """Plan the bins of a table or of some of its partitions or files. Reads manifests only."""
    by_partition: dict[PartitionKey, list[FileEntry]] = {}
    considered = [file for file in version.files(partitions=partitions) if concerns(file)]
    for file in considered:
        by_partition.setdefault(file.partition, []).append(file)
    return CompactionPlan(
        table=version.name,
        snapshot_id=version.snapshot_id,
        target_bytes=target_bytes,
        sequence_max=max((file.sequence for file in considered), default=0),
        bins=tuple(
            Bin(partition=key, files=tuple(files))
            for key, members in by_partition.items()
            for files in plan_bins(
                sorted(members, key=lambda file: (file.sequence, file.path)),
                target_bytes=target_bytes,
            )
        ),
    )
