"""Plans: what is taken and what is not, on files that exist only as numbers."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from headrace.api import Lake
from headrace.maintenance.compaction.bins import (
    Bin,
    CompactionPolicy,
    Reason,
    Strategy,
    Triage,
    by_place,
    deleted_shares,
    grouped,
    is_small,
)
from headrace.maintenance.compaction.compact import PASSES_MAX
from headrace.maintenance.compaction.plan import plan_compaction
from headrace.tables.version import FileEntry
from tests.amounts import examples
from tests.tables.factories import add, events_table

pytestmark = pytest.mark.slow

CURRENT, OLDER, ORDER = 1, 0, 7


def file_of(
    name: str,
    *,
    size: int = 10,
    partition: int = 0,
    sequence: int = 1,
    spec_id: int = CURRENT,
    order_id: int | None = None,
    deleted: int = 0,
) -> FileEntry:
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=name,
        file_format=FileFormat.PARQUET,
        partition=Record(partition),
        record_count=100,
        file_size_in_bytes=size,
        sort_order_id=order_id,
    )
    file.spec_id = spec_id
    gone = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=f"{name}-deletes",
        file_format=FileFormat.PARQUET,
        partition=Record(partition),
        record_count=deleted,
        file_size_in_bytes=1,
    )
    return FileEntry(
        path=name,
        rows=100,
        bytes=size,
        partition=(partition,),
        sequence=sequence,
        data_file=file,
        deletes=(gone,) if deleted else (),
    )


@st.composite
def file_lists(draw: st.DrawFn) -> list[FileEntry]:
    return [
        file_of(
            f"file-{number:03d}",
            size=draw(st.integers(1, 300)),
            partition=draw(st.integers(0, 2)),
            sequence=draw(st.integers(1, 9)),
            spec_id=draw(st.sampled_from([CURRENT, CURRENT, CURRENT, OLDER])),
            order_id=draw(st.sampled_from([None, ORDER])),
            deleted=draw(st.sampled_from([0, 0, 3, 100])),
        )
        for number in range(draw(st.integers(0, 40)))
    ]


@dataclass(frozen=True)
class Planner:
    """Plans as `plan_compaction` does, and writes what the writer would write."""

    target: int
    policy: CompactionPolicy
    sorts: bool

    def plan(self, files: list[FileEntry]) -> list[Bin]:
        triage = Triage(
            target_bytes=self.target,
            policy=self.policy,
            spec_id=CURRENT,
            sorts=self.sorts,
            order_id=ORDER,
            deleted_shares=deleted_shares(files),
        )
        places = by_place(files, spec_id=CURRENT).values()
        oldest_first = (sorted(m, key=lambda file: (file.sequence, file.path)) for m in places)
        return [each for members in oldest_first for each in triage.bins(members)]

    def written(self, each: Bin, *, sequence: int, shrunk: float) -> list[FileEntry]:
        """Files of the target size and one of what is left; older specs go to two partitions."""
        sizes: dict[int, int] = {}
        for number, file in enumerate(each.files):
            to = number % 2 if each.partition is None else int(str(each.partition[0]))
            sizes[to] = sizes.get(to, 0) + max(1, round(file.bytes * shrunk))
        order_id = ORDER if each.strategy is Strategy.SORT else None
        found: list[FileEntry] = []
        for partition, size in sizes.items():
            parts = [self.target] * (size // self.target) + [size % self.target]
            found += [
                file_of(
                    f"new-{sequence}-{partition}-{number}-{each.files[0].path}",
                    size=part,
                    partition=partition,
                    sequence=sequence,
                    order_id=order_id,
                )
                for number, part in enumerate(parts)
                if part
            ]
        return found


planners = st.builds(
    Planner,
    target=st.integers(1, 200),
    policy=st.builds(
        CompactionPolicy,
        group_bytes=st.sampled_from([150, 400, 10_000]),
        runs_max=st.sampled_from([None, 1, 3]),
        deleted_share_min=st.sampled_from([0.0, 0.05]),
    ),
    sorts=st.booleans(),
)


@hypothesis_settings(deadline=None, max_examples=examples(300, few=100))
@given(files=file_lists(), planner=planners)
def test_no_file_is_taken_twice_and_none_without_a_reason(
    files: list[FileEntry], planner: Planner
) -> None:
    bins = planner.plan(files)
    taken = [file.path for each in bins for file in each.files]
    assert len(taken) == len(set(taken))
    for each in bins:
        assert each.reasons
        assert len(each.files) > 1 or set(each.reasons) - {Reason.SMALL}
        assert [(f.sequence, f.path) for f in each.files] == sorted(
            (f.sequence, f.path) for f in each.files
        )
        assert len({f.partition if f.spec_id == CURRENT else None for f in each.files}) == 1
        if each.strategy is Strategy.PACK:
            assert sum(f.bytes for f in each.files[:-1]) < planner.policy.group_bytes
    left = [file for file in files if file.path not in taken]
    assert not [file for file in left if file.spec_id == OLDER]
    if planner.policy.deleted_share_min == 0:
        assert not [file for file in left if file.deletes]
    if planner.sorts:
        assert all(file.data_file.sort_order_id == ORDER for file in left)
    groups = grouped(bins, group_bytes=planner.policy.group_bytes)
    assert [each for group in groups for each in group] == bins
    for group in groups:
        assert len(group) == 1 or sum(b.bytes for b in group) <= planner.policy.group_bytes


@hypothesis_settings(deadline=None, max_examples=examples(300, few=100))
@given(files=file_lists(), planner=planners, shrunk=st.sampled_from([0.3, 0.8, 1.0]))
def test_plans_end_and_what_they_leave_is_planned_no_more(
    files: list[FileEntry], planner: Planner, shrunk: float
) -> None:
    live = files
    for sequence in range(PASSES_MAX + 1):
        bins = planner.plan(live)
        if not bins:
            break
        taken = {file.path for each in bins for file in each.files}
        live = [file for file in live if file.path not in taken]
        # every bin its own commit, as if every group held one
        for number, each in enumerate(bins):
            live += planner.written(each, sequence=(sequence + 1) * 100 + number, shrunk=shrunk)
    assert bins == []
    small = [file for file in live if is_small(file, target_bytes=planner.target)]
    assert len({file.partition for file in small}) == len(small)
    if planner.sorts and planner.policy.runs_max:
        for partition in {file.partition for file in live}:
            runs = {file.sequence for file in live if file.partition == partition}
            assert len(runs) <= planner.policy.runs_max


@hypothesis_settings(deadline=None, max_examples=examples(100, few=40))
@given(files=file_lists(), target=st.integers(1, 200), sorts=st.booleans())
def test_files_that_keep_their_bytes_need_one_pass(
    files: list[FileEntry], target: int, *, sorts: bool
) -> None:
    planner = Planner(target, CompactionPolicy(), sorts)
    files = [replace(file, deletes=()) for file in files if file.spec_id == CURRENT]
    bins = planner.plan(files)
    taken = {file.path for each in bins for file in each.files}
    live = [file for file in files if file.path not in taken]
    for each in bins:
        live += planner.written(each, sequence=100, shrunk=1.0)
    assert planner.plan(live) == []


def test_a_file_alone_is_rewritten_only_if_it_must_be() -> None:
    pack = Planner(100, CompactionPolicy(), sorts=False)
    sort = Planner(100, CompactionPolicy(), sorts=True)
    assert pack.plan([file_of("small")]) == []
    assert sort.plan([file_of("small", order_id=ORDER)]) == []
    for planner, file, reason in (
        (pack, file_of("deletes", size=500, deleted=1), Reason.DELETES),
        (pack, file_of("older", size=500, spec_id=OLDER), Reason.OLDER_SPEC),
        (sort, file_of("unsorted", size=500), Reason.UNSORTED),
    ):
        (each,) = planner.plan([file])
        assert each.reasons == {reason: 1}


def test_deletes_of_a_few_rows_may_wait() -> None:
    files = [file_of("few", size=500, deleted=5), file_of("many", size=500, deleted=30)]
    (each,) = Planner(100, CompactionPolicy(deleted_share_min=0.1), sorts=False).plan(files)
    assert [file.path for file in each.files] == ["many"]


def test_a_delete_file_of_many_data_files_counts_for_each_by_its_rows() -> None:
    shared = file_of("x", deleted=30).deletes
    files = [replace(file_of(name), deletes=shared) for name in ("a", "b", "c")]
    assert deleted_shares(files) == pytest.approx({"a": 0.1, "b": 0.1, "c": 0.1})


def test_sizes_that_make_no_sense_are_refused(lake: Lake) -> None:
    table = events_table(lake)
    add(table, [1])
    with pytest.raises(ValueError, match="`target_bytes` must be positive"):
        plan_compaction(table.head(), target_bytes=0)
    with pytest.raises(ValueError, match="must be positive"):
        CompactionPolicy(runs_max=0)
    with pytest.raises(ValueError, match="declares no sort keys"):
        plan_compaction(
            table.head(), target_bytes=1, policy=CompactionPolicy(strategy=Strategy.SORT)
        )
