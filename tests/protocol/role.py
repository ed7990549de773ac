"""One process and the life of one commit: stage, swap, look, record (`headrace/tables/commits/attempt.py`).

A step does one thing that others can see. What only its own process sees is merged with what comes
next, so a kill between two steps is a kill at any point in between.
"""

from collections.abc import Callable
from typing import Any, Final

from typing_extensions import override

from tests.protocol.rules import Bounds, Rules
from tests.protocol.table import MAIN, NONE, UNCHANGED, File, Refs, Registry, Request, Snapshot
from tests.protocol.world import Actor, World, adopted, doomed, lapsed, refuses

EXPIRY_SLACK: Final = 1  # a fifth of what commits keep, and one at least

Step = tuple[str, World]
Handler = Callable[[World, Actor], list[Step]]


class Process:
    """One kind of process: where it stands says what it can do next."""

    name = "process"
    sees_others = False  # whether what it can do depends on where others stand
    turns = 0  # how often it starts, where that is not bounded by what there is to do
    resting = frozenset({"start", "ready", "done"})  # a kill there changes nothing

    def __init__(self, index: int, actors: int, *, rules: Rules, bounds: Bounds) -> None:
        self.index, self.actors, self.rules, self.bounds = index, actors, rules, bounds
        self._handlers = self.handlers()

    def handlers(self) -> dict[str, Handler]:
        """Return what it does at each place."""
        return {"start": self.start, "ready": self.start, "done": lambda _world, _actor: []}

    def steps(self, world: World) -> list[Step]:
        """List what this process, its fate and its late request can do next."""
        actor = world.actors[self.index]
        steps = self._handlers[actor.at](world, actor)
        if world.crashes and actor.at not in self.resting:
            killed = self.put(world, self.after_kill(actor), crashes=world.crashes - 1)
            steps.append(("is killed", killed))
        return steps

    def start(self, world: World, actor: Actor) -> list[Step]:
        """Begin something, if there is anything to do."""
        raise NotImplementedError

    def after_kill(self, actor: Actor) -> Actor:
        """Return the process that is started in its place."""
        return self.at_rest(actor, "start")

    def put(self, world: World, actor: Actor, **changes: Any) -> World:  # noqa: ANN401
        """Return the world with this process's new state, and what else it changed."""
        actors, index = world.actors, self.index
        now = (*actors[:index], actor, *actors[index + 1 :])
        if changes:
            return world._replace(actors=now, **changes)
        return World(*world[:-1], now)  # two in three steps, in half the time of `_replace`

    def at_rest(self, actor: Actor, at: str) -> Actor:
        """Return the process without what it had in memory."""
        commits = actor.commits + (actor.request is not None)
        return Actor(at, actor.turns, commits, actor.files, late=actor.late)


class Committer(Process):
    """A process that commits. Subclasses say what they want; this class gets it committed.

    It is at `announce`, `write`, `stage`, `swap`, `update`, then at `landed`, at `refused` and
    `discard`, or at `unknown`; before and after at `start`, `ready` or `done`.
    """

    @override
    def handlers(self) -> dict[str, Handler]:
        return super().handlers() | {
            "announce": self.announce,
            "write": self.write,
            "stage": self.stage,
            "swap": self.swap,
            "update": self.update,
            "landed": self.landed,
            "refused": self.refused,
            "discard": self.discard,
            "unknown": self.unknown,
        }

    @override
    def steps(self, world: World) -> list[Step]:
        steps = super().steps(world)
        actor = world.actors[self.index]
        if actor.late is not None:
            steps.extend(self.late_request(world, actor, actor.late))
        return steps

    def rows(self, actor: Actor) -> int:
        """Return the rows of the data file that its plan needs; none, no file."""
        return 0

    def prepare(self, world: World, actor: Actor) -> Request | None:
        """Ask for what it planned, on the table as it is; None if that would be wrong now."""
        raise NotImplementedError

    def after_commit(self, actor: Actor) -> Actor:
        """Return the process after its commit is acknowledged."""
        return self.at_rest(actor, "ready")

    def after_refusal(self, actor: Actor) -> Actor:
        """Return the process after a named error: fenced, or a conflict."""
        return self.at_rest(actor, "start")

    def acknowledgement(self, world: World, request: Request) -> dict[str, Any]:
        """Return what changes in what callers rely on."""
        if request.snapshot is None:
            return {}
        return {"acked": world.acked | 1 << request.snapshot.id}

    def begin(self, world: World, actor: Actor, plan: tuple[int, ...]) -> World:
        """Start working on `plan`, with a data file if it has rows."""
        planned = actor._replace(at="stage", plan=plan)
        if not self.rows(planned):
            return self.put(world, planned)
        data = self.next_file(actor)
        planned = planned._replace(data=data, files=actor.files + 1)
        if not self.bounds.cleans:  # then nobody sees when the file is written
            writes = self.rules.writes_files_before_swap
            return self.put(world, planned, disk=world.disk | (1 << data if writes else 0))
        at = "announce" if self.rules.announces_before_writing else "write"
        return self.put(world, planned._replace(at=at))

    def announce(self, world: World, actor: Actor) -> list[Step]:
        """Tell clean-up to leave the data file alone."""
        after = "write" if self.rules.announces_before_writing else "stage"
        return [(f"announces data file f{actor.data}", self.put(world, actor._replace(at=after)))]

    def write(self, world: World, actor: Actor) -> list[Step]:
        """Write the data file."""
        after = actor._replace(at="stage" if self.rules.announces_before_writing else "announce")
        written = self.put(world, after, disk=world.disk | 1 << actor.data)
        return [(f"writes data file f{actor.data}", written)]

    def stage(self, world: World, actor: Actor) -> list[Step]:
        """Load the table and write the manifests of one attempt on top of it."""
        again = actor.request is not None
        if again and self.rules.looks_on_record_too and self.has_landed(world, actor):
            return [self.found(world, actor)]
        request = self.prepare(world, actor)
        if request is None:
            return [("is refused with a named error", self.put(world, self.after_refusal(actor)))]
        if request.snapshot is None:
            return [("stages a change without rows", self._staged(world, actor, request))]
        label = f"stages s{request.snapshot.id} on s{request.snapshot.parent}"
        keep, over = self.bounds.keep, lapsed(world)
        dead = (
            frozenset[int]()
            if keep is None
            else doomed(world, keep=keep, slack=EXPIRY_SLACK, rules=self.rules)
        )
        # a lease that is over goes only if it is still there
        gone = tuple((name, world.table.ref(name)) for name in over)
        full = request.also(expects=gone, drops=over, dead=dead)
        steps = [(label, self._staged(world, actor, full))]
        if dead and world.losses:  # what cannot be put on record now must not die now
            if self.rules.kills_only_what_is_on_record:
                full = request.also(expects=gone, drops=over, dead=frozenset())
            locked = self._staged(world, actor, full, losses=world.losses - 1, locked=True)
            steps.append((f"{label} while the registry is locked", locked))
        return steps

    def _staged(
        self,
        world: World,
        actor: Actor,
        request: Request,
        *,
        locked: bool = False,
        losses: int | None = None,
    ) -> World:
        registry, disk = world.registry, world.disk
        if request.dead and self.rules.records_before_death and not locked:
            registry = self._record_dying(world, request.dead)
        after = actor._replace(at="swap", request=request)
        if request.snapshot is not None:
            after = after._replace(files=actor.files + 1)
            disk |= 1 << request.snapshot.manifests
        losses = world.losses if losses is None else losses
        return self.put(world, after, registry=registry, disk=disk, losses=losses)

    def _record_dying(self, world: World, dead: frozenset[int]) -> Registry:
        children = self.rules.records_children
        return world.registry.record_expiring(world.table, dead, children=children)

    def swap(self, world: World, actor: Actor) -> list[Step]:
        """Let the catalog load the table again and check what the request demands."""
        assert actor.request is not None
        if refuses(world, actor.request, self.rules):
            return [("is refused by the catalog", self.put(world, actor._replace(at="refused")))]
        after = actor._replace(at="update", seen=world.table)
        return [("passes the catalog's checks", self.put(world, after))]

    def update(self, world: World, actor: Actor) -> list[Step]:
        """Exchange the catalog's row if it is still the one seen; the answer may get lost."""
        request, seen = actor.request, actor.seen
        assert request is not None
        assert seen is not None
        changes: dict[str, Any] = {}
        after = actor._replace(at="refused", seen=None)
        swaps = world.table is seen or not self.rules.compares_and_swaps
        if swaps:
            table = seen.after(request)
            changes = adopted(world, table, self.rules)
            after = actor._replace(at="landed", seen=table)
        steps = [("swaps" if swaps else "finds the row changed", self.put(world, after, **changes))]
        if world.losses:
            losses, lost = world.losses - 1, actor._replace(at="unknown", seen=None)
            steps.append(("gets an error, not a swap", self.put(world, lost, losses=losses)))
            if swaps:
                unheard = self.put(world, lost, losses=losses, **changes)
                steps.append(("swaps, but never hears of it", unheard))
            if actor.late is None:
                late = self.put(world, lost._replace(late=request), losses=losses)
                steps.append(("gives up waiting for an answer", late))
        return steps

    def late_request(self, world: World, actor: Actor, request: Request) -> list[Step]:
        """Let a request whose sender gave up be carried out after all, or never."""
        settled = actor._replace(late=None)
        steps = [("has its late request dropped", self.put(world, settled))]
        if not refuses(world, request, self.rules):
            changes = adopted(world, world.table.after(request), self.rules)
            steps.append(("has its late request carried out", self.put(world, settled, **changes)))
        return steps

    def unknown(self, world: World, actor: Actor) -> list[Step]:
        """Look for the own commit before anything else; not finding out is an error of its own."""
        rules = self.rules
        if not rules.looks_before_retry:
            anew = actor._replace(at="stage", commits=actor.commits + 1)
            return [("tries again without a look", self.put(world, anew))]
        if rules.takes_silence_for_success or self.has_landed(world, actor):
            return [self.found(world, actor)]
        # a late request would need the files, so they stay
        after = self.again(actor) if rules.keeps_files_unless_refused else self.at_discard(actor)
        steps = [("does not find its commit", self.put(world, after))]
        if world.losses:
            ended = self.put(world, self.after_kill(actor), losses=world.losses - 1)
            steps.append(("cannot find out and says so", ended))
        return steps

    def refused(self, world: World, actor: Actor) -> list[Step]:
        """Look even so: an earlier attempt may have been carried out late."""
        if self.has_landed(world, actor):
            return [self.found(world, actor)]
        return [("does not find its commit", self.put(world, self.at_discard(actor)))]

    def found(self, world: World, actor: Actor) -> Step:
        """Go on as if the answer had come."""
        after = actor._replace(at="landed", seen=world.table)
        return ("takes its commit for done", self.put(world, after))

    def discard(self, world: World, actor: Actor) -> list[Step]:
        """Remove the manifests of an attempt that can no longer be carried out."""
        assert actor.request is not None
        snapshot = actor.request.snapshot
        disk = world.disk & ~(1 << snapshot.manifests) if snapshot else world.disk
        return [("removes what it staged", self.put(world, self.again(actor), disk=disk))]

    def landed(self, world: World, actor: Actor) -> list[Step]:
        """Put the commit on record and acknowledge it."""
        request, seen = actor.request, actor.seen
        assert request is not None
        assert seen is not None
        snapshot = request.snapshot
        changes = self.acknowledgement(world, request)
        after = self.after_commit(actor)
        if snapshot is None:
            return [("is told so", self.put(world, after, **changes))]
        if not self.rules.writes_files_before_swap:
            changes["disk"] = world.disk | snapshot.added
        registry = world.registry.record_head(seen, MAIN)
        registry = registry.record_head(seen, request.sets[0][0])
        recorded = self.put(world, after, registry=registry, **changes)
        steps = [("records its commit and is told so", recorded)]
        if world.losses and registry is not world.registry:
            missed = self.put(world, after, losses=world.losses - 1, **changes)
            steps.append(("is told so while the registry is locked", missed))
        return steps

    def at_discard(self, actor: Actor) -> Actor:
        """Return the process before it removes what it staged."""
        return actor._replace(at="discard")

    def again(self, actor: Actor) -> Actor:
        """Return the process before its next attempt."""
        commits = actor.commits if self.rules.keeps_snapshot_id else actor.commits + 1
        return actor._replace(at="stage", commits=commits)

    def next_file(self, actor: Actor) -> int:
        """Name a file that nobody else will name."""
        return 1 + self.index + self.actors * actor.files

    def snapshot_id(self, actor: Actor) -> int:
        """Return the id of its current commit, the same on every attempt."""
        return 1 + self.index + self.actors * actor.commits

    def has_landed(self, world: World, actor: Actor) -> bool:
        """Whether the own commit is in the table, or was until it expired."""
        request = actor.request
        assert request is not None
        if request.snapshot is not None:
            snapshot_id = self.snapshot_id(actor)
            if snapshot_id in world.table.by_id:
                return True
            return self.rules.looks_on_record_too and snapshot_id in world.registry.by_id
        return all(world.table.ref(name) == named for name, named in request.sets) and not any(
            snapshot_id in world.table.by_id for snapshot_id in request.dead
        )

    def names(
        self,
        world: World,
        *,
        sets: Refs = (),
        drops: tuple[str, ...] = (),
        dead: frozenset[int] = frozenset(),
    ) -> Request:
        """Ask for a change without rows; all names must still be as they are now."""
        refs = world.table.refs
        new = tuple((name, NONE) for name, _ in sets if not world.table.ref(name))
        return Request.of(expects=(*refs, *new), sets=sets, drops=drops, dead=dead)

    def commit(
        self,
        world: World,
        actor: Actor,
        *,
        branch: str = MAIN,
        removed: int = 0,
        adopts: tuple[File, ...] = (),
        picked: int = NONE,
        upto: int | None = None,
        truth: Callable[[int], int],
    ) -> Request:
        """Ask for a snapshot with its data file, or what it `adopts`, and without `removed`.

        `upto` is the offset that its rows reach, None if it took none from the source; `truth` says
        which rows ought to be there, given those that ought to have been.
        """
        table, rules = world.table, self.rules
        parent = table.newest(branch)
        own = (File(actor.data, self.rows(actor)),) if actor.data else adopts
        files = [file for file in (parent.files if parent else ()) if not removed >> file.id & 1]
        snapshot_id = self.snapshot_id(actor)
        snapshot = Snapshot(
            id=snapshot_id,
            parent=parent.id if parent else NONE,
            sequence=table.sequence + 1,
            files=tuple(sorted((*files, *own))),
            added=1 << actor.data if actor.data else 0,
            manifests=self._manifests(actor),
            says=UNCHANGED if upto is None else upto,
            picked=picked,
            upto=upto if upto is not None else (parent.upto if parent else 0),
            truth=truth(parent.truth if parent else 0),
            lineage=(parent.lineage if parent else 0) | 1 << snapshot_id,
        )
        moves = rules.moves_offsets_with_rows
        return Request.of(
            expects=((branch, snapshot.parent),) if rules.requires_head_at_swap else (),
            sets=((branch, snapshot_id),),
            snapshot=snapshot,
            offset=UNCHANGED if upto is None or not moves else upto,
        )

    def _manifests(self, actor: Actor) -> int:
        before = actor.request.snapshot if actor.request is not None else None
        if before is not None and not self.rules.names_manifests_by_attempt:
            return before.manifests
        return self.next_file(actor)
