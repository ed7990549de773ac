"""What must hold in every state, by name; each check returns what is wrong, or nothing."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from tests.protocol.rules import Rules
from tests.protocol.table import MAIN, NONE, Metadata, Registry, Snapshot, files_of, spell
from tests.protocol.world import World, ancestors, committed_offset

Check = Callable[[World, Rules], str]
_REMEMBERED_MAX: Final = 200_000


def nothing_is_lost(world: World, _rules: Rules) -> str:
    """Every row that was committed, and every record below the offsets, can be read."""
    return _misread(world.table)[0]


def nothing_is_doubled(world: World, _rules: Rules) -> str:
    """No row is in two files of one snapshot."""
    return _misread(world.table)[1]


def nothing_comes_back(world: World, _rules: Rules) -> str:
    """No row is read that was deleted, or never committed."""
    return _misread(world.table)[2]


def offsets_match_rows(world: World, rules: Rules) -> str:
    """The committed offset is what the rows of the head reach."""
    head, offset = world.table.head, committed_offset(world.table, rules)
    reached = head.upto if head else 0
    return "" if offset == reached else f"the offset is {offset}, the rows reach {reached}"


def offsets_never_go_back(world: World, rules: Rules) -> str:
    """The committed offset is as high as it ever was."""
    offset = committed_offset(world.table, rules)
    return "" if offset >= world.reached else f"the offset went from {world.reached} to {offset}"


def acknowledged_commits_stay(world: World, _rules: Rules) -> str:
    """What a caller was told is in the history of main."""
    return _absent(world, world.acked, "was acknowledged")


def no_commit_is_dropped(world: World, _rules: Rules) -> str:
    """What was once in the history of main is in it."""
    return _absent(world, world.ever, "was in main")


def referenced_files_exist(world: World, _rules: Rules) -> str:
    """Every snapshot that the table still has finds its files."""
    missing = world.table.needs & ~world.disk
    if not missing:
        return ""
    broken = [s for s in world.table.snapshots if files_of((s,)) & missing]
    return f"{spell('s', _ids(broken))} lacks {spell('f', missing)}"


def tags_hold(world: World, _rules: Rules) -> str:
    """A tag that its maker was told of names its snapshot, and the table has that."""
    tagged = world.tagged
    held = tagged in world.table.by_id and ("tag", tagged) in world.table.refs
    return "" if tagged == NONE or held else f"s{tagged} was tagged and is gone"


def leases_hold(world: World, _rules: Rules) -> str:
    """While a lease lasts, no snapshot goes that it holds: the leased one, and all since."""
    gone = world.leased & ~_ids(world.table.snapshots)
    return f"{spell('s', gone)} was leased and is gone" if gone else ""


def changes_are_answerable(world: World, _rules: Rules) -> str:
    """`changes(since)` finds the way from the head to whatever snapshot a builder has used."""
    lost = world.ever & ~_answerable(world.table, world.registry)
    return f"no way from the head back to {spell('s', lost)}" if lost else ""


INVARIANTS: Final[tuple[Check, ...]] = (
    nothing_is_lost,
    nothing_is_doubled,
    nothing_comes_back,
    referenced_files_exist,
    acknowledged_commits_stay,
    no_commit_is_dropped,
    offsets_never_go_back,
    offsets_match_rows,
    tags_hold,
    leases_hold,
    changes_are_answerable,
)


def everything_is_taken_in_the_end(world: World, rules: Rules, *, records: int) -> str:
    """Once nobody can do anything more, the source is used up. Only such states are asked."""
    offset = committed_offset(world.table, rules)
    return "" if offset == records else f"nobody moves on at offset {offset} of {records}"


def violation(world: World, rules: Rules) -> tuple[str, str] | None:
    """Return the first invariant that does not hold, and what is wrong."""
    for check in INVARIANTS:
        wrong = check(world, rules)
        if wrong:
            return check.__name__, wrong
    return None


def _absent(world: World, commits: int, was: str) -> str:
    head = world.table.head
    absent = commits & ~(head.lineage if head else 0)
    return f"{spell('s', absent)} {was}" if absent else ""


def _ids(snapshots: Iterable[Snapshot]) -> int:
    mask = 0
    for snapshot in snapshots:
        mask |= 1 << snapshot.id
    return mask


@lru_cache(maxsize=_REMEMBERED_MAX)
def _misread(table: Metadata) -> tuple[str, str, str]:
    lost = doubled = back = ""
    for snapshot in table.snapshots:
        found = twice = 0
        for file in snapshot.files:
            twice |= found & file.rows
            found |= file.rows
        where = f" in s{snapshot.id}"
        if snapshot.truth & ~found:
            lost = spell("row ", snapshot.truth & ~found) + where
        if twice:
            doubled = spell("row ", twice) + where
        if found & ~snapshot.truth:
            back = spell("row ", found & ~snapshot.truth) + where
    return lost, doubled, back


@lru_cache(maxsize=_REMEMBERED_MAX)
def _answerable(table: Metadata, registry: Registry) -> int:
    recorded = registry.record_head(table, MAIN)  # as `changes` does before it walks
    mask = 0
    for snapshot_id in ancestors(table, recorded, table.ref(MAIN)):
        mask |= 1 << snapshot_id
    return mask
