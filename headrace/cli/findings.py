"""What needs a person in a lake, one finding for each cause: pure rules over how the lake stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from headrace.cli.flow import ONLINE_STORE, Edge, in_order
from headrace.cli.standing import Standing
from headrace.errors import FindingCode, Remedy

_NAMED_MAX = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cause, and the commands that remove it, in their order.

    `kind` is `wrong` where results may be wrong or missing, `behind` where they are old, and `slow`
    where they cost more than they should. The runbook has a section for each `code`.
    """

    kind: Literal["wrong", "behind", "slow"]
    code: FindingCode
    text: str
    remedies: tuple[Remedy, ...]


def findings(standing: Standing) -> tuple[Finding, ...]:
    """Apply every rule: what is wrong first, then what is behind, then what is slow."""
    return (*_wrong(standing), *_behind(standing), *_slow(standing))


def _wrong(standing: Standing) -> Iterator[Finding]:
    if standing.problems:
        first, *more = standing.problems
        others = f"; and {len(more):,} more" if more else ""
        yield _finding(
            "wrong", FindingCode.DECLARATIONS, f"declarations: {first}{others}", Remedy.run("check")
        )
    for each in standing.unreadable:
        remedies = () if each.remedy is None else (each.remedy,)
        yield Finding(
            kind="wrong",
            code=FindingCode.UNREADABLE,
            text=f"{each.subject}: {each.text}",
            remedies=remedies,
        )
    for stream in standing.streams:
        again = Remedy.run("ingest", "run", stream.stream, "--follow")
        if stream.trouble:
            yield _finding(
                "wrong",
                FindingCode.SERVICE_FAILED,
                f"the service of {stream.stream} {stream.trouble}",
                again,
            )
    if standing.failed_checks:
        said = _listed([f"{each.subject} {each.check}" for each in standing.failed_checks])
        see = Remedy(advice="see why, and run them again", command=("dagster",))
        yield _finding("wrong", FindingCode.FAILED_CHECKS, f"failed checks: {said}", see)
    refused = [each for each in standing.streams if each.refused]
    if refused:
        said = _listed([f"{each.stream} {each.refused:,}" for each in refused])
        names = [each.stream for each in refused]
        yield _finding(
            "wrong",
            FindingCode.REFUSED_RECORDS,
            f"refused records: {said}",
            Remedy.run("dead-letters", "list", *names),
        )
    missing = [each.stream for each in standing.streams if each.missing]
    if missing:
        yield _finding(
            "wrong",
            FindingCode.NOTHING_TO_READ,
            f"nothing to read for {_listed(missing)}",
            Remedy.run("check"),
        )


def _behind(standing: Standing) -> Iterator[Finding]:
    waiting = [each for each in standing.streams if each.waiting and each.lag is None]
    if waiting:
        said = _listed([f"{each.stream} {each.waiting:,}" for each in waiting])
        names = [each.stream for each in waiting]
        yield _finding(
            "behind",
            FindingCode.WAITING_FILES,
            f"files wait: {said}",
            Remedy.run("ingest", "run", *names),
        )
    silent = [each for each in standing.streams if each.stale]
    if silent:
        said = _listed([f"{each.stream} {each.watermark:%Y-%m-%d %H:%M}" for each in silent])
        names = [each.stream for each in silent]
        yield _finding(
            "behind",
            FindingCode.STALE_WATERMARK,
            f"watermarks are old, though followed: {said}",
            Remedy.run("ingest", "status", *names),
        )
    stale = out_of_date(standing.edges)
    if stale:
        roots = {
            edge.source: edge.commits
            for edge in standing.edges
            if edge.commits and edge.source not in stale
        }
        causes = _listed([f"{name} ({count:,})" for name, count in roots.items()])
        yield Finding(
            kind="behind",
            code=FindingCode.OUT_OF_DATE,
            text=f"without the newest commits of {causes}: {_listed(stale)}",
            remedies=tuple(_rebuilding(stale, standing)),
        )


def out_of_date(edges: Sequence[Edge]) -> tuple[str, ...]:
    """Return what was computed from older commits, and all that was computed from that, in order."""
    stale = {edge.target for edge in edges if edge.commits}
    while more := {edge.target for edge in edges if edge.source in stale} - stale:
        stale |= more
    return tuple(dict.fromkeys(each.target for each in in_order(edges) if each.target in stale))


def _rebuilding(stale: Sequence[str], standing: Standing) -> Iterator[Remedy]:
    tables = [each for each in stale if each != ONLINE_STORE]
    if any(each not in standing.sample_sets for each in tables):
        yield Remedy.run("features", "build")
    for each in tables:
        if each in standing.sample_sets:
            yield Remedy.run("samples", "build", standing.sample_sets[each])
    if ONLINE_STORE in stale:
        yield Remedy.run("online", "publish")


def _slow(standing: Standing) -> Iterator[Finding]:
    if standing.unfit:
        said = _listed([f"{table} ({why})" for table, why in standing.unfit])
        yield _finding("slow", FindingCode.UNHEALTHY_TABLES, said, Remedy.run("maintain"))


def _finding(
    kind: Literal["wrong", "behind", "slow"], code: FindingCode, text: str, remedy: Remedy
) -> Finding:
    return Finding(kind=kind, code=code, text=text, remedies=(remedy,))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_MAX:,} more" if len(names) > _NAMED_MAX else ""
    return ", ".join(names[:_NAMED_MAX]) + more
