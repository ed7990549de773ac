"""Write, audit, publish: rows go to a branch first, and then main gets them."""

from typing import Any, Final

from typing_extensions import override

from tests.protocol.role import Committer, Handler, Step
from tests.protocol.table import MAIN, NONE, File, Metadata, Registry, Request
from tests.protocol.world import Actor, World, lineage
from tests.protocol.writers import APPENDED_ROW

BRANCH: Final = "audit"
CREATE, APPEND, PUBLISH, DROP = range(4)


class Publisher(Committer):
    """Writes rows on a branch, then lets main have them (`tables/publishing/write_audit_publish.py`, `tables/publishing/publish.py`).

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
        if table.ref(BRANCH) == NONE:  # a late request has dropped it
            return None
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


def _is_published(table: Metadata, registry: Registry, tip: int, files: tuple[File, ...]) -> bool:
    main = tuple(table.chain(table.ref(MAIN)))
    picked = {s.picked for s in main} | {r.picked for r in registry.by_id.values()}
    return tip in picked or bool(main and set(files) & set(main[0].files))
