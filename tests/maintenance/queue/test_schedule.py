"""The queue of maintenance: its order, its budget, and that nothing in it waits for ever."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headrace.maintenance.compaction.minor_major import BinSize
from headrace.maintenance.health.layout import PartitionLayout
from headrace.maintenance.health.limits import Limits
from headrace.maintenance.health.state import TableState
from headrace.maintenance.queue.actions import Action, Executor, Kind
from headrace.maintenance.queue.schedule import MaintenancePlan, plan_maintenance
from tests.amounts import examples
from tests.maintenance.factories import (
    HOUR_MS,
    MIB,
    NOW,
    NOW_MS,
    layout_with,
    part,
    scattered,
    small_files,
    state,
)

pytestmark = pytest.mark.slow

FAR_PAST_MS = 24 * HOUR_MS

bins = st.lists(
    st.builds(
        BinSize,
        files=st.integers(2, 40),
        files_out=st.just(1),
        bytes=st.integers(1, 200 * MIB),
        sequence=st.integers(1, 9),
    ),
    max_size=4,
)


@st.composite
def tables(draw: st.DrawFn) -> TableState:
    """A table in some disorder."""
    number = draw(st.integers(0, 5))
    days = range(draw(st.integers(0, 5)))
    found = state(
        f"raw.t{number}",
        partitions=[part((day,), major=draw(bins), minor=draw(bins), files=50) for day in days],
        written={(day,): draw(st.integers(0, 2 * HOUR_MS)) for day in days if draw(st.booleans())},
        expirable=draw(st.sampled_from([0, 50])),
        limits=Limits(properties={"a": "b"}) if draw(st.booleans()) else Limits(),
        times_ms={
            sequence: NOW_MS - draw(st.integers(0, 90)) * HOUR_MS for sequence in range(1, 9)
        },
    )
    return layout_with(found, manifests=scattered()) if draw(st.booleans()) else found


lakes = st.lists(tables(), max_size=4, unique_by=lambda each: each.table)
budgets = st.none() | st.integers(1, 400 * MIB)


@given(found=lakes, budget=budgets)
def test_no_plan_costs_more_than_its_budget(found: list[TableState], budget: int | None) -> None:
    plan = plan_maintenance(found, budget_bytes=budget, now=NOW)
    assert budget is None or plan.cost_bytes <= budget
    assert plan.budget_bytes == budget


@given(found=lakes, budget=budgets)
def test_what_gains_most_for_each_byte_is_first_and_nothing_is_in_the_queue_twice(
    found: list[TableState], budget: int | None
) -> None:
    plan = plan_maintenance(found, budget_bytes=budget, now=NOW)
    rates = [action.gain_per_byte for action in plan.actions]
    assert all(a >= b or a == pytest.approx(b) for a, b in pairwise(rates))
    keys = [action.key for action in plan.actions]
    assert len(keys) == len(set(keys))


@given(found=lakes, budget=budgets, at=st.randoms(use_true_random=False))
def test_the_order_in_which_tables_are_read_does_not_matter(
    found: list[TableState], budget: int | None, at: object
) -> None:
    shuffled = list(found)
    at.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue]
    plan = plan_maintenance(found, budget_bytes=budget, now=NOW)
    assert plan_maintenance(shuffled, budget_bytes=budget, now=NOW).actions == plan.actions


@given(found=lakes, budget=st.integers(1, 400 * MIB))
def test_a_budget_takes_whole_steps_and_says_what_it_left_out(
    found: list[TableState], budget: int
) -> None:
    everything = plan_maintenance(found, now=NOW)
    plan = plan_maintenance(found, budget_bytes=budget, now=NOW)
    whole = {action.key: action for action in everything.actions}
    for action in plan.actions:
        assert action.steps == whole[action.key].steps[: len(action.steps)]
        assert len(action.steps) + action.steps_left == len(whole[action.key].steps)
    left_out = sum(each.cost_bytes for each in plan.waiting) - sum(
        each.cost_bytes for each in everything.waiting
    )
    assert plan.cost_bytes + left_out == everything.cost_bytes


@given(found=lakes, budget=st.integers(1, 400 * MIB))
def test_the_budget_is_used_as_long_as_something_fits(found: list[TableState], budget: int) -> None:
    everything = plan_maintenance(found, now=NOW)
    plan = plan_maintenance(found, budget_bytes=budget, now=NOW)
    taken = {action.key: len(action.steps) for action in plan.actions}
    left = budget - plan.cost_bytes
    nexts = [
        action.steps[taken.get(action.key, 0)]
        for action in everything.actions
        if taken.get(action.key, 0) < len(action.steps)
    ]
    assert all(step > left for step in nexts)


def test_healthy_tables_have_nothing_to_do() -> None:
    tidy = state(partitions=[part((1,), files=3)], written={(1,): 5_000})
    plan = plan_maintenance([tidy, state("raw.empty")], budget_bytes=MIB, now=NOW)
    assert not plan
    assert plan.waiting == ()


def test_a_partition_still_written_to_gets_minor_compactions_and_a_finished_one_a_major_one() -> (
    None
):
    many, few = small_files(9), small_files(3)
    found = state(
        partitions=[
            part(("busy",), major=[small_files(12)], minor=[many]),
            part(("quiet",), major=[few]),
            part(("done",), major=[few]),
        ],
        written={("busy",): 60_000, ("quiet",): 60_000, ("done",): 2 * HOUR_MS},
    )
    plan = plan_maintenance([found], now=NOW)
    kinds = {action.partition: action.kind for action in plan.actions}
    assert kinds == {("busy",): Kind.MINOR, ("done",): Kind.MAJOR}
    (waiting,) = plan.waiting
    assert waiting.partition == ("quiet",)
    assert waiting.until_ms == NOW_MS - 60_000 + HOUR_MS
    later = NOW + dt.timedelta(hours=1)
    again = plan_maintenance([found], now=later)
    assert {action.kind for action in again.actions} == {Kind.MAJOR}


def test_what_costs_little_for_what_it_gains_is_before_a_large_rewrite() -> None:
    found = layout_with(
        state(
            partitions=[part((1,), major=[small_files(20, bytes=100 * MIB)], files=20)],
            expirable=80,
        ),
        manifests=scattered(),
    )
    plan = plan_maintenance([found], now=NOW)
    assert [action.kind for action in plan.actions] == [Kind.EXPIRE, Kind.MANIFESTS, Kind.MAJOR]


def test_a_step_larger_than_the_whole_budget_says_how_much_it_needs() -> None:
    found = state(partitions=[part((1,), major=[small_files(20, bytes=100 * MIB)], files=20)])
    plan = plan_maintenance([found], budget_bytes=10 * MIB, now=NOW)
    assert not plan
    (waiting,) = plan.waiting
    assert "needs 100.0 MiB at once" in waiting.reason


def test_of_one_partition_the_budget_takes_as_many_bins_as_fit() -> None:
    steps = [small_files(10, bytes=40 * MIB) for _ in range(5)]
    plan = plan_maintenance(
        [state(partitions=[part((1,), major=steps)])], budget_bytes=100 * MIB, now=NOW
    )
    (action,) = plan.actions
    assert (len(action.steps), action.steps_left) == (2, 3)
    (waiting,) = plan.waiting
    assert waiting.cost_bytes == 120 * MIB


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_of_nothing_is_refused(budget: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        plan_maintenance([], budget_bytes=budget, now=NOW)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        plan_maintenance([], now=NOW.replace(tzinfo=None))


def served(found: TableState, actions: Sequence[Action]) -> TableState:
    """Foresee a table after some actions: their bins are gone."""

    def without(each: PartitionLayout) -> PartitionLayout:
        done = [a for a in actions if a.table == found.table and a.partition == each.partition]
        steps = sum(len(action.steps) for action in done)
        return replace(each, major=each.major[steps:])

    return layout_with(found, partitions=tuple(map(without, found.layout.partitions)))


@hypothesis_settings(deadline=None, max_examples=examples(100, few=40))
@given(
    busy=st.integers(1, 4),
    poor_bins=st.integers(1, 6),
    budget=st.integers(8, 40).map(lambda mib: mib * MIB),
    bin_bytes=st.integers(1, 8).map(lambda mib: mib * MIB),
)
def test_a_table_that_gains_least_is_served_though_others_never_run_out(
    busy: int, poor_bins: int, budget: int, bin_bytes: int
) -> None:
    poor = state(
        "raw.poor",
        partitions=[part((1,), major=[small_files(2, bytes=bin_bytes, sequence=1)] * poor_bins)],
        times_ms={1: NOW_MS - FAR_PAST_MS},
    )
    for round_ in range(poor_bins * 2):
        now_ms = NOW_MS + round_ * 1000
        # more work than the budget has room for, all of it better paid, in every round anew
        rich = [
            state(
                f"raw.rich{number}",
                partitions=[part((1,), major=[small_files(40, bytes=MIB, sequence=2)] * 50)],
                times_ms={2: now_ms},
            )
            for number in range(busy)
        ]
        plan = plan_maintenance([poor, *rich], budget_bytes=budget, now=NOW)
        assert plan.cost_bytes <= budget
        poor = served(poor, plan.actions)
        if not poor.layout.partitions[0].major:
            return
    pytest.fail(f"{poor.layout.partitions[0].major} are still waiting")


@hypothesis_settings(max_examples=examples(50, few=20), deadline=None)
@given(found=lakes, budget=st.integers(200, 400).map(lambda mib: mib * MIB))
def test_rounds_of_a_lake_at_rest_end_with_an_empty_queue(
    found: list[TableState], budget: int
) -> None:
    def full_only(each: TableState) -> TableState:
        return replace(each, written_ms={}, expirable=0, limits=Limits())

    resting = [layout_with(full_only(each), manifests=state().layout.manifests) for each in found]
    plan = MaintenancePlan(actions=(), waiting=(), budget_bytes=None)
    for _ in range(200):
        plan = plan_maintenance(resting, budget_bytes=budget, now=NOW)
        if not plan:
            break
        resting = [served(each, plan.actions) for each in resting]
    assert not plan
    assert plan.waiting == ()


def test_actions_name_their_partition_as_the_table_does() -> None:
    found = state(partitions=[part((dt.date(2024, 5, 1),), major=[small_files(3)])])
    (action,) = plan_maintenance([found], now=NOW).actions
    assert action.key == ("raw.events", "major compaction", '["2024-05-01"]')


def test_a_server_compacts_what_is_large_and_plain_and_headrace_the_rest() -> None:
    large = small_files(40, bytes=300 * MIB)
    plain = large._replace(plain=True)
    found = state(
        partitions=[
            part(("two plain bins",), major=[plain, plain]),
            part(("one is small",), major=[plain]),
            part(("one has deletes",), major=[plain, large]),
            part(("busy",), minor=[plain, plain]),
        ],
        written={("busy",): 0},
    )
    with_server = replace(found, server_bytes_min=600 * MIB)
    for states, expected in ((with_server, {"two plain bins", "busy"}), (found, set[str]())):
        plan = plan_maintenance([states], now=NOW)
        assert len(plan.actions) == 4
        by_server = [each for each in plan.actions if each.executor is Executor.SERVER]
        assert {str((each.partition or ("",))[0]) for each in by_server} == expected
