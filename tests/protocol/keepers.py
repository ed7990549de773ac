"""Processes that change names and lives, not rows: expiry, tags, leases, publishing, clean-up."""

from typing import Any

from typing_extensions import override

from tests.protocol.role import Committer, Handler, Process, Step
from tests.protocol.table import MAIN, NONE, Metadata, Request, files_of
from tests.protocol.world import LEASE, Actor, World, ancestors, doomed, leased_chain
from tests.protocol.writers import APPENDED_ROW

TAG = "tag"
BRANCH = "audit"
CREATE, APPEND, PUBLISH, DROP = range(4)


class Expirer(Committer):
    """Expires snapshots in a commit of its own."""

    name = "expiry"
    turns = 1

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        if not actor.turns or not self._doomed(world):
            return []
        spent = actor._replace(turns=actor.turns - 1, at="stage")
        return [("finds snapshots to expire", self.put(world, spent))]

    def _doomed(self, world: World) -> frozenset[int]:
        return doomed(world, keep=self.bounds.keep or 0, rules=self.rules)

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        dead = self._doomed(world)
        return Request.of(dead=dead, base_refs=world.table.refs) if dead else None


class Tagger(Committer):
    """Names a snapshot behind the writers' backs (`tables/refs.py`), and relies on it from then on."""

    name = "tagger"
    turns = 1

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
        if actor.plan[0] not in world.table.by_id:
            return None
        return Request.of(expects=((TAG, NONE),), sets=((TAG, actor.plan[0]),))

    @override
    def acknowledgement(self, world: World, request: Request) -> dict[str, Any]:
        return {"tagged": request.sets[0][1]}


class Reader(Committer):
    """Leases a snapshot: its row in the registry, then its tag, then a look whether the chain holds.

    At `ready` the lease is granted: nothing from the leased snapshot to the head may go. Plan: the
    leased snapshot.
    """

    name = "reader"
    turns = 1

    resting = Committer.resting | {"lapsing"}

    @override
    def handlers(self) -> dict[str, Handler]:
        return super().handlers() | {"ready": self.end, "lapsing": self.end}

    @override
    def steps(self, world: World) -> list[Step]:
        steps = super().steps(world)
        actor = world.actors[self.index]
        if world.lease != NONE and actor.at not in self.resting:  # slow: its time is over
            steps.append(("has its lease run out", self.put(world, actor, lease=NONE)))
        return steps

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        if not actor.turns:
            return []
        first = "announce" if self.rules.announces_lease_first else "stage"
        return [
            (
                f"wants to lease s{each.id}",
                self.put(world, actor._replace(at=first, turns=0, plan=(each.id,))),
            )
            for each in world.table.snapshots
        ]

    @override
    def announce(self, world: World, actor: Actor) -> list[Step]:
        if not self.rules.announces_lease_first:
            return [("puts its lease on record", self._grant(world, actor))]
        announced = self.put(world, actor._replace(at="stage"), lease=actor.plan[0])
        return [("puts its lease on record", announced)]

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        if actor.plan[0] not in world.table.by_id:
            return None
        return Request.of(expects=((LEASE, NONE),), sets=((LEASE, actor.plan[0]),))

    @override
    def landed(self, world: World, actor: Actor) -> list[Step]:
        assert actor.seen is not None
        leased = actor.plan[0]
        rested = self.at_rest(actor, "lapsing")
        if self.rules.grants_whole_chains_only and leased_chain(actor.seen, leased) is None:
            return [("finds the chain broken and gives up", self.put(world, rested))]
        if not self.rules.announces_lease_first:
            return [("has its tag", self.put(world, actor._replace(at="announce")))]
        if self.rules.grants_live_leases_only and world.lease == NONE:
            return [("finds its lease run out", self.put(world, rested))]
        return [("is granted its lease", self._grant(world, actor))]

    def _grant(self, world: World, actor: Actor) -> World:
        leased = actor.plan[0]
        return self.put(world, self.at_rest(actor, "ready"), lease=leased, granted=leased)

    def end(self, world: World, actor: Actor) -> list[Step]:
        """Let the lease end, by the reader or by its age; expiry takes the tag."""
        ended = self.put(world, self.at_rest(actor, "done"), lease=NONE, granted=NONE)
        return [("ends its lease, or lets it run out", ended)]

    @override
    def after_refusal(self, actor: Actor) -> Actor:
        return self.at_rest(actor, "lapsing")

    @override
    def after_kill(self, actor: Actor) -> Actor:
        return self.at_rest(actor, "lapsing")


class Publisher(Committer):
    """Writes rows on a branch, then moves main there: write, audit, publish.

    Plan: what it does, the row if it appends one. Killed, it does not come back.
    """

    name = "publisher"
    turns = 1
    appends = 2

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        table = world.table
        head, branch = table.head, table.newest(BRANCH)
        if not actor.turns or head is None:
            return []
        if branch is None:
            plan, label = (CREATE,), "wants a branch"
        else:
            rows = [APPENDED_ROW + each for each in range(self.appends)]
            missing = [row for row in rows if not branch.truth >> row & 1]
            plan = (APPEND, missing[0]) if missing else (PUBLISH,)
            label = "has a row for its branch" if missing else "wants to publish its branch"
        return [(label, self.begin(world, actor, plan))]

    @override
    def rows(self, actor: Actor) -> int:
        return 1 << actor.plan[1] if actor.plan[0] == APPEND else 0

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        table = world.table
        main, branch = table.ref(MAIN), table.ref(BRANCH)
        todo = actor.plan[0]
        if todo == CREATE:
            return Request.of(expects=((BRANCH, NONE),), sets=((BRANCH, main),))
        if todo == APPEND:
            rows = self.rows(actor)
            return self.commit(world, actor, branch=BRANCH, truth=lambda before: before | rows)
        if todo == DROP:
            return Request.of(expects=((BRANCH, branch),), drops=(BRANCH,))
        if self.rules.checks_ancestry and main not in ancestors(table, world.registry, branch):
            return None
        expects = ((BRANCH, branch), (MAIN, main))
        return Request.of(
            expects=expects if self.rules.requires_main_at_publish else expects[:1],
            sets=((MAIN, branch),),
            drops=(BRANCH,),
        )

    @override
    def has_landed(self, world: World, actor: Actor) -> bool:
        assert actor.request is not None
        todo = actor.plan[0]
        if todo == PUBLISH:
            found = ancestors(world.table, world.registry, world.table.ref(MAIN))
            return actor.request.sets[0][1] in found
        if todo == DROP:
            return world.table.ref(BRANCH) == NONE
        return super().has_landed(world, actor)

    @override
    def after_commit(self, actor: Actor) -> Actor:
        return self.at_rest(actor, "done" if actor.plan[0] == PUBLISH else "ready")

    @override
    def after_refusal(self, actor: Actor) -> Actor:
        rested = self.at_rest(actor, "stage")._replace(turns=actor.turns - 1)
        return rested._replace(plan=(DROP,))

    @override
    def after_kill(self, actor: Actor) -> Actor:
        return self.at_rest(actor, "done")

    @override
    def acknowledgement(self, world: World, request: Request) -> dict[str, Any]:
        published = [named for name, named in request.sets if name == MAIN]
        return {"acked": world.acked | 1 << published[0]} if published else {}


class Cleaner(Process):
    """Removes files that nothing needs: lists them, spares what is announced, then what is reached.

    Plan: the files that are still to be removed.
    """

    name = "clean-up"
    turns = 1

    @override
    def handlers(self) -> dict[str, Handler]:
        first, second = self.spare_announced, self.spare_reached
        if not self.rules.reads_announcements_before_reach:
            first, second = second, first
        return super().handlers() | {"listed": first, "sparing": second, "removing": self.remove}

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        files = world.disk & ~self._young(world)
        if not actor.turns or not files & ~world.table.needs:
            return []
        listed = actor._replace(at="listed", turns=actor.turns - 1, plan=(files,))
        return [("lists files beyond the age", self.put(world, listed))]

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

    def spare_announced(self, world: World, actor: Actor) -> list[Step]:
        """Spare the files that live writers announced."""
        spared = 0
        if self.rules.spares_announced_files:
            for each in world.actors:
                if each.late is not None and self.rules.waits_for_late_requests:
                    spared |= each.late.makes  # of a writer that died, until its age is over
                announced = each.at != "announce"
                if not self.rules.announces_until_landed:
                    announced = each.at == "write"
                if each.data and announced:
                    spared |= 1 << each.data
        return [self._spare(world, actor, spared, "announced")]

    def spare_reached(self, world: World, actor: Actor) -> list[Step]:
        """Spare the files of every snapshot in the table."""
        table = world.table
        spared = table.needs
        if not self.rules.reaches_from_every_snapshot:
            spared = _needs_of_main(table)
        return [self._spare(world, actor, spared, "reached")]

    def _spare(self, world: World, actor: Actor, spared: int, why: str) -> Step:
        after = "sparing" if actor.at == "listed" else "removing"
        left = actor._replace(at=after, plan=(actor.plan[0] & ~spared,))
        return (f"spares what is {why}", self.put(world, left))

    def remove(self, world: World, actor: Actor) -> list[Step]:
        """Remove the rest."""
        disk = world.disk & ~actor.plan[0]
        numbers = [f"f{n}" for n in range(actor.plan[0].bit_length()) if actor.plan[0] >> n & 1]
        label = f"removes {', '.join(numbers) or 'nothing'}"
        return [(label, self.put(world, self.at_rest(actor, "start"), disk=disk))]


def _needs_of_main(table: Metadata) -> int:
    head = table.head
    return files_of((head,)) if head else 0
