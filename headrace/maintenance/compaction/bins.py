"""Choose which files of one partition to rewrite together, and why."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from headrace.config import MIB
from headrace.iceberg import delete_files
from headrace.iceberg.partitions import PartitionKey
from headrace.tables.version import FileEntry

SMALL_SHARE = 0.75  # a file below this share of the target counts as small
GROUP_BYTES = 1024 * MIB


class Strategy(StrEnum):
    """Row order of a rewritten file: the order of its inputs, or the table's sort keys."""

    PACK = "pack"
    SORT = "sort"


class Reason(StrEnum):
    """Why a file is rewritten; every reason but the first applies to files of any size."""

    SMALL = "small"
    DELETES = "deleted rows"
    OLDER_SPEC = "older partition spec"
    UNSORTED = "not sorted"
    OVERLAPS = "overlaps other files"
    FLAWED = "written so that some readers misread or refuse it"


@dataclass(frozen=True, kw_only=True)
class CompactionPolicy:
    """What a compaction should achieve besides the target file size.

    Args:
        strategy: By default rows are sorted if the table declares sort keys, else only packed.
        sort_by: Columns to sort by instead of the table's declared keys.
        deleted_share_min: Rewrite a file once more than this share of its rows may be deleted.
        runs_max: Sort a whole partition once it has more separately sorted runs than this; 1
            sorts it fully. By default large runs are kept as they are.
        group_bytes: Commit after about this many bytes, so that a large table makes progress and
            a conflict loses no more than this. A sorted partition is never split over groups.

    """

    strategy: Strategy | None = None
    sort_by: tuple[str, ...] = ()
    deleted_share_min: float = 0.0
    runs_max: int | None = None
    group_bytes: int = GROUP_BYTES

    def __post_init__(self) -> None:
        if self.group_bytes <= 0 or (self.runs_max is not None and self.runs_max <= 0):
            msg = "`group_bytes` and `runs_max` must be positive"
            raise ValueError(msg)


DEFAULT_POLICY = CompactionPolicy()


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Files that are rewritten together, into as few files as their size allows.

    `partition` is None for files of an older partition spec, whose rows may go to any partition.
    """

    partition: PartitionKey | None
    files: tuple[FileEntry, ...]
    strategy: Strategy = Strategy.PACK
    reasons: Mapping[Reason, int] = field(default_factory=dict, compare=False)

    @property
    def rows(self) -> int:
        """Rows in all files, deleted ones included."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes on disk of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def is_plain(self) -> bool:
        """Whether small intact files are merged and no more, which other engines can do as well.

        They keep no order over several files, and the number of rows that deletes leave is not
        known before they are read.
        """
        return (
            self.partition is not None
            and self.strategy is Strategy.PACK
            and len(self.files) > 1
            and not set(self.reasons) - {Reason.SMALL}
            and not any(file.deletes for file in self.files)
        )


def is_small(file: FileEntry, *, target_bytes: int) -> bool:
    """Whether a file is small enough to be merged with others."""
    return file.bytes < SMALL_SHARE * target_bytes


@dataclass(frozen=True, kw_only=True)
class Triage:
    """Selects the files of one partition to rewrite.

    Args:
        target_bytes: Target size of a file.
        policy: What else the compaction should achieve.
        spec_id: The current partition spec.
        sorts: Whether rows are sorted.
        order_id: The sort order that sorted files carry; None if no file can carry it yet.
        deleted_shares: Share of a file's rows that may be deleted, by path.
        flawed: The paths of files that some readers misread or refuse.

    """

    target_bytes: int
    policy: CompactionPolicy
    spec_id: int
    sorts: bool
    order_id: int | None
    deleted_shares: Mapping[str, float]
    flawed: Collection[str] = frozenset()

    def bins(self, members: Sequence[FileEntry]) -> list[Bin]:
        """Bin the files of one partition, or those of older specs; oldest first."""
        is_current = members[0].spec_id == self.spec_id
        why = {file.path: self._reasons(file) for file in members}
        taken = [file for file in members if why[file.path]]
        if not (is_current and self.sorts):
            return self._packed(taken, why, is_current=is_current)
        worth_it = _is_worth_it(taken, why)
        if self._leaves_too_many_runs(members, taken if worth_it else ()):
            for file in members:
                why[file.path].add(Reason.OVERLAPS)
            taken, worth_it = list(members), True
        return [self._bin(taken, why, Strategy.SORT)] if worth_it else []

    def _reasons(self, file: FileEntry) -> set[Reason]:
        found: set[Reason] = set()
        if is_small(file, target_bytes=self.target_bytes):
            found.add(Reason.SMALL)
        if self.deleted_shares.get(file.path, 0.0) > self.policy.deleted_share_min:
            found.add(Reason.DELETES)
        if file.path in self.flawed:
            found.add(Reason.FLAWED)
        if file.spec_id != self.spec_id:
            found.add(Reason.OLDER_SPEC)
        elif self.sorts and not self._is_sorted(file):
            found.add(Reason.UNSORTED)
        return found

    def _is_sorted(self, file: FileEntry) -> bool:
        return self.order_id is not None and file.data_file.sort_order_id == self.order_id

    def _leaves_too_many_runs(
        self, members: Sequence[FileEntry], taken: Sequence[FileEntry]
    ) -> bool:
        if self.policy.runs_max is None:
            return False
        # files sorted by one commit form one run: their key ranges do not overlap
        going = {file.path for file in taken}
        staying = {file.sequence for file in members if file.path not in going}
        return len(staying) + bool(taken) > self.policy.runs_max

    def _packed(
        self, taken: Sequence[FileEntry], why: Mapping[str, set[Reason]], *, is_current: bool
    ) -> list[Bin]:
        parts: list[list[FileEntry]] = [[]]
        size = 0
        for file in taken:
            parts[-1].append(file)
            size += file.bytes
            if size >= self.policy.group_bytes:
                parts.append([])
                size = 0
        return [
            self._bin(part, why, Strategy.PACK, is_current=is_current)
            for part in parts
            if _is_worth_it(part, why)
        ]

    def _bin(
        self,
        files: Sequence[FileEntry],
        why: Mapping[str, set[Reason]],
        strategy: Strategy,
        *,
        is_current: bool = True,
    ) -> Bin:
        return Bin(
            partition=files[0].partition if is_current else None,
            files=tuple(files),
            strategy=strategy,
            reasons=Counter(reason for file in files for reason in sorted(why[file.path])),
        )


def _is_worth_it(files: Sequence[FileEntry], why: Mapping[str, set[Reason]]) -> bool:
    """Whether a bin gains anything: one small file alone would only be copied."""
    return len(files) > 1 or any(why[file.path] - {Reason.SMALL} for file in files)


def by_place(
    files: Iterable[FileEntry], *, spec_id: int
) -> dict[PartitionKey | None, list[FileEntry]]:
    """Group files by partition; files of specs other than `spec_id` are grouped under None."""
    places: dict[PartitionKey | None, list[FileEntry]] = {}
    for file in files:
        place = file.partition if file.spec_id == spec_id else None
        places.setdefault(place, []).append(file)
    return places


def grouped(bins: Iterable[Bin], *, group_bytes: int) -> tuple[tuple[Bin, ...], ...]:
    """Group neighbouring bins up to `group_bytes`; a larger bin is a group of its own."""
    groups: list[list[Bin]] = []
    size = 0
    for each in bins:
        if not groups or size + each.bytes > group_bytes:
            groups.append([])
            size = 0
        groups[-1].append(each)
        size += each.bytes
    return tuple(tuple(group) for group in groups)


def deleted_shares(files: Iterable[FileEntry]) -> dict[str, float]:
    """Estimate the deleted share of the rows of every file that delete files apply to.

    Deletes of one file are counted; deletes of a partition are spread evenly over its files. The
    effect of equality deletes is unknown without reading, so such a file counts as fully deleted.
    """
    deleted = [file for file in files if file.deletes]
    rows: Counter[str] = Counter()
    for file in deleted:
        rows.update({each.file_path: file.rows for each in file.deletes})
    return {
        file.path: 1.0
        if delete_files.has_equality(file.deletes)
        else min(1.0, sum((d.record_count or 1) / max(1, rows[d.file_path]) for d in file.deletes))
        for file in deleted
    }
