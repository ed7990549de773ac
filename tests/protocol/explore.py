"""Breadth-first search through every state of a scenario, and the shortest way to what is wrong."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tests.protocol import table
from tests.protocol.invariants import everything_is_taken_in_the_end, violation
from tests.protocol.role import Process, Step
from tests.protocol.rules import Bounds, Rules
from tests.protocol.table import spell
from tests.protocol.world import Actor, World, first_world


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Some processes that meet at one table."""

    name: str
    roles: tuple[type[Process], ...]
    bounds: Bounds

    def within(self, **bounds: int) -> "Scenario":
        """Return the same meeting with other bounds."""
        return replace(self, bounds=replace(self.bounds, **bounds))


class Move(NamedTuple):
    """One step of a trace: who did what, and what was then."""

    who: str
    what: str
    world: World


@dataclass(frozen=True, kw_only=True)
class Violation:
    """An invariant that does not hold, and the shortest way there."""

    invariant: str
    wrong: str
    trace: tuple[Move, ...]

    def __str__(self) -> str:
        lines = [f"{self.invariant}: {self.wrong}, after {len(self.trace)} steps"]
        for number, move in enumerate(self.trace, 1):
            lines.append(f"{number:3}. {move.who} {move.what}")
            lines.append(f"     {describe(move.world)}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Explored:
    """What a search saw: all states if it found nothing wrong."""

    states: int
    transitions: int
    depth: int
    cpu_s: float
    done: frozenset[str]  # "who what" without numbers, each at least once
    violation: Violation | None


def explore(scenario: Scenario, *, rules: Rules | None = None) -> Explored:
    """Visit every state that can be reached, shortest ways first, until an invariant does not hold.

    Of a visited state only its 64-bit hash and its predecessor's are kept: among a million states two
    different ones share a hash with a chance of 3 in 10⁸.
    """
    rules = rules or Rules()
    table.forget()
    count = len(scenario.roles)
    processes = [
        role(index, count, rules=rules, bounds=scenario.bounds)
        for index, role in enumerate(scenario.roles)
    ]
    first = first_world(scenario.bounds, [Actor(turns=role.turns) for role in scenario.roles])
    collects = gc.isenabled()
    gc.disable()  # a million tuples without a cycle, which it would walk again and again
    try:
        return _Search(processes, rules, scenario.bounds).run(first)
    finally:
        if collects:
            gc.enable()


class _Search:
    def __init__(self, processes: Sequence[Process], rules: Rules, bounds: Bounds) -> None:
        self._processes, self._rules, self._bounds = processes, rules, bounds
        self._came_from: dict[int, int] = {}
        self._done: set[tuple[int, str]] = set()
        self._known: dict[object, list[tuple[str, tuple[Any, ...], Actor]]] = {}
        self._fine: set[object] = set()
        self._transitions = 0

    def run(self, first: World) -> Explored:
        started_s, depth = time.process_time(), 0
        frontier, wrong = [(hash(first), first)], None
        self._came_from[frontier[0][0]] = 0
        while frontier and wrong is None:
            frontier, wrong = self._widen(frontier)
            depth += 1
        return Explored(
            states=len(self._came_from),
            transitions=self._transitions,
            depth=depth,
            cpu_s=time.process_time() - started_s,
            done=frozenset(f"{self._who(index)} {what}" for index, what in self._done),
            violation=None if wrong is None else self._explain(first, wrong),
        )

    def _widen(
        self, frontier: list[tuple[int, World]]
    ) -> tuple[list[tuple[int, World]], World | None]:
        came_from, done = self._came_from, self._done
        found: list[tuple[int, World]] = []
        for origin, world in frontier:
            stuck = True
            for process in self._processes:
                steps = self._steps(process, world)
                if not steps:
                    continue
                stuck = False
                self._transitions += len(steps)
                for what, after in steps:
                    done.add((process.index, what))
                    key = hash(after)
                    if key not in came_from:
                        came_from[key] = origin
                        found.append((key, after))
                        if self._is_wrong(after):
                            return found, after
            if stuck and self._unfinished(world):
                return found, world
        return found, None

    def _steps(self, process: Process, world: World) -> Sequence[Step]:
        # what a process can do is the same wherever the others stand, and with two others they
        # stand in many places: half the time of such searches, for one other only memory
        if len(self._processes) <= 2 or process.sees_others:
            return process.steps(world)
        index, actors, shared = process.index, world.actors, world[:-1]
        key = (index, actors[index], shared)
        known = self._known.get(key)
        if known is None:
            steps = process.steps(world)
            self._known[key] = [(what, after[:-1], after.actors[index]) for what, after in steps]
            return steps
        left, right = actors[:index], actors[index + 1 :]
        return [
            (what, World._make((*after, (*left, actor, *right)))) for what, after, actor in known
        ]

    def _is_wrong(self, world: World) -> bool:
        # few steps change what the invariants look at: remember what was fine
        table = world.table
        missing = table.needs & ~world.disk
        memory = (world.acked, world.ever, world.reached, world.tagged, world.leased)
        key = (table, world.registry, missing, memory)
        if key in self._fine:
            return False
        self._fine.add(key)
        return violation(world, self._rules) is not None

    def _unfinished(self, world: World) -> str:
        return everything_is_taken_in_the_end(world, self._rules, records=self._bounds.records)

    def _explain(self, first: World, wrong: World) -> Violation:
        keys = [hash(wrong)]
        while self._came_from[keys[-1]]:
            keys.append(self._came_from[keys[-1]])
        world, trace = first, list[Move]()
        for key in reversed(keys[:-1]):
            trace.append(self._move(world, key))
            world = trace[-1].world
        found = violation(wrong, self._rules)
        name, text = found or (everything_is_taken_in_the_end.__name__, self._unfinished(wrong))
        return Violation(invariant=name, wrong=text, trace=tuple(trace))

    def _move(self, world: World, key: int) -> Move:
        for process in self._processes:
            for what, after in process.steps(world):
                if hash(after) == key:
                    return Move(self._who(process.index), what, after)
        raise AssertionError(key)

    def _who(self, index: int) -> str:
        name = self._processes[index].name
        same = [each.index for each in self._processes if each.name == name]
        return f"{name} {same.index(index) + 1}" if len(same) > 1 else name


def describe(world: World) -> str:
    """Say what the table looks like, in one line."""
    held = world.table
    parts = [f"offset {held.offset}"]
    parts.extend(f"{name}=s{snapshot_id}" for name, snapshot_id in held.refs)
    for each in held.snapshots:
        files = " ".join(f"f{file.id}({spell('', file.rows)})" for file in each.files)
        parts.append(f"s{each.id}<-s{each.parent}[f{each.manifests}: {files}]")
    parts.append(f"on disk {spell('f', world.disk) or 'nothing'}")
    on_record = sum(1 << each for each in world.registry.by_id)
    parts.append(f"on record {spell('s', on_record) or 'nothing'}")
    if world.over:
        parts.append("the lease is over")
    return "; ".join(parts)
