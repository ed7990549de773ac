"""What processes share at one moment, and what they can read from it."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tests.protocol.rules import Bounds, Rules
from tests.protocol.table import MAIN, NONE, UNCHANGED, Metadata, Registry, Request

LEASE: Final = "lease"  # the tag of the one lease there is


class Actor(NamedTuple):
    """One process, as far as it matters; a kill takes all but `turns`, the two counters and `late`.

    `plan` is what it works on, by role; `data` the data file it writes; `request` what it asks, from
    staging on; `seen` the metadata that the catalog compares with, then the one it answered with;
    `late` a request whose sender gave up waiting, and which may still arrive.
    """

    at: str = "start"
    turns: int = 0
    commits: int = 0
    files: int = 0
    plan: tuple[int, ...] = ()
    data: int = NONE
    request: Request | None = None
    seen: Metadata | None = None
    late: Request | None = None


class World(NamedTuple):
    """Everything at one moment. `disk` has a bit per file, `lease` is the leased snapshot on record.

    The checker's own memory: `acked` has a bit per acknowledged commit, `ever` one per commit that
    was in the history of main, `reached` is the highest offset the table ever said, `tagged` and
    `granted` are the snapshots that a tagger and a leaseholder rely on.
    """

    table: Metadata
    disk: int
    registry: Registry
    lease: int
    crashes: int
    losses: int
    acked: int
    ever: int
    reached: int
    tagged: int
    granted: int
    actors: tuple[Actor, ...]


def first_world(bounds: Bounds, actors: Sequence[Actor]) -> World:
    """Return an empty table with everybody at rest."""
    return World(
        table=Metadata.of(0, (), (), 0),
        disk=0,
        registry=Registry.of({}),
        lease=NONE,
        crashes=bounds.crashes,
        losses=bounds.losses,
        acked=0,
        ever=0,
        reached=0,
        tagged=NONE,
        granted=NONE,
        actors=tuple(actors),
    )


def committed_offset(table: Metadata, rules: Rules) -> int:
    """Read the next offset to take, where the protocol keeps it."""
    if rules.keeps_offsets_in_property:
        return table.offset
    for snapshot in table.chain(table.ref(MAIN)):
        if snapshot.says != UNCHANGED:
            return snapshot.says
    return 0


def ancestors(table: Metadata, registry: Registry, snapshot_id: int) -> frozenset[int]:
    """Return a snapshot and all before it, from the registry and else from the table.

    The registry first: expiry cuts the parent from the oldest snapshot the table still has.
    """
    found: set[int] = set()
    position = snapshot_id
    while position != NONE:
        snapshot = table.by_id.get(position)
        if position in registry.parents:
            parent = registry.parents[position]
        elif snapshot is not None:
            parent = snapshot.parent
        else:
            break
        found.add(position)
        position = parent
    return frozenset(found)


def leased_chain(table: Metadata, leased: int) -> frozenset[int] | None:
    """Return the snapshots from a leased one to the head of main; None if the chain is broken."""
    found: set[int] = set()
    for snapshot in table.chain(table.ref(MAIN)):
        found.add(snapshot.id)
        if snapshot.id == leased:
            return frozenset(found)
    return None


def doomed(world: World, *, keep: int, rules: Rules) -> frozenset[int]:
    """Plan an expiry: the oldest snapshots that no name and no lease holds, but for `keep`."""
    table, lease = world.table, world.lease
    held = {
        snapshot_id
        for name, snapshot_id in table.refs
        if name == MAIN or (rules.spares_names and (name != LEASE or lease != NONE))
    }
    if lease != NONE and rules.spares_leased_chain:
        held |= {lease, *(leased_chain(table, lease) or ())}
    loose = [snapshot.id for snapshot in table.snapshots if snapshot.id not in held]
    return frozenset(loose[: max(0, len(loose) - keep)])


def refuses(table: Metadata, request: Request, rules: Rules) -> bool:
    """Whether the catalog would not apply `request` to `table`."""
    if any(table.ref(name) != snapshot_id for name, snapshot_id in request.expects):
        return True
    if request.snapshot is not None and request.snapshot.id in table.by_id:
        return True
    if request.dead:
        return _refuses_deaths(table, request, rules)
    return request.snapshot is None and any(
        snapshot_id not in table.by_id for _, snapshot_id in request.sets
    )


def _refuses_deaths(table: Metadata, request: Request, rules: Rules) -> bool:
    if any(snapshot_id not in table.by_id for snapshot_id in request.dead):
        return True
    if rules.spares_newly_leased_chain and rules.spares_new_names:
        return table.refs != request.base_refs
    return rules.spares_new_names and any(
        snapshot_id in request.dead for _, snapshot_id in table.refs
    )


def adopted(world: World, table: Metadata, rules: Rules) -> dict[str, Any]:
    """Return what changes when the catalog names `table` from now on."""
    head = table.head
    return {
        "table": table,
        "ever": world.ever | (head.lineage if head else 0),
        "reached": max(world.reached, committed_offset(table, rules)),
    }
