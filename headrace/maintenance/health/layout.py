"""The file layout of one snapshot: what compaction would rewrite in each partition."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pyiceberg.table import Table

from headrace.iceberg.delete_files import has_equality
from headrace.iceberg.manifests import manifests_of
from headrace.iceberg.partitions import PartitionKey
from headrace.maintenance.compaction.clustering import SortKey, clustering_depth, declared_keys
from headrace.maintenance.compaction.minor_major import (
    BinSize,
    major_plan,
    minor_plan,
    reasons,
    sizes,
)
from headrace.maintenance.compaction.plan import is_small
from headrace.maintenance.health.manifest_layout import ManifestLayout, manifest_layout
from headrace.tables.flaws import Flaw, count_flaws, find_flaws
from headrace.tables.version import FileEntry, TableVersion

_REMEMBERED_MAX = 256  # layouts hold numbers only: about 200 bytes a partition


@dataclass(frozen=True, kw_only=True)
class PartitionLayout:
    """The files of one partition.

    `major` are the bins of a major compaction, `minor` those of a minor one. `why` lists the reasons
    other than size to rewrite files of `major`.
    """

    partition: PartitionKey
    files: int
    small_files: int
    bytes: int
    depth: float = 0.0  # how many files hold a value of the sort key, on average; 0 if unsorted
    major: tuple[BinSize, ...] = ()
    minor: tuple[BinSize, ...] = ()
    why: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeleteLayout:
    """The delete files of a snapshot, and the data files they may apply to."""

    delete_files: int = 0
    data_files: int = 0
    data_bytes: int = 0
    opened: int = 0  # delete files that a scan opens, counted once per data file they may apply to
    by_value: bool = False


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Summary of the files of one snapshot, small enough to cache."""

    rows: int
    files: int
    small_files: int
    bytes: int
    partitions: tuple[PartitionLayout, ...]
    deletes: DeleteLayout
    manifests: ManifestLayout
    has_older_specs: bool  # whether files of older partition specs are among them
    sorted_by: str = ""  # the leading sort column; empty if none is declared
    flaws: Mapping[Flaw, int] = field(default_factory=dict)  # how many files have each
    flawed_bytes: int = 0

    @property
    def depth(self) -> float:
        """Average number of files of a partition that hold a value of the sort key; 1 is perfect."""
        return sum(each.depth * each.files for each in self.partitions) / max(1, self.files)

    @property
    def files_beside(self) -> float:
        """Average number of files in a file's partition; the upper limit of `depth`."""
        return sum(each.files**2 for each in self.partitions) / max(1, self.files)

    @property
    def removable(self) -> int:
        """How many fewer files a major compaction of all partitions would leave."""
        return sum(removed(each.major) for each in self.partitions)


def removed(bins: Iterable[BinSize]) -> int:
    """Count how many fewer files there are after merging these bins."""
    return sum(each.files - each.files_out for each in bins)


# a snapshot never changes, and listing 100,000 files takes seconds
_remembered: OrderedDict[tuple[str, int | None, int], Layout] = OrderedDict()


def layout_at(table: Table, version: TableVersion, *, target_bytes: int) -> Layout:
    """Summarize the files of a snapshot. Reads its manifests once, then answers from a cache."""
    key = (str(table.metadata.table_uuid), version.snapshot_id, target_bytes)
    found = _remembered.get(key)
    if found is None:
        found = _remembered[key] = _describe(table, version, target_bytes=target_bytes)
        while len(_remembered) > _REMEMBERED_MAX:
            _remembered.popitem(last=False)
    return found


def _describe(table: Table, version: TableVersion, *, target_bytes: int) -> Layout:
    files = version.files()
    small = [file for file in files if is_small(file, target_bytes=target_bytes)]
    keys = declared_keys(table.metadata, table=str(version.name))
    partitions = _partitions(version, files, keys=keys, target_bytes=target_bytes)
    flawed = find_flaws(version, files)
    spec_id = table.metadata.default_spec_id
    snapshot_id = version.snapshot_id
    snapshot = None if snapshot_id is None else table.metadata.snapshot_by_id(snapshot_id)
    return Layout(
        rows=version.row_count,
        files=len(files),
        small_files=len(small),
        bytes=sum(file.bytes for file in files),
        partitions=partitions,
        deletes=_deletes(files),
        manifests=manifest_layout(
            manifests_of(snapshot, table.io),
            table.metadata,
            files=Counter(file.partition for file in files if file.spec_id == spec_id),
        ),
        has_older_specs=any(file.spec_id != spec_id for file in files),
        sorted_by=keys[0].column if keys else "",
        flaws=count_flaws(flawed),
        flawed_bytes=sum(file.bytes for file in files if file.path in flawed),
    )


def _partitions(
    version: TableVersion,
    files: Sequence[FileEntry],
    *,
    keys: Sequence[SortKey],
    target_bytes: int,
) -> tuple[PartitionLayout, ...]:
    members: dict[PartitionKey, list[FileEntry]] = {}
    for file in files:
        members.setdefault(file.partition, []).append(file)
    everything = major_plan(version, target_bytes=target_bytes)
    major, why = sizes(everything), reasons(everything)
    minor = sizes(minor_plan(version, target_bytes=target_bytes))
    schema = version.metadata.schema()
    return tuple(
        PartitionLayout(
            partition=key,
            files=len(found),
            small_files=sum(is_small(file, target_bytes=target_bytes) for file in found),
            bytes=sum(file.bytes for file in found),
            depth=clustering_depth(found, keys[0], schema=schema).mean if keys else 0.0,
            major=major.get(key, ()),
            minor=minor.get(key, ()),
            why=why.get(key, ()),
        )
        for key, found in members.items()
    )


def _deletes(files: Sequence[FileEntry]) -> DeleteLayout:
    concerned = [file for file in files if file.deletes]
    applied = [each for file in concerned for each in file.deletes]
    return DeleteLayout(
        delete_files=len({each.file_path for each in applied}),
        data_files=len(concerned),
        data_bytes=sum(file.bytes for file in concerned),
        opened=len(applied),
        by_value=has_equality(applied),
    )
