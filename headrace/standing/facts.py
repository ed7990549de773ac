"""The facts by which a lake is judged, as plain records: streams, edges, checks, health."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from headrace.errors import LakeError, Remedy
from headrace.interop.paimon.summary import PaimonSummary
from headrace.maintenance.health.health import HealthPart, is_fit
from headrace.registry.checks import FailedCheck
from headrace.standing.flow import Edge


@dataclass(frozen=True, kw_only=True)
class StreamStanding:
    """How far one stream is.

    `waiting` counts its files or partitions with something to take, None if its source did not tell;
    `parts` says which; `missing` says why it has none at all. `rows` is None if its table cannot be read. `dead_letters` counts all of its refused records, `refused` those of its newest day that
    nobody acknowledged, by error code in `reasons`. `lag` counts offsets that its service has not
    read, None without one. `trouble` says why its service needs a person, since `trouble_at`.
    `stopped_at` says since when nothing follows it that was followed, and `former` what ended the
    service before.
    `stale` means that it was followed, and its watermark is further behind the clock than it may be.
    `is_of_flink` means that a job of Flink writes it.
    `undeclared` counts records per field that the contract does not declare, `misspelt` maps such a
    field to the declared one that it probably means, and `absent` lists declared fields that no
    record has.
    """

    stream: str
    table: str
    source: str
    rows: int | None = 0
    committed_at: dt.datetime | None = None
    watermark: dt.datetime | None = None
    waiting: int | None = 0
    parts: Literal["file", "partition"] = "file"
    missing: str = ""
    dead_letters: int = 0
    refused: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    lag: int | None = None
    service: str | None = None
    trouble: str = ""
    trouble_at: dt.datetime | None = None
    stopped_at: dt.datetime | None = None
    former: str = ""
    stale: bool = False
    undeclared: Mapping[str, int] = field(default_factory=dict[str, int])
    misspelt: Mapping[str, str] = field(default_factory=dict[str, str])
    absent: tuple[str, ...] = ()
    is_of_flink: bool = False


@dataclass(frozen=True, kw_only=True)
class JobStanding:
    """One job that Flink should run: the stream, view or table of samples that it is of.

    It writes `table`, and `reads` a topic or tables. `state` is Flink's word, empty if it was not
    heard; `LOST` and `NOT STARTED` are ours. `trouble` says why it needs a person, and `remedy` what to do; `committed` is the newest
    checkpoint whose rows are in the table, of `checkpoint`. `kept` counts the snapshots of the table that do
    not expire, since `kept_since`, because the job is stopped; 0 if the lake would keep them anyway.
    """

    subject: str
    table: str
    reads: tuple[str, ...] = ()
    state: str = ""
    job_id: str = ""
    checkpoint: int = 0
    committed: int = 0
    trouble: str = ""
    remedy: Remedy | None = None
    kept: int = 0
    kept_since: dt.datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PaimonImport:
    """A table of the lake that takes a Paimon table, as `taken_as`, and has `snapshot_id` of it.

    `lacks` counts newer snapshots. `is_lost` means that some of them expired before they were taken.
    """

    table: str
    target: str
    taken_as: str
    snapshot_id: int
    lacks: int
    is_lost: bool = False


def taken_by(imports: Iterable[PaimonImport], table: str) -> tuple[str, int | None]:
    """Name the tables that take a Paimon table, and count what the one furthest behind lacks."""
    found = [each for each in imports if each.table == table]
    return ", ".join(each.target for each in found), max(
        (each.lacks for each in found), default=None
    )


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A table, stream or store that cannot be read: what the error says, and what to do about it."""

    name: str
    code: str
    text: str
    remedy: Remedy | None = None
    is_table: bool = False

    @classmethod
    def of(cls, name: str, error: LakeError, *, is_table: bool = False) -> "Unreadable":
        """Take from an error what it says."""
        return cls(
            name=name,
            code=error.code,
            text=error.message,
            remedy=error.remedy,
            is_table=is_table,
        )


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
    `paimon` are the tables of the Paimon warehouse, `imports` what takes them. `unfit` is worst first. `sample_sets` maps sample tables to their sample sets.
    """

    problems: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    streams: tuple[StreamStanding, ...] = ()
    jobs: tuple[JobStanding, ...] = ()
    paimon: tuple[PaimonSummary, ...] = ()
    imports: tuple[PaimonImport, ...] = ()
    letters: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    failed_checks: tuple[FailedCheck, ...] = ()
    edges: tuple[Edge, ...] = ()
    sample_sets: Mapping[str, str] = field(default_factory=dict[str, str])
    unfit: tuple[UnfitTable, ...] = ()
