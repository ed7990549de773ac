"""The order of an epoch: exact, complete, and blind to ranks and threads."""

import datetime as dt
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.datasets.files import FilePlan, PlannedFile
from headrace.loading import FeatureSpec, SampleLoader, Shuffle
from headrace.loading.plan import EpochOrder, Remainder, Share
from headrace.loading.shuffle import permutation
from tests.amounts import examples
from tests.loading.factories import Options, flat, numbers, write_plan

N = FeatureSpec(sparse=["n"])
SMALL = Shuffle(seed=3, window_rows=40)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> FilePlan:
    return write_plan(tmp_path_factory.mktemp("plan"), [[7, 13, 5], [29], [1, 1, 40], [11]])


def run(plan: FilePlan, *, batch_size: int, **options: Unpack[Options]) -> list[list[int]]:
    with SampleLoader(plan, spec=N, batch_size=batch_size, **options) as loader:
        batches = numbers(list(loader))
        assert len(batches) == len(SampleLoader(plan, spec=N, batch_size=batch_size, **options))
    return batches


def test_without_shuffle_batches_are_the_table_cut_to_exact_size(plan: FilePlan) -> None:
    batches = run(plan, batch_size=10)
    assert [len(batch) for batch in batches] == [10] * 10 + [7]
    assert flat(batches) == list(range(107))


@pytest.mark.parametrize("shuffle", [SMALL, Shuffle(unit="run", run_rows=4, window_rows=40)])
@pytest.mark.parametrize("splits", [1, 3, 8])
def test_a_shuffled_epoch_is_an_exact_permutation(
    plan: FilePlan, shuffle: Shuffle, splits: int
) -> None:
    rows = flat(run(plan, batch_size=10, shuffle=shuffle, canonical_splits=splits))
    assert rows != sorted(rows)
    assert sorted(rows) == list(range(107))


def test_runs_stay_together(plan: FilePlan) -> None:
    shuffle = Shuffle(unit="run", run_rows=5, window_rows=1)
    rows = flat(run(plan, batch_size=10, shuffle=shuffle, canonical_splits=1))
    neighbours = np.mean(np.diff(rows) == 1)
    assert neighbours > 0.6


def test_each_pass_is_another_epoch_with_another_order(plan: FilePlan) -> None:
    with SampleLoader(plan, spec=N, batch_size=10, shuffle=SMALL) as loader:
        first, second = numbers(list(loader)), numbers(list(loader))
        assert (loader.epoch, first == second) == (2, False)
        loader.set_epoch(0)
        assert numbers(list(loader)) == first


def test_breaking_off_and_iterating_again_starts_the_same_epoch_again(plan: FilePlan) -> None:
    with SampleLoader(plan, spec=N, batch_size=10, shuffle=SMALL) as loader:
        first = next(iter(loader)).sparse["n"].tolist()
        assert next(iter(loader)).sparse["n"].tolist() == first


@pytest.mark.parametrize("shuffle", [None, SMALL])
@pytest.mark.parametrize("splits", [1, 4, 8])
@pytest.mark.parametrize("remainder", ["drop", "pad"])
def test_global_batches_are_the_same_for_every_number_of_ranks(
    plan: FilePlan, shuffle: Shuffle | None, splits: int, remainder: Remainder
) -> None:
    options: Options = {"shuffle": shuffle, "canonical_splits": splits, "remainder": remainder}
    alone = run(plan, batch_size=16, **options)
    for world_size in (2, 4, 8):
        ranks = []
        for rank in range(world_size):
            share: Options = {**options, "rank": rank, "world_size": world_size}
            ranks.append(run(plan, batch_size=16 // world_size, **share))
        together = [flat(parts) for parts in zip(*ranks, strict=True)]
        assert together == alone
        assert {len(batch) for batches in ranks for batch in batches} == {16 // world_size}


@pytest.mark.parametrize("threads", [0, 1, 2, 4])
def test_the_number_of_threads_does_not_change_a_batch(plan: FilePlan, threads: int) -> None:
    options: Options = {"shuffle": SMALL, "canonical_splits": 4}
    other: Options = {**options, "threads": threads}
    assert run(plan, batch_size=9, **other) == run(plan, batch_size=9, **options)


def test_with_splits_a_rank_opens_only_its_own_row_groups(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, [[32] * 8])
    with SampleLoader(
        plan, spec=N, batch_size=4, rank=1, world_size=8, canonical_splits=8
    ) as loader:
        assert sum(len(batch) for batch in loader) == 32
        assert loader.stats().rows_decoded == 32


def test_padding_repeats_the_start_and_says_so(plan: FilePlan) -> None:
    with SampleLoader(plan, spec=N, batch_size=10, remainder="pad") as loader:
        last = list(loader)[-1]
        assert (loader.rows_padded, loader.rows_dropped, last.padding) == (3, 0, 3)
    assert last.sparse["n"].tolist() == [*range(100, 107), 0, 1, 2]


def test_several_ranks_drop_the_remainder_by_default_and_say_how_much(plan: FilePlan) -> None:
    loader = SampleLoader(plan, spec=N, batch_size=10, rank=0, world_size=2)
    assert (loader.share.remainder, loader.rows_dropped, len(loader)) == ("drop", 7, 5)


def test_several_ranks_cannot_keep_a_short_batch(plan: FilePlan) -> None:
    with pytest.raises(ValueError, match="choose remainder"):
        SampleLoader(plan, spec=N, batch_size=10, rank=0, world_size=2, remainder="keep")


def test_days_select_files_and_an_unknown_day_is_refused(plan: FilePlan) -> None:
    days = [dt.date(2019, 11, 25), dt.date(2019, 11, 27)]
    rows = flat(run(plan, batch_size=10, days=days))
    assert rows == [*range(25, 54), *range(96, 107)]
    with pytest.raises(ValueError, match="2019-12-24"):
        SampleLoader(plan, spec=N, batch_size=10, days=[dt.date(2019, 12, 24)])


def test_a_plan_without_files_is_an_epoch_without_batches() -> None:
    with SampleLoader(FilePlan(()), spec=N, batch_size=10) as loader:
        assert (list(loader), len(loader)) == ([], 0)


def test_the_permutation_of_a_key_never_changes() -> None:
    assert permutation(10, key=42).tolist() == [5, 2, 7, 3, 9, 4, 0, 1, 8, 6]
    assert sorted(permutation(1000, key=1).tolist()) == list(range(1000))
    assert permutation(0, key=1).tolist() == []
    assert permutation(1, key=1).tolist() == [0]


def test_permutations_move_every_row_anywhere() -> None:
    places = np.array([permutation(8, key=key) for key in range(4000)])
    counts = np.array([np.bincount(places[:, at], minlength=8) for at in range(8)])
    assert abs(counts / 4000 - 1 / 8).max() < 0.03


def test_no_thread_is_left_behind(plan: FilePlan) -> None:
    before = set(threading.enumerate())  # one of another test may end meanwhile
    with SampleLoader(plan, spec=N, batch_size=3, threads=4) as loader:
        next(iter(loader))
        assert set(threading.enumerate()) - before
    assert not set(threading.enumerate()) - before


groups = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=5)
shuffles = st.none() | st.builds(
    Shuffle,
    unit=st.sampled_from(["row", "run"]),
    seed=st.integers(0, 5),
    window_rows=st.integers(1, 60),
    run_rows=st.integers(1, 5),
)


def planned(sizes: Sequence[Sequence[int]]) -> list[PlannedFile]:
    return [
        PlannedFile(path=str(at), rows=sum(rows), row_group_rows=tuple(rows), bytes=0, partition=())
        for at, rows in enumerate(sizes)
    ]


def rows_of(order: EpochOrder, share: Share, *, start: int = 0) -> list[list[tuple[int, int, int]]]:
    """Each batch as (file, row group, row) triples, before the rows of a window are mixed."""
    batches = []
    for plan in order.batches(share, start=start):
        rows = []
        for piece in plan.pieces:
            window = [
                (segment.file, segment.row_group, row)
                for segment in order.segments(piece.window)
                for row in range(segment.start, segment.stop)
            ]
            assert len(window) == order.window_rows(piece.window)
            rows += window[piece.start : piece.stop]
        batches.append(rows)
    return batches


@given(
    sizes=groups,
    shuffle=shuffles,
    splits=st.integers(1, 9),
    batch_size=st.integers(1, 12),
    world_size=st.integers(1, 5),
    pad=st.booleans(),
)
@settings(
    max_examples=examples(150, few=50), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
def test_no_row_is_lost_or_doubled_whatever_the_sizes(
    sizes: list[list[int]],
    shuffle: Shuffle | None,
    splits: int,
    batch_size: int,
    world_size: int,
    pad: bool,
) -> None:
    files = planned(sizes)
    order = EpochOrder(files, shuffle=shuffle, epoch=1, splits=splits)
    everything = sorted(
        (at, group, row)
        for at, file in enumerate(files)
        for group, rows in enumerate(file.row_group_rows)
        for row in range(rows)
    )
    shares = [
        Share(
            batch_size=batch_size,
            rank=rank,
            world_size=world_size,
            remainder="pad" if pad else "drop",
        )
        for rank in range(world_size)
    ]
    ranks = [rows_of(order, share) for share in shares]
    assert {len(batches) for batches in ranks} == {shares[0].batch_count(order.rows)}
    seen = [row for batches in ranks for batch in batches for row in batch]
    assert len(seen) == sum(len(batches) for batches in ranks) * batch_size
    if pad:
        assert set(seen) == set(everything)
        assert len(seen) - len(everything) == shares[0].rows_padded(order.rows)
        told = sum(plan.padding for share in shares for plan in order.batches(share))
        assert told == shares[0].rows_padded(order.rows)
    else:
        assert len(set(seen)) == len(seen)
        assert len(everything) - len(seen) == shares[0].rows_dropped(order.rows)
    alone = [row for batch in rows_of(order, Share(batch_size=batch_size)) for row in batch]
    assert sorted(alone) == everything


@given(sizes=groups, shuffle=shuffles, batch_size=st.integers(1, 12))
@settings(
    max_examples=examples(15, few=6),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_files_of_any_sizes_come_out_whole(
    tmp_path: Path, sizes: list[list[int]], shuffle: Shuffle | None, batch_size: int
) -> None:
    plan = write_plan(tmp_path, [rows for rows in sizes if sum(rows)])
    rows = flat(run(plan, batch_size=batch_size, shuffle=shuffle))
    assert sorted(rows) == list(range(plan.rows))
