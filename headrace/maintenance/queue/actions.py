"""What could be done to a table, each thing with its reason, its gain and its cost.

A kind of action is added here, as one entry of `_PROPOSE`, and in `perform.py`, as one of `_RUN`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from headrace.iceberg.partitions import PartitionKey, key_to_text
from headrace.identifiers import TableName
from headrace.maintenance.compaction.minor_major import SORTED_RUNS_MAX, BinSize
from headrace.maintenance.compaction.tiers import FILES_PER_TIER
from headrace.maintenance.health.costs import (
    BOUND_S,
    ENTRY_S,
    METADATA_BYTE_S,
    OPEN_FILE_S,
    SNAPSHOT_S,
)
from headrace.maintenance.health.layout import PartitionLayout, removed
from headrace.maintenance.health.state import TableState
from headrace.maintenance.health.wording import counted, size_text, span_text, time_text


class Kind(StrEnum):
    """What an action does; none of them changes what rows a table has."""

    MINOR = "minor compaction"
    MAJOR = "major compaction"
    MANIFESTS = "rewrite manifests"
    EXPIRE = "expire snapshots"
    LIMITS = "limit metadata"
    FIND_ORPHANS = "find orphan files"
    REMOVE_ORPHANS = "remove orphan files"  # only started by a person, never from the queue


@dataclass(frozen=True, kw_only=True)
class Action:
    """One thing to do to one table, or to one partition of it.

    `gain_s` estimates the seconds that each scan, plan or commit takes less. `steps` are the bytes
    to write anew, in parts of which the first few may be done and the rest later. `since_ms` is
    when the oldest of what it writes anew was written, as far as is known.
    """

    kind: Kind
    table: TableName
    partition: PartitionKey | None = None
    reason: str
    gain: str
    gain_s: float
    steps: tuple[int, ...]
    since_ms: int = 0
    steps_left: int = 0  # of the same action, that the budget has no room for

    @property
    def cost_bytes(self) -> int:
        """Bytes to write anew."""
        return sum(self.steps)

    @property
    def gain_per_byte(self) -> float:
        """Seconds gained for each byte; what the queue is ordered by."""
        return self.gain_s / max(1, self.cost_bytes)

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it one action and no other; also the order of equals."""
        partition = "" if self.partition is None else key_to_text(self.partition)
        return str(self.table), self.kind.value, partition


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Something that is not done now, and why; `until_ms` says when it will be asked again."""

    kind: Kind
    table: TableName
    partition: PartitionKey | None = None
    reason: str
    cost_bytes: int
    until_ms: int | None = None


def propose(state: TableState, *, now_ms: int) -> Iterator[Action | Waiting]:
    """List everything that could be done to a table. Pure."""
    for each in _PROPOSE:
        yield from each(state, now_ms)


def _compactions(state: TableState, now_ms: int) -> Iterator[Action | Waiting]:
    for each in state.layout.partitions:
        written_ms = state.written_ms.get(key_to_text(each.partition))
        cold_ms = None if written_ms is None else written_ms + round(state.cold_after_s * 1000)
        if cold_ms is None or cold_ms <= now_ms:
            if each.major:
                yield _major(state, each)
        elif each.minor:
            yield _minor(state, each, written_s=(now_ms - (written_ms or 0)) / 1000)
        elif each.major:
            yield Waiting(
                kind=Kind.MAJOR,
                table=state.table,
                partition=each.partition,
                reason=f"still written to, fewer than {FILES_PER_TIER} small files of like many rows",
                cost_bytes=_bytes(each.major),
                until_ms=cold_ms,
            )


def _major(state: TableState, part: PartitionLayout) -> Action:
    gone = removed(part.major)
    return Action(
        kind=Kind.MAJOR,
        table=state.table,
        partition=part.partition,
        reason=", ".join(
            (f"{part.small_files:,} of {counted(part.files, 'file')} small", *part.why)
        )
        + (f", no write for {span_text(state.cold_after_s)}" if state.cold_after_s else ""),
        gain="; ".join(filter(None, (_fewer_files(gone), _closer(part))))
        or "rows as they should lie",
        gain_s=gone * (OPEN_FILE_S + ENTRY_S) + max(0.0, part.depth - 1) * OPEN_FILE_S,
        steps=tuple(each.bytes for each in part.major),
        since_ms=_since_ms(state, part.major),
    )


def _minor(state: TableState, part: PartitionLayout, *, written_s: float) -> Action:
    gone = removed(part.minor)
    files = sum(each.files for each in part.minor)
    return Action(
        kind=Kind.MINOR,
        table=state.table,
        partition=part.partition,
        reason=f"{files:,} small files of like many rows, written {span_text(written_s)} ago",
        gain=_fewer_files(gone),
        gain_s=gone * (OPEN_FILE_S + ENTRY_S),
        steps=tuple(each.bytes for each in part.minor),
        since_ms=_since_ms(state, part.minor),
    )


def _manifests(state: TableState, _now_ms: int) -> Iterator[Action]:
    found = state.layout.manifests
    if found.pays:
        yield Action(
            kind=Kind.MANIFESTS,
            table=state.table,
            reason=f"a plan opens {found.opened:.3g} of {counted(found.manifests, 'manifest')}, "
            f"{max(found.opened_ideal, 1):.3g} would do",
            gain=f"plans save {time_text(found.saved_s)}",
            gain_s=found.saved_s,
            steps=(found.bytes,),
            since_ms=state.times_ms.get(found.sequence, 0),
        )


def _expiry(state: TableState, _now_ms: int) -> Iterator[Action]:
    if state.expirable:
        gain_s = state.expirable * SNAPSHOT_S
        yield Action(
            kind=Kind.EXPIRE,
            table=state.table,
            reason=f"{counted(state.snapshots, 'snapshot')}, {state.snapshots_kept:,} are kept",
            gain=f"{state.expirable:,} fewer snapshots, commits save {time_text(gain_s)}",
            gain_s=gain_s,
            steps=(state.metadata_bytes,),
            since_ms=state.expirable_since_ms,
        )


def _limits(state: TableState, _now_ms: int) -> Iterator[Action]:
    limits = state.limits
    if not limits:
        return
    reasons: list[str] = []
    if limits.schemas:
        reasons.append(f"{len(limits.schemas):,} schemas that nothing was written with")
    if limits.properties:
        reasons.append(
            "old metadata files stay" if limits.keeps_files else "bounds of every column"
        )
    bounds_s = state.layout.files * limits.bounds_fewer * BOUND_S
    gain_s = limits.schema_bytes * METADATA_BYTE_S + bounds_s
    gains = [f"{size_text(limits.schema_bytes)} less metadata"] if limits.schema_bytes else []
    if limits.properties:
        gains.append("metadata stays small")
    yield Action(
        kind=Kind.LIMITS,
        table=state.table,
        reason=", ".join(reasons),
        gain=", ".join(gains),
        gain_s=gain_s,
        steps=(state.metadata_bytes,),
    )


def _orphans(state: TableState, _now_ms: int) -> Iterator[Action | Waiting]:
    if state.look_due:
        yield Action(
            kind=Kind.FIND_ORPHANS,
            table=state.table,
            reason="nobody looked for a day" if state.orphan_bytes else "nobody looked yet",
            gain="says what a clean-up would free",
            gain_s=0.0,
            steps=(0,),
        )
    elif not state.shared and state.orphan_bytes and state.orphan_bytes.value:
        yield Waiting(
            kind=Kind.REMOVE_ORPHANS,
            table=state.table,
            reason=f"frees {size_text(state.orphan_bytes.value)} when someone runs "
            f"`headrace tables cleanup {state.table}`",
            cost_bytes=0,
        )


def _fewer_files(gone: int) -> str:
    if not gone:
        return ""
    saved = time_text(gone * (OPEN_FILE_S + ENTRY_S))
    return f"{counted(gone, 'file')} fewer, scans save {saved}"


def _closer(part: PartitionLayout) -> str:
    if part.depth <= SORTED_RUNS_MAX:
        return ""
    return f"a look-up by key opens {part.depth - 1:.3g} files fewer"


def _since_ms(state: TableState, bins: Sequence[BinSize]) -> int:
    return min((state.times_ms.get(each.sequence, 0) for each in bins), default=0)


def _bytes(bins: Sequence[BinSize]) -> int:
    return sum(each.bytes for each in bins)


_PROPOSE: tuple[Callable[[TableState, int], Iterator[Action | Waiting]], ...] = (
    _compactions,
    _manifests,
    _expiry,
    _limits,
    _orphans,
)
