"""The facts by which a lake is judged, as plain records: streams, edges, checks, health."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from headrace.errors import LakeError, Remedy
from headrace.maintenance.health.health import HealthPart, is_fit
from headrace.registry.checks import FailedCheck
from headrace.standing.flow import Edge


@dataclass(frozen=True, kw_only=True)
class StreamStanding:
    """How far one stream is.

    `waiting` counts its files or partitions with something to take; `missing` says why it has none
    at all. `dead_letters` counts all of its refused records, `refused` those of its newest day that
    nobody acknowledged, by error code in `reasons`. `lag` counts offsets that its service has not
    read, None without one. `trouble` says why its service needs a person, since `trouble_at`.
    `stale` means that it was followed, and its watermark is further behind the clock than it may be.
    `undeclared` counts records per field that the contract does not declare, `misspelt` maps such a
    field to the declared one that it probably means, and `absent` lists declared fields that no
    record has.
    """

    stream: str
    table: str
    source: str
    rows: int = 0
    committed_at: dt.datetime | None = None
    watermark: dt.datetime | None = None
    waiting: int = 0
    missing: str = ""
    dead_letters: int = 0
    refused: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    lag: int | None = None
    service: str | None = None
    trouble: str = ""
    trouble_at: dt.datetime | None = None
    stale: bool = False
    undeclared: Mapping[str, int] = field(default_factory=dict[str, int])
    misspelt: Mapping[str, str] = field(default_factory=dict[str, str])
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A table, stream or store that cannot be read: what the error says, and what to do about it."""

    name: str
    code: str
    text: str
    remedy: Remedy | None = None

    @classmethod
    def of(cls, name: str, error: LakeError) -> "Unreadable":
        """Take from an error what it says."""
        return cls(name=name, code=error.code, text=error.message, remedy=error.remedy)


@dataclass(frozen=True, kw_only=True)
class UnfitTable:
    """A table whose health score is below what is fit, and the part of it that costs most."""

    name: str
    score: int
    part: str
    finding: str
    gain: str


def unfit(scored: Iterable[tuple[str, int, HealthPart | None]]) -> tuple[UnfitTable, ...]:
    """Keep the tables that need attention, worst first, of names, scores and worst parts."""
    return tuple(
        UnfitTable(name=name, score=score, part=part.name, finding=part.finding, gain=part.gain)
        for name, score, part in sorted(scored, key=lambda each: each[1])
        if not is_fit(score) and part is not None
    )


@dataclass(frozen=True, kw_only=True)
class Standing:
    """All by which a lake is judged.

    `letters` counts, by stream and error code, dead letters of streams that are no longer declared.
    `unfit` is worst first. `sample_sets` maps sample tables to their sample sets.
    """

    problems: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    streams: tuple[StreamStanding, ...] = ()
    letters: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    failed_checks: tuple[FailedCheck, ...] = ()
    edges: tuple[Edge, ...] = ()
    sample_sets: Mapping[str, str] = field(default_factory=dict[str, str])
    unfit: tuple[UnfitTable, ...] = ()
