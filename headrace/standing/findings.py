"""What needs a person in a lake, one finding for each cause: pure rules over how the lake stands."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from headrace.errors import FindingCode, Remedy
from headrace.flink.ended import STOPPED
from headrace.ingest.dead_letters import TABLE as DEAD_LETTERS
from headrace.maintenance.health.wording import counted
from headrace.standing.causes import Cause, causes
from headrace.standing.facts import Standing, StreamStanding, UnfitTable
from headrace.standing.finding import KINDS, Finding, Kind
from headrace.standing.flow import ONLINE_STORE
from headrace.standing.job_rules import job_findings
from headrace.standing.paimon_rules import paimon_findings
from headrace.standing.service_rules import service_findings
from headrace.standing.wording import listed, moment

_COMPACTABLE = ("small files", "deletes")


def findings(standing: Standing) -> tuple[Finding, ...]:
    """Apply every rule, one finding for each cause.

    What is wrong comes first, then what is behind, slow and unused; within each, what concerns most.
    """
    found = (
        *_declarations(standing),
        *_unreadable(standing),
        *service_findings(standing),
        *job_findings(standing),
        *_checks(standing),
        *_refused(standing),
        *_missing(standing),
        *_fields(standing),
        *_waiting(standing),
        *_stale(standing),
        *_behind(standing),
        *_health(standing),
        *paimon_findings(standing),
    )
    return tuple(sorted(found, key=lambda each: (KINDS.index(each.kind), -len(each.concerns))))


def _declarations(standing: Standing) -> Iterator[Finding]:
    if not standing.problems:
        return
    where, _, text = standing.problems[0].partition("  ")
    more = len(standing.problems) - 1
    yield Finding(
        kind="wrong",
        code=FindingCode.DECLARATIONS,
        subject=where,
        text=text + (f"; and {counted(more, 'more problem')} in declarations" if more else ""),
        remedies=(Remedy.run("check"),),
        concerns=tuple(dict.fromkeys(each.partition(":")[0] for each in standing.problems)),
    )


def _unreadable(standing: Standing) -> Iterator[Finding]:
    for each in standing.unreadable:
        yield Finding(
            kind="wrong",
            code=FindingCode.UNREADABLE,
            subject=each.name,
            text=f"cannot be read: {each.text}",
            remedies=() if each.remedy is None else (each.remedy,),
            table=each.name if each.is_table else "",
            concerns=(each.name,),
            breaks=True,
        )


def _checks(standing: Standing) -> Iterator[Finding]:
    if not standing.failed_checks:
        return
    subjects = list(dict.fromkeys(each.subject for each in standing.failed_checks))
    named = listed([f"`{each.check}` of {each.subject}" for each in standing.failed_checks])
    yield Finding(
        kind="wrong",
        code=FindingCode.FAILED_CHECKS,
        subject=listed(subjects),
        text=f"{counted(len(standing.failed_checks), 'check')} failed: {named}",
        since=min(each.at for each in standing.failed_checks),
        remedies=(Remedy.run("dagster", advice="see why, and run them again"),),
        table=next((each for each in subjects if not each.startswith("datasets.")), ""),
        concerns=tuple(subjects),
        breaks=True,
    )


def _refused(standing: Standing) -> Iterator[Finding]:
    tables = {each.stream: each.table for each in standing.streams}
    by_stream = {each.stream: each.reasons for each in standing.streams if each.refused}
    by_stream |= standing.letters
    if not by_stream:
        return
    by_code: dict[str, int] = defaultdict(int)
    for reasons in by_stream.values():
        for code, rows in reasons.items():
            by_code[code] += rows
    said = ", ".join(f"{code} ({rows:,})" for code, rows in by_code.items())
    named = () if standing.letters else tuple(by_stream)  # only declared ones can be named
    yield Finding(
        kind="wrong",
        code=FindingCode.REFUSED_RECORDS,
        subject=listed([tables.get(name, f"stream {name}") for name in by_stream]),
        text=f"{counted(sum(by_code.values()), 'record')} rejected: {said}",
        remedies=(Remedy.run("dead-letters", "list", *named),),
        table=str(DEAD_LETTERS),
        concerns=(*(tables.get(name, name) for name in by_stream), str(DEAD_LETTERS)),
    )


def _missing(standing: Standing) -> Iterator[Finding]:
    found = [stream for stream in standing.streams if stream.missing]
    if found:
        more = f"; the same for {listed([each.stream for each in found[1:]])}" if found[1:] else ""
        yield Finding(
            kind="wrong",
            code=FindingCode.NOTHING_TO_READ,
            subject=listed([f"stream {each.stream}" for each in found]),
            text=f"{found[0].missing}{more}",
            remedies=(Remedy.run("check"),),
            concerns=tuple(each.stream for each in found),
        )


def _fields(standing: Standing) -> Iterator[Finding]:
    misspelt = [(stream, name) for stream in standing.streams for name in stream.misspelt]
    if misspelt:
        stream, name = misspelt[0]
        records = counted(stream.undeclared.get(name, 0), "record")
        more = f"; {counted(len(misspelt) - 1, 'more field')} like it" if misspelt[1:] else ""
        yield _field_finding(
            "wrong",
            [each for each, _ in misspelt],
            f"undeclared field `{name}` in {records}; did you mean `{stream.misspelt[name]}`?{more}",
        )
    absent = [stream for stream in standing.streams if stream.absent]
    if absent:
        fields = [f"`{name}`" for stream in absent for name in stream.absent]
        yield _field_finding("unused", absent, f"no record has {listed(fields)}")


def _field_finding(kind: Kind, streams: Sequence[StreamStanding], text: str) -> Finding:
    tables = list(dict.fromkeys(each.table for each in streams))
    names = list(dict.fromkeys(each.stream for each in streams))
    return Finding(
        kind=kind,
        code=FindingCode.UNUSED_FIELDS,
        subject=listed(tables),
        text=text,
        remedies=(Remedy.run("ingest", "status", *names),),
        concerns=tuple(tables),
    )


def _waiting(standing: Standing) -> Iterator[Finding]:
    # what a live service or a job of Flink follows, it takes; one that stopped has its finding
    found = [
        each
        for each in standing.streams
        if each.waiting and each.lag is None and not each.is_of_flink and each.stopped_at is None
    ]
    if found:
        parts = [
            counted(sum(each.waiting or 0 for each in found if each.parts == part), part)
            for part in dict.fromkeys(each.parts for each in found)
        ]
        yield Finding(
            kind="behind",
            code=FindingCode.WAITING_FILES,
            subject=listed([each.table for each in found]),
            text=f"{listed(parts)} of {listed([f'`{each.source}`' for each in found])} not ingested yet",
            remedies=(Remedy.run("ingest", "run", *(each.stream for each in found)),),
            concerns=tuple(name for each in found for name in (each.stream, each.table)),
        )


def _stale(standing: Standing) -> Iterator[Finding]:
    """Find streams that are followed, but whose events stopped: history loads are not judged."""
    found = sorted(
        (each for each in standing.streams if each.stale),
        key=lambda each: (each.watermark is None, each.watermark, each.stream),
    )
    if found:
        names = [each.stream for each in found]
        # a watermark moves over what a job wrote once that is noted
        stopped = {each.subject for each in standing.jobs if each.state == STOPPED}
        notes = [
            Remedy.run("flink", "restore" if each.stream in stopped else "note", each.stream)
            for each in found
            if each.is_of_flink
        ]
        yield Finding(
            kind="behind",
            code=FindingCode.STALE_WATERMARK,
            subject=listed([each.table for each in found]),
            text=f"watermark of {found[0].table} is of {moment(found[0].watermark)} UTC, "
            "though it is followed",
            since=found[0].watermark,
            remedies=(*notes, Remedy.run("ingest", "status", *names)),
            table=found[0].table,
            concerns=tuple(each.table for each in found),
        )


def _behind(standing: Standing) -> Iterator[Finding]:
    for cause in causes(standing.edges):
        at = "" if cause.since is None else f" at {moment(cause.since)} UTC"
        tables = [each for each in (*cause.affected, *cause.roots) if each != ONLINE_STORE]
        yield Finding(
            kind="behind",
            code=FindingCode.OUT_OF_DATE,
            subject=listed(list(cause.roots)),
            text=f"moved on{at}; behind: {listed(list(cause.affected))}",
            since=cause.since,
            remedies=tuple(_rebuilding(standing, cause)),
            table=next(iter(tables), ""),
            concerns=cause.affected,
        )


def _rebuilding(standing: Standing, cause: Cause) -> Iterator[Remedy]:
    """Advise to rebuild all that is behind, in the order of the flow."""
    tables = [each for each in cause.affected if each != ONLINE_STORE]
    if any(each not in standing.sample_sets for each in tables):
        yield Remedy.run("features", "build")
    for each in tables:
        if each in standing.sample_sets:
            yield Remedy.run("samples", "build", standing.sample_sets[each])
    if ONLINE_STORE in cause.affected:
        yield Remedy.run("online", "publish")


def _health(standing: Standing) -> Iterator[Finding]:
    """Group unfit tables by what is worst of them."""
    groups: dict[str, list[UnfitTable]] = defaultdict(list)
    for each in standing.unfit:
        groups[each.part].append(each)
    for part, tables in groups.items():
        worst, *others = tables
        gain = f"; expected gain: {worst.gain}" if worst.gain else ""
        more = f"; {counted(len(others), 'more table')} like it" if others else ""
        yield Finding(
            kind="slow",
            code=FindingCode.UNHEALTHY_TABLES,
            subject=listed([each.name for each in tables]),
            text=f"{worst.finding}{gain}{more}",
            remedies=(_maintain(part, tables),),
            table=worst.name,
            concerns=tuple(each.name for each in tables),
        )


def _maintain(part: str, tables: Sequence[UnfitTable]) -> Remedy:
    if tables[1:]:
        return Remedy.run_on_catalog("maintain", "--apply")
    if part in _COMPACTABLE:
        return Remedy.compact(tables[0].name, advice="")
    return Remedy.run_on_catalog("maintain", tables[0].name, "--apply")
