"""Processes that change names and lives, not rows: expiry, tags, leases, clean-up."""

from typing import Any, Final

from typing_extensions import override

from tests.protocol.role import Committer, Handler, Process, Step
from tests.protocol.table import NONE, Request, files_of, spell
from tests.protocol.world import LEASE, Actor, World, doomed, lapsed

TAG: Final = "tag"


class Expirer(Committer):
    """Expires snapshots in a swap of its own (`commit.expire`)."""

    name = "expiry"
    turns = 1

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        if not actor.turns or not self._dead(world):
            return []
        spent = actor._replace(turns=actor.turns - 1, at="stage")
        return [("finds snapshots to expire", self.put(world, spent))]

    def _dead(self, world: World) -> frozenset[int]:
        return doomed(world, keep=self.bounds.keep or 0, slack=0, rules=self.rules)

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        dead = self._dead(world)
        return self.names(world, drops=lapsed(world), dead=dead) if dead else None


class Tagger(Committer):
    """Names a snapshot behind the writers' backs (`tables/refs/refs.py`), and relies on it from then on."""

    name = "tagger"
    turns = 1
    tag = TAG

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        if not actor.turns:
            return []
        spent = actor._replace(turns=actor.turns - 1)
        return [
            (f"wants to tag s{each.id}", self.begin(world, spent, (each.id,)))
            for each in world.table.snapshots
        ]

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        wanted = actor.plan[0]
        if wanted not in world.table.by_id:
            return None
        return self.names(world, sets=((self.tag, wanted),))

    @override
    def acknowledgement(self, world: World, request: Request) -> dict[str, Any]:
        return {"tagged": request.sets[0][1]}


class Reader(Tagger):
    """Leases a snapshot and what comes after it (`tables/refs/leases.py`), for a time."""

    name = "reader"
    turns = 1
    tag = LEASE

    @override
    def steps(self, world: World) -> list[Step]:
        steps = super().steps(world)
        if world.table.ref(LEASE) != NONE and not world.over:
            actor = world.actors[self.index]
            steps.append(("has its time run out", self.put(world, actor, over=True, leased=0)))
        return steps

    @override
    def acknowledgement(self, world: World, request: Request) -> dict[str, Any]:
        if world.over:
            return {}
        seen = world.actors[self.index].seen
        assert seen is not None
        since = seen.by_id[request.sets[0][1]].sequence
        held = {s.id for s in (*seen.snapshots, *world.table.snapshots) if s.sequence >= since}
        return {"leased": sum(1 << each for each in held)}


class Cleaner(Process):
    """Removes old files that nothing needs (`maintenance/cleanup/cleanup.py`).

    It reads which files are announced and which are old, spares the former, then what any snapshot
    needs. Plan: the files that are still to go.
    """

    name = "clean-up"
    sees_others = True
    turns = 1

    @override
    def handlers(self) -> dict[str, Handler]:
        return super().handlers() | {"listed": self.spare, "removing": self.remove}

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        old = world.disk & ~self._young(world)
        if not actor.turns or not old & ~world.table.needs:
            return []
        first_reach = not self.rules.reads_announcements_before_reach
        spared = self._reached(world) if first_reach else self._announced(world)
        listed = actor._replace(at="listed", turns=actor.turns - 1, plan=(old & ~spared,))
        why = "needed" if first_reach else "announced"
        return [(f"lists old files that are not {why}", self.put(world, listed))]

    def spare(self, world: World, actor: Actor) -> list[Step]:
        """Leave out what the second look spares."""
        first_reach = not self.rules.reads_announcements_before_reach
        spared = self._announced(world) if first_reach else self._reached(world)
        left = actor._replace(at="removing", plan=(actor.plan[0] & ~spared,))
        why = "announced" if first_reach else "needed"
        return [(f"leaves out what is {why}", self.put(world, left))]

    def remove(self, world: World, actor: Actor) -> list[Step]:
        """Remove the rest."""
        going = actor.plan[0] & world.disk
        after = self.put(world, self.at_rest(actor, "start"), disk=world.disk & ~going)
        return [(f"removes {spell('f', going) or 'nothing'}", after)]

    def _young(self, world: World) -> int:
        """Return the files that cannot be old: attempts are short, and requests do not live long.

        Data files can be: a job may write for hours.
        """
        young = 0
        for actor in world.actors:
            if actor.request is not None and actor.request.snapshot is not None:
                young |= 1 << actor.request.snapshot.manifests
            if actor.late is not None and self.rules.waits_for_late_requests:
                young |= actor.late.makes
        return young

    def _announced(self, world: World) -> int:
        announced = 0
        for each in world.actors:
            if self.rules.announces_until_landed:
                is_announced = each.at != "announce"
            else:
                is_announced = each.at == "write"
            if each.data and is_announced and self.rules.spares_announced_files:
                announced |= 1 << each.data
        return announced

    def _reached(self, world: World) -> int:
        table = world.table
        if self.rules.reaches_from_every_snapshot or table.head is None:
            return table.needs
        return files_of((table.head,))
