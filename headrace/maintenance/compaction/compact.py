"""Compaction: merge small files, apply deletes, keep every row."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.update import AddSortOrderUpdate, SetDefaultSortOrderUpdate, TableUpdate

from headrace.engines.rewriting import FileRewriter
from headrace.errors import CommitConflictError, ConflictReason, StorageError
from headrace.iceberg.partitions import CurrentSpec, PartitionKey
from headrace.identifiers import TableName
from headrace.maintenance.compaction.bins import Bin, CompactionPolicy
from headrace.maintenance.compaction.clustering import SortKey, find_order, sort_order_of
from headrace.maintenance.compaction.plan import CompactionPlan, files_of, plan_compaction
from headrace.maintenance.compaction.rewrite import Rewriter, Rewritten
from headrace.storage.locations import local_path
from headrace.tables.commits.attempt import commit_updates
from headrace.tables.commits.operations import Commit, Provenance, replace_files
from headrace.tables.lake import LakeTable
from headrace.tables.version import FileEntry, TableVersion

TRIES_MAX = 3  # attempts at a partition that concurrent commits keep changing
PASSES_MAX = 8  # a pass at least halves the files it takes, and most partitions need one
Place = PartitionKey | None
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class CompactionResult:
    """What a compaction did; `commit` is None when there was nothing to do.

    `partitions_lost` counts partitions that concurrent commits changed at every attempt; the next
    run compacts them.
    """

    table: TableName
    commit: Commit | None  # the last one
    commits: int
    files_before: int
    files_after: int
    rows: int
    rows_deleted: int
    deletes_dropped: int
    partitions_lost: int
    elapsed_s: float

    @property
    def changed(self) -> bool:
        """Whether files were rewritten."""
        return self.commit is not None


def compact(
    table: LakeTable,
    *,
    target_bytes: int | None = None,
    policy: CompactionPolicy | None = None,
    run_id: str = "",
) -> CompactionResult:
    """Plan and apply a compaction. Idempotent: a second run plans nothing.

    Target size and policy default to the table's properties and the lake's settings.

    Raises:
        CommitConflictError: If it lost to other commits and could commit nothing.

    """
    plan = plan_compaction(
        table.head(),
        target_bytes=target_of(table, target_bytes),
        policy=policy or CompactionPolicy(group_bytes=table.lake.settings.compaction_commit_bytes),
    )
    return apply_compaction(table, plan, run_id=run_id)


def target_of(table: LakeTable, asked_bytes: int | None) -> int:
    """Return the target file size: the argument, else the table's property, else the lake's."""
    return table.target_file_bytes() if asked_bytes is None else asked_bytes


def apply_compaction(
    table: LakeTable,
    plan: CompactionPlan,
    *,
    run_id: str = "",
    progress: Progress = lambda _done, _total: None,
    passes_max: int = PASSES_MAX,
    server: FileRewriter | None = None,
) -> CompactionResult:
    """Rewrite the plan's bins and commit them group by group, one `replace` snapshot per group.

    Packed rows keep their order inside a bin, unless `server` rewrites it, which the first pass
    leaves the plain bins to; sorted rows follow the keys, with ties in input order. Memory is bounded for bins of any size. Concurrent appends are kept. A group whose input
    files are replaced or get new deletes by a concurrent commit is planned again; groups committed
    earlier stay committed.

    Files shrink when they are merged (60 files of 5 rows to a quarter of their bytes), so the
    output may be small again: those partitions are planned again until nothing is left to do or
    `passes_max` passes are done. With 1, exactly the given plan is applied.

    Raises:
        CommitConflictError: If concurrent commits won every time and nothing was committed.
        CorruptFileError: If a file cannot be read; its group was not changed.
        StorageError: If a file cannot be written; its group was not changed.
        Otherwise as `FileRewriter.rewrite`; its group was not changed.

    """
    run = _Run(table=table, plan=plan, run_id=run_id, progress=progress)
    run.follow(passes_max=passes_max, server=server)
    done = run.result()
    if run.error is not None and done.partitions_lost and not done.changed:
        raise run.error
    return done


@dataclass(kw_only=True)
class _Run:
    """State of one running compaction."""

    table: LakeTable
    plan: CompactionPlan
    run_id: str
    progress: Progress
    started: float = field(default_factory=time.monotonic)
    last: Commit | None = None
    commits: int = 0
    bins_done: int = 0
    taken: list[FileEntry] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    rows_deleted: int = 0
    deletes_dropped: int = 0
    error: CommitConflictError | None = None
    losses: Counter[Place] = field(default_factory=Counter)
    lost_last: set[Place] = field(default_factory=set)  # by the last pass, with no pass after it

    def follow(self, *, passes_max: int, server: FileRewriter | None) -> None:
        """Apply the plan, then further plans for what it left, up to `passes_max` passes."""
        sequence_max = self.plan.sequence_max

        def concerns(file: FileEntry) -> bool:
            # otherwise each pass beside a running ingest would find one more file to rewrite
            return file.path in self.written or file.sequence <= sequence_max

        plan = self.plan
        if not plan:
            return
        order_id = declare_order(self.table, plan.keys, is_own=not plan.policy.sort_by)
        with Rewriter(
            self.table,
            target_bytes=plan.target_bytes,
            keys=plan.keys,
            order_id=order_id,
            server=server,
        ) as rewriter:
            for number in range(passes_max):
                again = self._one_pass(plan, rewriter)
                if not again or number + 1 == passes_max:
                    return
                rewriter.server = None  # what is left is small
                plan = _plan_again(self.table, self.plan, again, concerns)
                if plan.keys != self.plan.keys:
                    return  # the declared keys changed during the run: the next run sorts by them

    def _one_pass(self, plan: CompactionPlan, rewriter: Rewriter) -> set[Place]:
        """Commit the groups of a plan; return the partitions to plan again."""
        self.lost_last.clear()
        again: set[Place] = set()
        uses = _DeleteUses(plan)
        bins = len(plan.bins)
        # dangling delete files are dropped with the first group, or alone if there is none
        for group in plan.groups or ((),):
            if not group and not uses.freed_by(group):
                continue
            try:
                again |= self._one_group(group, uses, rewriter, bins_total=self.bins_done + bins)
            except CommitConflictError as error:
                self.error = error
                places = {each.partition for each in group}
                self.losses.update(places)
                self.lost_last |= places
                again |= {place for place in places if self.losses[place] < TRIES_MAX}
            bins -= len(group)
        return again

    def _one_group(
        self, group: Sequence[Bin], uses: "_DeleteUses", rewriter: Rewriter, *, bins_total: int
    ) -> set[Place]:
        group, base = _current_files(self.table, group)

        def step(_: Bin) -> None:
            self.bins_done += 1
            self.progress(self.bins_done, bins_total)

        rewritten = rewriter.rewrite(group, version=base, progress=step)
        try:
            commit = self._commit(group, uses.freed_by(group), rewritten)
        except (CommitConflictError, StorageError):
            rewritten.discard()
            raise
        self._remember(group, rewritten, commit)
        self.deletes_dropped += uses.drop(group)
        spec = CurrentSpec.of(self.table.iceberg().metadata, table=str(self.table.name))
        return {spec.key_of(file) for file in rewritten.files if file.spec_id == spec.spec_id}

    def _commit(
        self, group: Sequence[Bin], freed: Sequence[DataFile], rewritten: Rewritten
    ) -> Commit:
        _, base = _current_files(self.table, group, unchanged=True)
        return replace_files(
            self.table,
            removed=[file.data_file for each in group for file in each.files],
            removed_deletes=freed,
            added=rewritten.files,
            rows_deleted=rewritten.rows_deleted,
            base_snapshot_id=base.snapshot_id,
            provenance=Provenance(run_id=self.run_id),
        )

    def _remember(self, group: Sequence[Bin], rewritten: Rewritten, commit: Commit) -> None:
        files = [file for each in group for file in each.files]
        self.taken.extend(file for file in files if file.path not in self.written)
        self.written.difference_update(file.path for file in files)
        self.written.update(local_path(file.file_path) for file in rewritten.files)
        self.rows_deleted += rewritten.rows_deleted
        self.last = commit
        self.commits += 1

    def result(self) -> CompactionResult:
        """Summarize what was done."""
        abandoned = {place for place, count in self.losses.items() if count >= TRIES_MAX}
        return CompactionResult(
            table=self.table.name,
            commit=self.last,
            commits=self.commits,
            files_before=len(self.taken),
            files_after=len(self.written),
            rows=sum(file.rows for file in self.taken),
            rows_deleted=self.rows_deleted,
            deletes_dropped=self.deletes_dropped,
            partitions_lost=len(abandoned | self.lost_last),
            elapsed_s=time.monotonic() - self.started,
        )


class _DeleteUses:
    """Tracks which delete files still apply while a plan's groups are committed one by one."""

    def __init__(self, plan: CompactionPlan) -> None:
        self._files = {use.file.file_path: use.file for use in plan.deletes if use.complete}
        self._left = {use.file.file_path: set(use.paths) for use in plan.deletes if use.complete}

    def freed_by(self, group: Iterable[Bin]) -> list[DataFile]:
        """List the delete files that apply to nothing once the files of a group are replaced."""
        going = {file.path for each in group for file in each.files}
        return [self._files[path] for path, left in self._left.items() if left <= going]

    def drop(self, group: Iterable[Bin]) -> int:
        """Record that a group was committed; return how many delete files it dropped."""
        going = {file.path for each in group for file in each.files}
        freed = [path for path, left in self._left.items() if left <= going]
        for path in freed:
            del self._left[path]
        for left in self._left.values():
            left -= going
        return len(freed)


def _current_files(
    table: LakeTable, group: Sequence[Bin], *, unchanged: bool = False
) -> tuple[tuple[Bin, ...], TableVersion]:
    """Return a group's files as the newest snapshot lists them, with the deletes that apply now.

    Raises:
        CommitConflictError: If a file is gone or, with `unchanged`, has other deletes.

    """
    version = table.head()
    places = {each.partition for each in group}
    known = {place for place in places if place is not None}
    live = {file.path: file for file in files_of(version, None if None in places else known)}
    found: list[Bin] = []
    for each in group:
        files: list[FileEntry] = []
        for file in each.files:
            now = live.get(file.path)
            if now is None:
                detail = f"a concurrent commit replaced its input file `{file.path}`"
                reason = ConflictReason.FILES_REPLACED
                raise CommitConflictError(str(table.name), detail, reason=reason, path=file.path)
            if unchanged and _deletes(now) != _deletes(file):
                detail = f"a concurrent commit deleted rows of its input file `{file.path}`"
                reason = ConflictReason.ROWS_DELETED
                raise CommitConflictError(str(table.name), detail, reason=reason, path=file.path)
            files.append(now)
        found.append(replace(each, files=tuple(files)))
    return tuple(found), version


def _deletes(file: FileEntry) -> frozenset[str]:
    return frozenset(each.file_path for each in file.deletes)


def _plan_again(
    table: LakeTable,
    first: CompactionPlan,
    places: Collection[Place],
    concerns: Callable[[FileEntry], bool],
) -> CompactionPlan:
    """Plan what earlier groups left or lost, in these partitions and in files of older specs."""
    version = table.head()
    spec_id = version.metadata.default_spec_id

    def is_there(file: FileEntry) -> bool:
        place = file.partition if file.spec_id == spec_id else None
        return place in places and concerns(file)

    return plan_compaction(
        version,
        target_bytes=first.target_bytes,
        policy=first.policy,
        partitions=None if None in places else [key for key in places if key is not None],
        concerns=is_there,
    )


def declare_order(table: LakeTable, keys: Sequence[SortKey], *, is_own: bool) -> int | None:
    """Ensure that the table has a sort order of these keys; return its id, None without keys.

    Sorted files carry this id, so they are not sorted again. If the table itself declares the keys
    (`is_own`), the order also becomes the table's default, which other writers should follow.
    """
    if not keys:
        return None

    def updates_of(current: Table) -> tuple[TableUpdate, ...]:
        metadata = current.metadata
        updates: list[TableUpdate] = []
        order_id = find_order(metadata, keys)
        if order_id is None:
            order_id = max((each.order_id for each in metadata.sort_orders), default=0) + 1
            order = sort_order_of(keys, order_id=order_id)
            updates.append(AddSortOrderUpdate.model_validate({"sort-order": order}))
        if is_own and metadata.default_sort_order_id != order_id:
            update = SetDefaultSortOrderUpdate.model_validate({"sort-order-id": order_id})
            updates.append(update)
        return tuple(updates)

    return find_order(commit_updates(table, updates_of), keys)
