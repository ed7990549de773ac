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
    """Everything at one moment. `disk` has a bit per file; `over` says that the lease's time is.

    The checker's own memory: `acked` has a bit per acknowledged commit, `ever` one per commit that
    was in the history of main, `reached` is the highest offset the table ever said, `tagged` the
    snapshot that a tagger relies on, and `leased` has a bit per snapshot that a reader relies on.
    """

    table: Metadata
    disk: int
    registry: Registry
    over: bool
    crashes: int
    losses: int
    acked: int
    ever: int
    reached: int
    tagged: int
    leased: int
    actors: tuple[Actor, ...]


def first_world(bounds: Bounds, actors: Sequence[Actor]) -> World:
    """Return an empty table with everybody at rest."""
    return World(
        table=Metadata.of(),
        disk=0,
        registry=Registry.of(),
        over=False,
        crashes=bounds.crashes,
        losses=bounds.losses,
        acked=0,
        ever=0,
        reached=0,
        tagged=NONE,
        leased=0,
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
    """Return a snapshot and all before it, as `changes` walks: the registry, else the table.

    The registry first: expiry cuts the parent from the oldest snapshot the table still has.
    """
    found: set[int] = set()
    position = snapshot_id
    while position != NONE:
        known = registry.by_id.get(position) or table.by_id.get(position)
        if known is None:
            break
        found.add(position)
        position = known.parent
    return frozenset(found)


def lineage(table: Metadata, registry: Registry, snapshot_id: int) -> frozenset[int]:
    """Return the same as publishing walks (`tables/history/ancestry.py`).

    The table first, and the registry where expiry may have cut the parent.
    """
    found: set[int] = set()
    position = snapshot_id
    while position != NONE:
        snapshot, record = table.by_id.get(position), registry.by_id.get(position)
        if snapshot is not None and (snapshot.parent != NONE or snapshot.sequence == 1):
            parent = snapshot.parent
        elif record is not None:
            parent = record.parent
        elif snapshot is not None:
            parent = NONE
        else:
            break
        found.add(position)
        position = parent
    return frozenset(found)


def leased_from(world: World, table: Metadata) -> int | None:
    """Return the sequence number from which on every snapshot is leased (`iceberg/retention.py`)."""
    snapshot = None if world.over else table.by_id.get(table.ref(LEASE))
    return None if snapshot is None else snapshot.sequence


def lapsed(world: World) -> tuple[str, ...]:
    """Name the leases whose time is over; whoever commits drops them."""
    return (LEASE,) if world.over and world.table.ref(LEASE) != NONE else ()


def doomed(world: World, *, keep: int, slack: int, rules: Rules) -> frozenset[int]:
    """Plan an expiry: the oldest snapshots that no name and no lease holds (`iceberg/retention.py`).

    Nothing dies until there are `slack` more than `keep`; a commit leaves one less, as its parent
    becomes one of them.
    """
    table, over = world.table, lapsed(world)
    held = {
        snapshot_id
        for name, snapshot_id in table.refs
        if name == MAIN or (rules.spares_names and name not in over)
    }
    loose = [snapshot for snapshot in table.snapshots if snapshot.id not in held]
    if len(loose) < keep + slack:
        return frozenset()
    picked = loose[: len(loose) - keep + (slack > 0)]
    pinned = leased_from(world, table) if rules.spares_leased_chain else None
    return frozenset(s.id for s in picked if pinned is None or s.sequence < pinned)


def refuses(world: World, request: Request, rules: Rules) -> bool:
    """Whether the catalog would not carry out `request` now (`iceberg/memo_catalog.py`)."""
    table, snapshot = world.table, request.snapshot
    if any(table.ref(name) != snapshot_id for name, snapshot_id in request.expects):
        return True
    if snapshot is not None and (snapshot.id in table.by_id or snapshot.sequence <= table.sequence):
        return rules.requires_head_at_swap or snapshot.id in table.by_id
    if snapshot is None and any(named not in table.by_id for _, named in request.sets):
        return True
    return bool(request.dead) and _refuses_deaths(world, request, rules)


def _refuses_deaths(world: World, request: Request, rules: Rules) -> bool:
    table, dead = world.table, request.dead
    if any(snapshot_id not in table.by_id for snapshot_id in dead):
        return True
    if (
        rules.spares_names
        and rules.spares_new_names
        and any(named in dead for name, named in table.refs if name not in request.drops)
    ):
        return True
    looks = rules.spares_leased_chain and rules.spares_newly_leased_chain
    pinned = leased_from(world, table) if looks else None
    return pinned is not None and any(table.by_id[each].sequence >= pinned for each in dead)


def adopted(world: World, table: Metadata, rules: Rules) -> dict[str, Any]:
    """Return what changes when the catalog names `table` from now on."""
    head = table.head
    changes = {
        "table": table,
        "ever": world.ever | (head.lineage if head else 0),
        "reached": max(world.reached, committed_offset(table, rules)),
    }
    if world.leased:
        new = (s.id for s in table.snapshots if s.sequence > world.table.sequence)
        changes["leased"] = world.leased | sum(1 << each for each in new)
    return changes
