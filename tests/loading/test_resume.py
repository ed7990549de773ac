"""Positions: a saved one continues exactly, anywhere, and only where it belongs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Unpack

import pytest

from headrace.datasets.files import FilePlan
from headrace.errors import LoaderStateError
from headrace.loading import FeatureSpec, SampleLoader, Shuffle
from tests.loading.factories import Options, flat, numbers, write_plan

N = FeatureSpec(sparse=["n"])
SHUFFLE = Shuffle(seed=3, window_rows=40)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> FilePlan:
    return write_plan(tmp_path_factory.mktemp("plan"), [[7, 13, 5], [29], [1, 1, 40], [11]])


def loader(plan: FilePlan, *, batch_size: int = 8, **options: Unpack[Options]) -> SampleLoader:
    every: Options = {"shuffle": SHUFFLE, "canonical_splits": 4, **options}
    return SampleLoader(plan, spec=N, batch_size=batch_size, **every)


def test_resuming_after_any_batch_gives_the_tail(plan: FilePlan) -> None:
    with loader(plan, epoch=2) as whole:
        expected = numbers(list(whole))
        for done in range(len(whole) + 1):
            with loader(plan, epoch=2) as first, loader(plan, threads=1) as second:
                batches = iter(first)
                for _ in range(done):
                    next(batches)
                second.load_state_dict(json.loads(json.dumps(first.state_dict())))
                second.set_epoch(2)
                assert numbers(list(second)) == expected[done:]
                assert second.epoch == 3


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_resuming_on_another_number_of_ranks_goes_on_with_the_same_global_batches(
    plan: FilePlan, world_size: int
) -> None:
    with loader(plan, remainder="drop") as whole:
        expected = numbers(list(whole))
    with loader(plan, batch_size=1, rank=5, world_size=8) as before:
        batches = iter(before)
        for _ in range(4):
            next(batches)
        state = before.state_dict()
    ranks = []
    for rank in range(world_size):
        options: Options = {"rank": rank, "world_size": world_size, "remainder": "drop"}
        with loader(plan, batch_size=8 // world_size, **options) as after:
            after.load_state_dict(state)
            ranks.append(numbers(list(after)))
    assert [flat(parts) for parts in zip(*ranks, strict=True)] == expected[4:]


def test_another_global_batch_goes_on_with_the_same_rows(plan: FilePlan) -> None:
    with loader(plan) as before:
        batches = iter(before)
        seen = [next(batches).sparse["n"].tolist() for _ in range(5)]
        state = before.state_dict()
    with loader(plan, batch_size=13) as after:
        after.load_state_dict(state)
        rest = numbers(list(after))
    assert sorted(flat(seen + rest)) == list(range(107))


def test_the_position_is_small_and_the_same_on_every_rank(plan: FilePlan) -> None:
    states = []
    for rank in range(2):
        with loader(plan, rank=rank, world_size=2, batch_size=4) as one:
            next(iter(one))
            states.append(json.dumps(one.state_dict()))
    assert states[0] == states[1]
    assert len(states[0]) < 1024


def test_after_the_last_batch_the_next_epoch_begins(plan: FilePlan) -> None:
    with loader(plan) as done, loader(plan) as after:
        list(done)
        after.load_state_dict(done.state_dict())
        assert (after.epoch, after.state_dict()["samples_in_epoch"]) == (1, 0)
        assert sum(map(len, numbers(list(after)))) == 107


def test_a_position_of_another_order_spec_or_file_plan_is_refused(
    plan: FilePlan, tmp_path: Path
) -> None:
    state = loader(plan).state_dict()
    others = {
        "order": SampleLoader(plan, spec=N, batch_size=8),
        "spec": SampleLoader(
            plan,
            spec=FeatureSpec(sparse=["n"], dense=["ctr"]),
            batch_size=8,
            shuffle=SHUFFLE,
            canonical_splits=4,
        ),
        "files": loader(write_plan(tmp_path, [[5, 6]])),
    }
    for what, other in others.items():
        with pytest.raises(LoaderStateError) as refusal:
            other.load_state_dict(state)
        assert refusal.value.what == what
    with pytest.raises(LoaderStateError) as lacking:
        loader(plan).load_state_dict({"epoch": 1})
    assert lacking.value.saved == "missing"
    with pytest.raises(LoaderStateError) as negative:
        loader(plan).load_state_dict({**state, "samples_in_epoch": -3})
    assert negative.value.saved == -3


CHILD = """
import sys, json
from pathlib import Path
from headrace.datasets.files import FilePlan
from headrace.loading import FeatureSpec, SampleLoader, Shuffle
loader = SampleLoader(FilePlan.read(Path(sys.argv[1])), spec=FeatureSpec(sparse=["n"]),
    batch_size=8, shuffle=Shuffle(seed=3, window_rows=40), canonical_splits=4)
for batch in loader:
    print(json.dumps([batch.sparse["n"].tolist(), loader.state_dict()]), flush=True)
    sys.stdin.readline()
"""


def test_a_killed_job_goes_on_where_its_last_saved_position_is(
    plan: FilePlan, tmp_path: Path
) -> None:
    file = tmp_path / "plan.parquet"
    plan.write(file)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdin is not None
    seen, state = [], {}
    for _ in range(6):
        rows, state = json.loads(child.stdout.readline())
        seen.append(rows)
        child.stdin.write("\n")
        child.stdin.flush()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    with loader(plan) as again, loader(plan) as whole:
        again.load_state_dict(state)
        assert seen + numbers(list(again)) == numbers(list(whole))
