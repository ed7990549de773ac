"""Order the maintenance queue: what to do first within a budget, and what waits and why."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from headrace.maintenance.health.state import TableState
from headrace.maintenance.health.wording import size_text
from headrace.maintenance.queue.actions import Action, Waiting, propose

OLDEST_SHARE = 0.25  # share of a limited budget reserved for what has waited longest


@dataclass(frozen=True, kw_only=True)
class MaintenancePlan:
    """Actions in the order to perform them, and what waits; falsy if there is nothing to do."""

    actions: tuple[Action, ...]
    waiting: tuple[Waiting, ...]
    budget_bytes: int | None

    @property
    def cost_bytes(self) -> int:
        """Bytes that would be rewritten."""
        return sum(action.cost_bytes for action in self.actions)

    def __bool__(self) -> bool:
        return bool(self.actions)


def plan_maintenance(
    states: Iterable[TableState],
    *,
    others: Iterable[Action | Waiting] = (),
    budget_bytes: int | None = None,
    now: dt.datetime,
) -> MaintenancePlan:
    """Decide what to do, and in which order. Pure and deterministic.

    Actions are ordered by gain per byte written. If the budget is too small for everything, a
    quarter of it goes to what has waited longest, so that nothing starves behind actions of higher
    gain; the rest is filled by gain. A partition that is still written to gets a minor compaction
    whenever enough small files of similar row count exist; a finished partition gets one major
    compaction, after which nothing is left to compact in it.

    Args:
        states: The current states of the tables.
        others: What tables of other formats need.
        budget_bytes: Most bytes to rewrite; None for no limit.
        now: The current time, UTC.

    Raises:
        ValueError: If the budget is not positive, or `now` has no time zone.

    """
    if now.tzinfo is None:
        msg = f"`now` is {now}, which has no time zone; pass it in UTC"
        raise ValueError(msg)
    if budget_bytes is not None and budget_bytes <= 0:
        msg = f"`budget_bytes` must be positive, not {budget_bytes}"
        raise ValueError(msg)
    now_ms = round(now.timestamp() * 1000)
    proposed = [each for state in states for each in propose(state, now_ms=now_ms)]
    proposed += others
    actions = sorted(
        (each for each in proposed if isinstance(each, Action)),
        key=lambda action: (-action.gain_per_byte, action.key),
    )
    waiting = [each for each in proposed if isinstance(each, Waiting)]
    if budget_bytes is not None and sum(action.cost_bytes for action in actions) > budget_bytes:
        actions, left_out = _fill(actions, budget_bytes)
        waiting = [*left_out, *waiting]
    return MaintenancePlan(
        actions=tuple(actions), waiting=tuple(waiting), budget_bytes=budget_bytes
    )


def _fill(actions: Sequence[Action], budget: int) -> tuple[list[Action], list[Waiting]]:
    """Select what fits: first a share for what has waited longest, then by gain."""
    oldest = sorted(actions, key=lambda action: (action.since_ms, action.key))
    taken: dict[tuple[str, str, str], int] = {}  # steps by action
    room = _take(oldest, taken, budget=budget, share=OLDEST_SHARE)
    _take(actions, taken, budget=room, share=1.0)
    queue = [_cut(action, taken[action.key]) for action in actions if taken.get(action.key)]
    left_out = [
        Waiting(
            kind=action.kind,
            table=action.table,
            partition=action.partition,
            reason=_why(action, taken.get(action.key, 0), budget),
            cost_bytes=sum(action.steps[taken.get(action.key, 0) :]),
        )
        for action in actions
        if taken.get(action.key, 0) < len(action.steps)
    ]
    return queue, left_out


def _take(
    actions: Sequence[Action],
    taken: dict[tuple[str, str, str], int],
    *,
    budget: int,
    share: float,
) -> int:
    """Take steps in the order of `actions` while they fit; return the remaining budget.

    The first step that fits into the whole budget is taken even if it exceeds the share.
    """
    limit = budget * share
    spent = 0
    for action in actions:
        for step in action.steps[taken.get(action.key, 0) :]:
            if spent + step > (limit if spent else budget):
                break
            taken[action.key] = taken.get(action.key, 0) + 1
            spent += step
    return budget - spent


def _cut(action: Action, steps: int) -> Action:
    if steps == len(action.steps):
        return action
    share = sum(action.steps[:steps]) / max(1, action.cost_bytes)
    return replace(
        action,
        steps=action.steps[:steps],
        steps_left=len(action.steps) - steps,
        gain_s=action.gain_s * share,
    )


def _why(action: Action, steps: int, budget: int) -> str:
    step = action.steps[steps]
    if step > budget:
        return f"needs {size_text(step)} at once, more than the budget of {size_text(budget)}"
    return f"the budget of {size_text(budget)} is spent on actions that gain more or are older"
