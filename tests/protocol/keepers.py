"""Processes that change names and lives, not rows: expiry, tags, leases, publishing, clean-up."""

from typing import Any, Final

from typing_extensions import override

from tests.protocol.role import Committer, Handler, Process, Step
from tests.protocol.table import MAIN, NONE, File, Metadata, Registry, Request, files_of
from tests.protocol.world import LEASE, Actor, World, doomed, lapsed, lineage
from tests.protocol.writers import APPENDED_ROW

TAG: Final = "tag"
BRANCH: Final = "audit"
CREATE, APPEND, PUBLISH, DROP = range(4)


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
    """Names a snapshot behind the writers' backs (`tables/refs.py`), and relies on it from then on."""

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
    """Leases a snapshot and what comes after it (`tables/leases.py`), for a time."""

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


class Publisher(Committer):
    """Writes rows on a branch, then lets main have them (`tables/wap.py`, `tables/publish.py`).

    If main has not moved it goes to the head of the branch, else it picks what the branch appended.
    Plan: what it does, the row if it appends one. Killed, it comes back for a branch that is whole.
    """

    name = "publisher"
    turns = 1
    appends = 2
    resting = Committer.resting | {"replaced"}

    @override
    def handlers(self) -> dict[str, Handler]:
        return super().handlers() | {"ready": self.ready, "replaced": self.replaced}

    @override
    def start(self, world: World, actor: Actor) -> list[Step]:
        if not actor.turns or world.table.head is None:
            return []
        spent = actor._replace(turns=actor.turns - 1)
        return [("wants a branch", self.begin(world, spent, (CREATE,)))]

    def ready(self, world: World, actor: Actor) -> list[Step]:
        """Go on after a commit."""
        missing = self._missing(world)
        if missing:
            begun = self.begin(world, actor, (APPEND, missing[0]))
            return [("has a row for its branch", begun)]
        return [("wants to publish its branch", self.begin(world, actor, (PUBLISH,)))]

    def replaced(self, world: World, actor: Actor) -> list[Step]:
        """Come back after a kill: appends without a fence cannot be repeated, publishing can."""
        if world.table.ref(BRANCH) == NONE or self._missing(world):
            return []
        return self.ready(world, actor)

    def _missing(self, world: World) -> list[int]:
        branch = world.table.newest(BRANCH)
        held = branch.truth if branch else 0
        rows = (APPENDED_ROW + each for each in range(self.appends))
        return [row for row in rows if not held >> row & 1]

    @override
    def rows(self, actor: Actor) -> int:
        return 1 << actor.plan[1] if actor.plan[0] == APPEND else 0

    @override
    def prepare(self, world: World, actor: Actor) -> Request | None:
        table, todo = world.table, actor.plan[0]
        if todo == CREATE:
            return self.names(world, sets=((BRANCH, table.ref(MAIN)),))
        if todo == DROP:
            return self.names(world, drops=(BRANCH,))
        if todo == APPEND:
            rows = self.rows(actor)
            return self.commit(world, actor, branch=BRANCH, truth=lambda before: before | rows)
        return self._publish(world, actor)

    def _publish(self, world: World, actor: Actor) -> Request | None:
        table, registry, rules = world.table, world.registry, self.rules
        main, tip = table.ref(MAIN), table.ref(BRANCH)
        if main == tip:
            return None
        if main in lineage(table, registry, tip) or not rules.checks_ancestry:
            forward = self.names(world, sets=((MAIN, tip),))
            if rules.requires_main_at_publish:
                return forward
            return Request.of(expects=((BRANCH, tip),), sets=forward.sets)
        files = tuple(f for f in table.by_id[tip].files if f.rows >> APPENDED_ROW)
        if rules.publishes_once and _is_published(table, registry, tip, files):
            return None
        rows = sum(file.rows for file in files)
        return self.commit(
            world, actor, adopts=files, picked=tip, truth=lambda before: before | rows
        )

    @override
    def has_landed(self, world: World, actor: Actor) -> bool:
        request, table = actor.request, world.table
        assert request is not None
        if request.snapshot is None and actor.plan[0] == PUBLISH:
            return request.sets[0][1] in lineage(table, world.registry, table.ref(MAIN))
        if actor.plan[0] == DROP:
            return table.ref(BRANCH) == NONE
        return super().has_landed(world, actor)

    @override
    def after_commit(self, actor: Actor) -> Actor:
        todo = actor.plan[0]
        if todo == PUBLISH:
            return self.at_rest(actor, "stage")._replace(plan=(DROP,))
        return self.at_rest(actor, "done" if todo == DROP else "ready")

    @override
    def after_refusal(self, actor: Actor) -> Actor:
        return self.at_rest(actor, "stage")._replace(plan=(DROP,))

    @override
    def after_kill(self, actor: Actor) -> Actor:
        return self.at_rest(actor, "replaced")

    @override
    def acknowledgement(self, world: World, request: Request) -> dict[str, Any]:
        kept = [named for name, named in request.sets if name == MAIN]
        return {"acked": world.acked | 1 << kept[0]} if kept else {}


class Cleaner(Process):
    """Removes old files that nothing needs (`maintenance/collect.py`).

    It reads which files are announced and which are old, spares the former, then what any snapshot
    needs. Plan: the files that are still to go.
    """

    name = "clean-up"
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
        return [("removes the rest", after)]

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


def _is_published(table: Metadata, registry: Registry, tip: int, files: tuple[File, ...]) -> bool:
    main = tuple(table.chain(table.ref(MAIN)))
    picked = {s.picked for s in main} | {r.picked for r in registry.by_id.values()}
    return tip in picked or bool(main and set(files) & set(main[0].files))
