"""Plan a compaction from metadata alone: which files to rewrite, and with which others."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from pyiceberg.manifest import DataFile, FileFormat

from headrace.config import MIB
from headrace.errors import UnsupportedReason, UnsupportedTableError
from headrace.iceberg.delete_files import is_global
from headrace.iceberg.partitions import PartitionKey, unpartitioned_ids
from headrace.identifiers import TableName
from headrace.maintenance.compaction import clustering
from headrace.maintenance.compaction.bins import (
    DEFAULT_POLICY,
    Bin,
    CompactionPolicy,
    Strategy,
    Triage,
    by_place,
    deleted_shares,
    grouped,
    is_small,
)
from headrace.maintenance.compaction.clustering import SortKey
from headrace.storage.open import has_folders
from headrace.tables.flaws import find_flaws
from headrace.tables.version import FileEntry, TableVersion

__all__ = ["CompactionPlan", "DeleteUse", "files_of", "is_small", "plan_compaction"]


@dataclass(frozen=True, kw_only=True)
class DeleteUse:
    """A delete file and the data files it may apply to; it is dropped once none of them is left.

    `complete` means that it can apply to no other files, though only some partitions were read.
    """

    file: DataFile
    paths: frozenset[str]
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class CompactionPlan:
    """What a compaction would rewrite; falsy when there is nothing to gain.

    `groups` are committed in order, each in one snapshot.
    """

    table: TableName
    snapshot_id: int | None
    target_bytes: int
    groups: tuple[tuple[Bin, ...], ...]
    policy: CompactionPolicy = DEFAULT_POLICY
    keys: tuple[SortKey, ...] = ()  # sort keys of sorted bins
    deletes: tuple[DeleteUse, ...] = ()
    sequence_max: int = 0  # of the planned files; newer files are left for the next plan

    @property
    def bins(self) -> tuple[Bin, ...]:
        """The bins of all groups."""
        return tuple(each for group in self.groups for each in group)

    @property
    def strategy(self) -> Strategy:
        """The row order of the rewritten files."""
        return Strategy.SORT if self.keys else Strategy.PACK

    @property
    def dangling(self) -> tuple[DataFile, ...]:
        """Delete files that no longer apply to any data file."""
        return tuple(each.file for each in self.deletes if each.complete and not each.paths)

    @property
    def files_in(self) -> int:
        """Files that would be replaced."""
        return sum(len(each.files) for each in self.bins)

    @property
    def files_out(self) -> int:
        """Estimated number of new files; an estimate because files shrink when they are merged."""
        return sum(self.files_of(each) for each in self.bins)

    @property
    def bytes_in(self) -> int:
        """Bytes that would be read."""
        return sum(each.bytes for each in self.bins)

    @property
    def deletes_in(self) -> int:
        """Delete files that would be dropped."""
        paths = {file.path for each in self.bins for file in each.files}
        return sum(each.complete and each.paths <= paths for each in self.deletes)

    def files_of(self, each: Bin) -> int:
        """Estimate how many files a bin is rewritten to."""
        return max(1, round(each.bytes / self.target_bytes))

    def __bool__(self) -> bool:
        return bool(self.groups or self.dangling)

    def __str__(self) -> str:
        if not self:
            return f"{self.table}: nothing to compact"
        gone = f", {self.deletes_in} delete files dropped" if self.deletes_in else ""
        by = f", sorted by {', '.join(map(str, self.keys))}" if self.keys else ""
        return (
            f"{self.table} at snapshot {self.snapshot_id}: {self.files_in:,} files → "
            f"{self.files_out:,}, {self.bytes_in / MIB:,.1f} MiB to rewrite in {len(self.groups)} "
            f"commits{gone}{by}"
        )


def plan_compaction(
    version: TableVersion,
    *,
    target_bytes: int,
    policy: CompactionPolicy = DEFAULT_POLICY,
    partitions: Collection[PartitionKey] | None = None,
    concerns: Callable[[FileEntry], bool] = lambda _: True,
) -> CompactionPlan:
    """Plan the bins of a table, or of some of its partitions or files.

    Reads manifests, and the footers of files that may be flawed: see `find_flaws`. Idempotent:
    once a plan is applied, the same work is not planned again.

    Raises:
        UnsupportedTableError: If a file cannot be rewritten, or a sort key is not a column.
        ValueError: If `target_bytes` is not positive, or sorting is asked for without keys.

    """
    if target_bytes <= 0:
        msg = f"`target_bytes` must be positive, not {target_bytes}"
        raise ValueError(msg)
    keys = _keys(version, policy)
    everything = files_of(version, partitions)
    considered = [file for file in everything if concerns(file)]
    triage = Triage(
        target_bytes=target_bytes,
        policy=policy,
        spec_id=version.metadata.default_spec_id,
        sorts=bool(keys),
        order_id=clustering.find_order(version.metadata, keys),
        deleted_shares=deleted_shares(everything),
        flawed=find_flaws(version, considered).keys(),
    )
    bins = [
        each
        for members in by_place(considered, spec_id=triage.spec_id).values()
        for each in triage.bins(sorted(members, key=lambda file: (file.sequence, file.path)))
    ]
    _refuse_foreign(version.name, bins)
    return CompactionPlan(
        table=version.name,
        snapshot_id=version.snapshot_id,
        target_bytes=target_bytes,
        groups=grouped(bins, group_bytes=policy.group_bytes),
        policy=policy,
        keys=keys,
        deletes=_delete_uses(version, everything, is_whole=partitions is None),
        sequence_max=max((file.sequence for file in considered), default=0),
    )


def files_of(
    version: TableVersion, partitions: Collection[PartitionKey] | None
) -> tuple[FileEntry, ...]:
    """List the files of some partitions, or all; tables with files of older specs are allowed."""
    if partitions is None:
        return version.files()
    spec_id = version.metadata.default_spec_id
    if version.spec_ids <= {spec_id}:
        return version.files(partitions=partitions)
    wanted = frozenset(partitions)
    return tuple(f for f in version.files() if f.spec_id == spec_id and f.partition in wanted)


def _keys(version: TableVersion, policy: CompactionPolicy) -> tuple[SortKey, ...]:
    metadata, table = version.metadata, str(version.name)
    if policy.strategy is Strategy.PACK:
        return ()
    if policy.sort_by:
        return clustering.keys_by_name(policy.sort_by, metadata.schema(), table=table)
    keys = clustering.declared_keys(metadata, table=table)
    if policy.strategy is Strategy.SORT and not keys:
        msg = f"`{table}` declares no sort keys; say by what to sort it"
        raise ValueError(msg)
    return keys


def _delete_uses(
    version: TableVersion, files: Iterable[FileEntry], *, is_whole: bool
) -> tuple[DeleteUse, ...]:
    used: dict[str, tuple[DataFile, set[str]]] = {}
    if is_whole:
        used = {file.file_path: (file, set()) for file in version.delete_files()}
    for file in files:
        for each in file.deletes:
            used.setdefault(each.file_path, (each, set()))[1].add(file.path)
    unpartitioned = unpartitioned_ids(version.metadata)
    return tuple(
        DeleteUse(
            file=each,
            paths=frozenset(paths),
            complete=is_whole or not is_global(each, unpartitioned=unpartitioned),
        )
        for each, paths in used.values()
    )


def _refuse_foreign(table: TableName, bins: Iterable[Bin]) -> None:
    """Refuse files that headrace cannot rewrite, before anything is changed."""
    for file in (file for each in bins for file in each.files):
        if file.data_file.file_format != FileFormat.PARQUET:
            kind = file.data_file.file_format.name
            reason, detail = UnsupportedReason.FILE_FORMAT, f"is a file of format {kind}"
        elif file.data_file.key_metadata is not None:
            reason, detail = UnsupportedReason.ENCRYPTED_FILE, "is encrypted"
        elif not has_folders(file.path):
            reason, detail = UnsupportedReason.OTHER_STORE, "is neither on a local disk nor on S3"
        else:
            continue
        detail = f"`{file.path}` {detail}"
        raise UnsupportedTableError(str(table), detail, reason=reason, path=file.path)
