"""A table as its catalog and registry know it: metadata, what a request does to it, commits on record.

`Metadata`, `Request` and `Registry` are unique by value: equal ones are the same object, so that a
state that holds them is hashed and compared by identity, and what follows from one is computed once.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, final

MAIN: Final = "main"
NONE: Final = 0  # no snapshot: the parent of the first one, the head of an empty branch
UNCHANGED: Final = -1  # a commit that leaves the offsets alone

Refs = tuple[tuple[str, int], ...]


class File(NamedTuple):
    """A data file; bit r of `rows` stands for row r."""

    id: int
    rows: int


class Snapshot(NamedTuple):
    """One snapshot. The last three fields are the checker's: what it ought to hold.

    `files` are all of its data files, `added` has a bit for each that it brought, `manifests` is the
    one metadata file that it needs, `says` the offsets in its summary, `picked` the snapshot whose
    rows it brought to main. `upto` is the offset that its rows reach, `truth` the rows a reader ought
    to see, and `lineage` has a bit for every commit behind it, itself included.
    """

    id: int
    parent: int
    sequence: int
    files: tuple[File, ...]
    added: int
    manifests: int
    says: int
    picked: int
    upto: int
    truth: int
    lineage: int


@final
class Request:
    """What a writer asks of the catalog; unique by value.

    `expects` are the names that must still point where the writer saw them, and those that must not
    be there. `makes` has a bit for every file that the snapshot brings.
    """

    __slots__ = ("dead", "drops", "expects", "makes", "offset", "sets", "snapshot")
    _known: Final[dict[object, "Request"]] = {}

    expects: Refs
    sets: Refs
    drops: tuple[str, ...]
    snapshot: Snapshot | None
    offset: int
    dead: frozenset[int]
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
    ) -> "Request":
        """Return the one request with these fields."""
        key = (expects, sets, drops, snapshot, offset, dead)
        found = cls._known.get(key)
        if found is None:
            found = cls._known[key] = cls()
            found.expects, found.sets, found.drops = expects, sets, drops
            found.snapshot, found.offset, found.dead = snapshot, offset, dead
            found.makes = snapshot.added | 1 << snapshot.manifests if snapshot else 0
        return found

    def also(self, *, expects: Refs, drops: tuple[str, ...], dead: frozenset[int]) -> "Request":
        """Return the same request with names and snapshots that go when it is carried out."""
        return Request.of(
            expects=(*self.expects, *expects),
            sets=self.sets,
            drops=(*self.drops, *drops),
            snapshot=self.snapshot,
            offset=self.offset,
            dead=dead,
        )

    @classmethod
    def forget(cls) -> None:
        """Drop all of them, between searches."""
        cls._known.clear()


@final
class Metadata:
    """One version of the table's metadata; unique by value, never changed.

    `version` counts the swaps behind it, so that no version is ever mistaken for an earlier one, and
    `sequence` the snapshots. `head` is the newest snapshot of main, `needs` has a bit for every file
    of any snapshot.
    """

    __slots__ = (
        "_after", "by_id", "head", "needs", "offset", "refs", "sequence", "snapshots", "version",
    )  # fmt: skip
    _known: Final[dict[object, "Metadata"]] = {}

    version: int
    sequence: int
    snapshots: tuple[Snapshot, ...]
    refs: Refs
    offset: int
    by_id: Mapping[int, Snapshot]
    head: Snapshot | None
    needs: int
    _after: dict[Request, "Metadata"]

    @classmethod
    def of(
        cls,
        *,
        version: int = 0,
        sequence: int = 0,
        snapshots: tuple[Snapshot, ...] = (),
        refs: Refs = (),
        offset: int = 0,
    ) -> "Metadata":
        """Return the one version with these fields."""
        key = (version, sequence, snapshots, refs, offset)
        found = cls._known.get(key)
        if found is None:
            found = cls._known[key] = cls()
            found.version, found.sequence, found.snapshots, found.refs, found.offset = key
            found.by_id = {snapshot.id: snapshot for snapshot in snapshots}
            found.head = found.by_id.get(found.ref(MAIN))
            found.needs = files_of(snapshots)
            found._after = {}
        return found

    @classmethod
    def forget(cls) -> None:
        """Drop all of them, between searches."""
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
        snapshots, sequence = self.snapshots, self.sequence
        if request.snapshot is not None:
            snapshots, sequence = (*snapshots, request.snapshot), request.snapshot.sequence
        if request.dead:
            snapshots = tuple(
                each._replace(parent=NONE) if each.parent in request.dead else each
                for each in snapshots
                if each.id not in request.dead
            )
        refs = dict(self.refs) | dict(request.sets)
        kept = tuple(
            (name, snapshot_id)
            for name, snapshot_id in sorted(refs.items())
            if name not in request.drops and snapshot_id not in request.dead
        )
        made = Metadata.of(
            version=self.version + 1,
            sequence=sequence,
            snapshots=snapshots,
            refs=kept,
            offset=self.offset if request.offset == UNCHANGED else request.offset,
        )
        self._after[request] = made
        return made


class Record(NamedTuple):
    """What the registry remembers of one commit."""

    id: int
    parent: int
    picked: int


@final
class Registry:
    """The commits on record; unique by value, never changed."""

    __slots__ = ("_after", "by_id")
    _known: Final[dict[object, "Registry"]] = {}

    by_id: Mapping[int, Record]
    _after: dict[object, "Registry"]

    @classmethod
    def of(cls, records: Iterable[Record] = ()) -> "Registry":
        """Return the one registry that knows these commits."""
        key = tuple(sorted(records))
        found = cls._known.get(key)
        if found is None:
            found = cls._known[key] = cls()
            found.by_id = {record.id: record for record in key}
            found._after = {}
        return found

    @classmethod
    def forget(cls) -> None:
        """Drop all of them, between searches."""
        cls._known.clear()

    def record_head(self, table: Metadata, branch: str) -> "Registry":
        """Remember a branch, from its head back to what is known already."""
        key = (table, branch)
        found = self._after.get(key)
        if found is None:
            missing: list[Snapshot] = []
            for snapshot in table.chain(table.ref(branch)):
                if snapshot.id in self.by_id:
                    break
                missing.append(snapshot)
            found = self._after[key] = self._with(missing)
        return found

    def record_expiring(
        self, table: Metadata, dead: frozenset[int], *, children: bool
    ) -> "Registry":
        """Remember snapshots that are about to die, and their children, who lose their parent."""
        key = (table, dead, children)
        found = self._after.get(key)
        if found is None:
            concerned = [
                s for s in table.snapshots if s.id in dead or (children and s.parent in dead)
            ]
            found = self._after[key] = self._with(concerned)
        return found

    def _with(self, snapshots: Iterable[Snapshot]) -> "Registry":
        known = self.by_id
        new = [Record(s.id, s.parent, s.picked) for s in snapshots if s.id not in known]
        return Registry.of((*known.values(), *new)) if new else self


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


def spell(letter: str, mask: int) -> str:
    """Spell a mask out: `f1, f3`."""
    return ", ".join(f"{letter}{n}" for n in range(mask.bit_length()) if mask >> n & 1)
