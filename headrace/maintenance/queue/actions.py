"""Propose maintenance actions for a table, each with its reason, gain and cost.

To add a kind of action, add an entry to `_PROPOSE` here and to `_RUN` in `perform.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from headrace.errors import Remedy, advised
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
    """What an action does; none of them changes the rows of a table."""

    MINOR = "minor compaction"
    MAJOR = "major compaction"
    MANIFESTS = "rewrite manifests"
    EXPIRE = "expire snapshots"
    LIMITS = "limit metadata"
    FIND_ORPHANS = "find orphan files"
    PAIMON = "compact Paimon table"
    PAIMON_EXPIRE = "expire Paimon snapshots"
    REMOVE_ORPHANS = "remove orphan files"  # only started by a person, never from the queue


class Executor(StrEnum):
    """Who rewrites the files of an action; headrace commits those of tables of the lake."""

    HERE = "headrace"
    SERVER = "trino"  # by `optimize`; the only engine with a server so far
    FLINK = "flink"  # which commits them, too


@dataclass(frozen=True, kw_only=True)
class OtherTable:
    """A table of another format, by the name that commands and pages have for it: `paimon:k.users`."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action on one table or partition.

    `gain_s` estimates the seconds saved per scan, plan or commit. `steps` lists the bytes to
    rewrite per step; a round may do the first steps and leave the rest to a later one. `since_ms`
    is when the oldest file it rewrites was written, 0 if unknown.
    """

    kind: Kind
    table: TableName | OtherTable
    partition: PartitionKey | None = None
    reason: str
    gain: str
    gain_s: float
    steps: tuple[int, ...]
    since_ms: int = 0
    steps_left: int = 0  # steps of the same action that do not fit into the budget
    executor: Executor = Executor.HERE

    @property
    def cost_bytes(self) -> int:
        """Bytes to rewrite."""
        return sum(self.steps)

    @property
    def gain_per_byte(self) -> float:
        """Seconds gained per byte rewritten; the order of the queue."""
        return self.gain_s / max(1, self.cost_bytes)

    @property
    def key(self) -> tuple[str, str, str]:
        """The identity of the action; also breaks ties in the order."""
        partition = "" if self.partition is None else key_to_text(self.partition)
        return str(self.table), self.kind.value, partition


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An action that is not due yet, and why; `until_ms` is when it will be considered again.

    `remedy` is what a person may do about it, if anything.
    """

    kind: Kind
    table: TableName | OtherTable
    partition: PartitionKey | None = None
    reason: str
    cost_bytes: int
    until_ms: int | None = None
    remedy: Remedy | None = None

    def text(self, *, catalog: str | None = None) -> str:
        """Say why it waits, and what to do; the commands go to `catalog`, if it is given."""
        return advised(self.reason, self.remedy, catalog=catalog)


def cleaning_up(table: TableName) -> Remedy:
    """Advise a clean-up, which only a person starts."""
    return Remedy.run_on_catalog("tables", "cleanup", str(table))


def propose(state: TableState, *, now_ms: int) -> Iterator[Action | Waiting]:
    """List every action that would help a table, due or not. Pure."""
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
                reason=f"still written to, fewer than {FILES_PER_TIER} small files "
                "of similar row count",
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
        or "files without the flaws above",
        gain_s=gone * (OPEN_FILE_S + ENTRY_S) + max(0.0, part.depth - 1) * OPEN_FILE_S,
        steps=tuple(each.bytes for each in part.major),
        since_ms=_since_ms(state, part.major),
        executor=_executor(state, part.major),
    )


def _minor(state: TableState, part: PartitionLayout, *, written_s: float) -> Action:
    gone = removed(part.minor)
    files = sum(each.files for each in part.minor)
    return Action(
        kind=Kind.MINOR,
        table=state.table,
        partition=part.partition,
        reason=f"{files:,} small files of similar row count, written {span_text(written_s)} ago",
        gain=_fewer_files(gone),
        gain_s=gone * (OPEN_FILE_S + ENTRY_S),
        steps=tuple(each.bytes for each in part.minor),
        since_ms=_since_ms(state, part.minor),
        executor=_executor(state, part.minor),
    )


def _executor(state: TableState, bins: Sequence[BinSize]) -> Executor:
    """Leave what is large to the engine's server, if all of it is of a kind that it can do."""
    least = state.server_bytes_min
    is_large = least is not None and _bytes(bins) >= least
    return Executor.SERVER if is_large and all(each.plain for each in bins) else Executor.HERE


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
        reasons.append(f"{len(limits.schemas):,} unused schemas")
    if limits.properties:
        reasons.append(
            "old metadata files are kept" if limits.keeps_files else "bounds of every column"
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
            reason="last search a day ago" if state.orphan_bytes else "never searched",
            gain="shows how much space can be freed",
            gain_s=0.0,
            steps=(0,),
        )
    elif not state.shared and state.orphan_bytes and state.orphan_bytes.value:
        yield Waiting(
            kind=Kind.REMOVE_ORPHANS,
            table=state.table,
            reason=f"a clean-up would free {size_text(state.orphan_bytes.value)}",
            cost_bytes=0,
            remedy=cleaning_up(state.table),
        )


def _fewer_files(gone: int) -> str:
    if not gone:
        return ""
    saved = time_text(gone * (OPEN_FILE_S + ENTRY_S))
    files = "file" if gone == 1 else "files"
    return f"{gone:,} fewer {files}, scans save {saved}"


def _closer(part: PartitionLayout) -> str:
    if part.depth <= SORTED_RUNS_MAX:
        return ""
    return f"a look-up by key opens {part.depth - 1:.3g} fewer files"


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
