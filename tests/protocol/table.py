"""A table as the catalog names it: snapshots, names for them, one property; and what a commit does to it.

`Metadata`, `Request` and `Registry` are unique by value: equal ones are the same object, so that a
state that holds them is hashed and compared by identity, and what follows from one is computed once.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, final

MAIN: Final = "main"
NONE: Final = 0  # the parent of the first snapshot, and the head of an empty branch
UNCHANGED: Final = -1  # a commit that leaves the offsets alone

Refs = tuple[tuple[str, int], ...]


class File(NamedTuple):
    """A data file; bit r of `rows` stands for row r."""

    id: int
    rows: int


class Snapshot(NamedTuple):
    """One snapshot. The last three fields are the checker's: what it ought to hold.

    `files` are all of its data files, `added` has a bit for each that it brought, `manifests` is the
    one metadata file that it needs and `says` the offsets in its summary. `upto` is the offset that
    its rows reach, `truth` the rows a reader ought to see, and `lineage` has a bit for every commit
    behind it, itself included.
    """

    id: int
    parent: int
    files: tuple[File, ...]
    added: int
    manifests: int
    says: int
    upto: int
    truth: int
    lineage: int


@final
class Request:
    """What a writer asks of the catalog, and under which conditions; unique by value.

    `expects` are the names that must still point where the writer saw them, `base_refs` all of the
    names it saw, which matter if it wants snapshots dead. `makes` has a bit per file it brings.
    """

    __slots__ = ("base_refs", "dead", "drops", "expects", "makes", "offset", "sets", "snapshot")
    _known: Final[dict[object, "Request"]] = {}

    expects: Refs
    sets: Refs
    drops: tuple[str, ...]
    snapshot: Snapshot | None
    offset: int
    dead: frozenset[int]
    base_refs: Refs
    makes: int

    @classmethod
    def of(
        cls,
        *,
        expects: Refs = (),
        sets: Refs = (),
        drops: tuple[str, ...] = (),
        snapshot: Snapshot | None = None,
        offset: int = UNCHANGED,
        dead: frozenset[int] = frozenset(),
        base_refs: Refs = (),
    ) -> "Request":
        """Return the one request with these fields."""
        key = (expects, sets, drops, snapshot, offset, dead, base_refs)
        found = cls._known.get(key)
        if found is None:
            found = cls._known[key] = cls()
            found.expects, found.sets, found.drops, found.snapshot = expects, sets, drops, snapshot
            found.offset, found.dead, found.base_refs = offset, dead, base_refs
            found.makes = snapshot.added | 1 << snapshot.manifests if snapshot else 0
        return found

    def killing(self, dead: frozenset[int], *, base_refs: Refs) -> "Request":
        """Return the same request, with snapshots that die when it is carried out."""
        return Request.of(
            expects=self.expects,
            sets=self.sets,
            drops=self.drops,
            snapshot=self.snapshot,
            offset=self.offset,
            dead=dead,
            base_refs=base_refs,
        )

    @classmethod
    def forget(cls) -> None:
        """Drop all of them, between explorations."""
        cls._known.clear()


@final
class Metadata:
    """One version of the table's metadata; unique by value, never changed.

    `version` counts the swaps behind it, so that no version is ever mistaken for an earlier one.
    `head` is the newest snapshot of main, `needs` has a bit for every file of any snapshot.
    """

    __slots__ = ("_after", "by_id", "head", "needs", "offset", "refs", "snapshots", "version")
    _known: Final[dict[object, "Metadata"]] = {}

    version: int
    snapshots: tuple[Snapshot, ...]
    refs: Refs
    offset: int
    by_id: dict[int, Snapshot]
    head: Snapshot | None
    needs: int
    _after: dict[Request, "Metadata"]

    @classmethod
    def of(
        cls, version: int, snapshots: tuple[Snapshot, ...], refs: Refs, offset: int
    ) -> "Metadata":
        """Return the one version with these fields."""
        key = (version, snapshots, refs, offset)
        found = cls._known.get(key)
        if found is None:
            found = cls._known[key] = cls()
            found.version, found.snapshots, found.refs, found.offset = key
            found.by_id = {snapshot.id: snapshot for snapshot in snapshots}
            found.head = found.by_id.get(found.ref(MAIN))
            found.needs = files_of(snapshots)
            found._after = {}
        return found

    @classmethod
    def forget(cls) -> None:
        """Drop all of them, between explorations."""
        cls._known.clear()

    def ref(self, name: str) -> int:
        """Return the snapshot that a branch or tag names, `NONE` without one."""
        for each, snapshot_id in self.refs:
            if each == name:
                return snapshot_id
        return NONE

    def newest(self, branch: str) -> Snapshot | None:
        """Return the newest snapshot of a branch; that of main is `head`."""
        return self.by_id.get(self.ref(branch))

    def chain(self, snapshot_id: int) -> Iterator[Snapshot]:
        """Walk from a snapshot towards its ancestors, as far as the table still has them."""
        snapshot = self.by_id.get(snapshot_id)
        while snapshot is not None:
            yield snapshot
            snapshot = self.by_id.get(snapshot.parent)

    def after(self, request: Request) -> "Metadata":
        """Do what `request` asks, as pyiceberg does it; its conditions are not looked at.

        Names of dead snapshots go with them, and their children lose the parent.
        """
        found = self._after.get(request)
        if found is not None:
            return found
        snapshots = (*self.snapshots, *((request.snapshot,) if request.snapshot else ()))
        refs = dict(self.refs) | dict(request.sets)
        if request.dead:
            snapshots = tuple(
                each._replace(parent=NONE) if each.parent in request.dead else each
                for each in snapshots
                if each.id not in request.dead
            )
        kept = {
            name: snapshot_id
            for name, snapshot_id in refs.items()
            if name not in request.drops and snapshot_id not in request.dead
        }
        offset = self.offset if request.offset == UNCHANGED else request.offset
        made = Metadata.of(self.version + 1, snapshots, tuple(sorted(kept.items())), offset)
        self._after[request] = made
        return made


@final
class Registry:
    """The control database: the parent of every commit on record; unique by value, never changed."""

    __slots__ = ("_after", "parents")
    _known: Final[dict[object, "Registry"]] = {}

    parents: dict[int, int]
    _after: dict[tuple[Metadata, tuple[str, ...]], "Registry"]

    @classmethod
    def of(cls, parents: dict[int, int]) -> "Registry":
        """Return the one registry that knows these commits."""
        key = tuple(sorted(parents.items()))
        found = cls._known.get(key)
        if found is None:
            found = cls._known[key] = cls()
            found.parents, found._after = parents, {}
        return found

    @classmethod
    def forget(cls) -> None:
        """Drop all of them, between explorations."""
        cls._known.clear()

    def record(self, metadata: Metadata, branches: tuple[str, ...]) -> "Registry":
        """Walk back from each head to what is known already, and remember what was not."""
        key = (metadata, branches)
        found = self._after.get(key)
        if found is None:
            parents = dict(self.parents)
            for branch in branches:
                missing: list[Snapshot] = []
                for snapshot in metadata.chain(metadata.ref(branch)):
                    if snapshot.id in parents:
                        break
                    missing.append(snapshot)
                parents |= {snapshot.id: snapshot.parent for snapshot in missing}
            found = self._after[key] = Registry.of(parents)
        return found


def forget() -> None:
    """Drop everything unique, between searches; what is still held stays as it is."""
    Request.forget()
    Metadata.forget()
    Registry.forget()


def files_of(snapshots: Iterable[Snapshot]) -> int:
    """Return a bit for every file that these snapshots need."""
    needs = 0
    for snapshot in snapshots:
        needs |= 1 << snapshot.manifests
        for file in snapshot.files:
            needs |= 1 << file.id
    return needs
