"""Find what needs attention in a lake: pure rules over its facts, grouped by root cause."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from headrace.errors import FindingCode, Remedy
from ui.causes import Cause, causes
from ui.facts import DEAD_LETTERS, ONLINE_STORE, LakeFacts, StreamFacts, TableFacts
from ui.wording import age, count, listed, moment

Severity = Literal["error", "warning"]

SHOWN_MAX = 5
SCORE_BAD = 50
SCORE_FAIR = 80
_CHECK = Remedy.run("check")
_DAGSTER = Remedy(advice="see their runs in Dagster: `make dagster`")
_COMPACTABLE = ("small files", "deletes")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cause that needs attention.

    `concerns` names the tables, streams and stores that suffer from it, `since` says since when, if
    that is known, `remedy` what to do about it, and `table` which table's page shows more. `breaks`
    means that what it concerns does not work, or must not be trusted. `in_order` means that all
    commands of the remedy are needed, one after the other; else the later ones are other ways. The
    runbook has a section for each `code`.
    """

    severity: Severity
    code: FindingCode
    subject: str
    text: str
    since: dt.datetime | None = None
    remedy: Remedy | None = None
    table: str = ""
    concerns: tuple[str, ...] = ()
    breaks: bool = False
    in_order: bool = False

    @property
    def command(self) -> str:
        """The line that fixes it, as a shell takes it; empty if no command does."""
        lines = () if self.remedy is None else self.remedy.lines
        return " && \\\n".join(lines) if self.in_order else next(iter(lines), "")

    @property
    def advice(self) -> str:
        """What else the remedy says; empty if the command is all."""
        if self.remedy is None or self.in_order:
            return ""
        return str(self.remedy) if self.remedy.otherwise else self.remedy.advice


def findings(lake: LakeFacts, *, now: dt.datetime) -> tuple[Finding, ...]:
    """Apply every rule, one finding for each cause: errors first, then what concerns most."""
    found = (
        *_declarations(lake),
        *_unreadable(lake),
        *_services(lake),
        *_checks(lake),
        *_behind(lake),
        *_dead_letters(lake),
        *_missing(lake),
        *_waiting(lake),
        *_stale(lake, now=now),
        *_health(lake),
        *_fields(lake),
    )
    return tuple(sorted(found, key=lambda each: (each.severity != "error", -len(each.concerns))))


def severity_of(table: TableFacts) -> Severity | None:
    """Derive the severity of a table from its health score; None if it is healthy."""
    if table.score < SCORE_BAD:
        return "error"
    return "warning" if table.score < SCORE_FAIR else None


def _declarations(lake: LakeFacts) -> Iterator[Finding]:
    if not lake.problems:
        return
    where, _, text = lake.problems[0].partition("  ")
    more = len(lake.problems) - 1
    yield Finding(
        severity="error",
        code=FindingCode.DECLARATIONS,
        subject=where,
        text=text + (f"; and {count(more, 'more problem')} in declarations" if more else ""),
        remedy=_CHECK,
        concerns=tuple(dict.fromkeys(each.partition(":")[0] for each in lake.problems)),
    )


def _unreadable(lake: LakeFacts) -> Iterator[Finding]:
    stores = () if lake.no_online is None else (lake.no_online,)
    for each in (*lake.unreadable, *stores):
        yield Finding(
            severity="error",
            code=FindingCode.UNREADABLE,
            subject=each.name,
            text=f"cannot be read: {each.text}",
            remedy=each.remedy,
            concerns=(each.name,),
            breaks=True,
        )


def _services(lake: LakeFacts) -> Iterator[Finding]:
    tables = {stream.name: stream.table for stream in lake.streams}
    failed = [each for each in lake.services if each.failed]
    if not failed:
        return
    first = failed[0]
    said = first.error or "it ended without saying so"
    streams = [each.stream for each in failed]
    yield Finding(
        severity="error",
        code=FindingCode.SERVICE_FAILED,
        subject=listed([f"stream {each}" for each in streams]),
        text=f"the service that follows {first.stream} has {first.phase}: {said}",
        since=min((each.updated_at for each in failed if each.updated_at), default=None),
        remedy=Remedy.run("ingest", "run", *streams, "--follow"),
        concerns=tuple(name for each in streams for name in (each, tables.get(each, each))),
        breaks=True,
    )


def _checks(lake: LakeFacts) -> Iterator[Finding]:
    if not lake.failed_checks:
        return
    subjects = list(dict.fromkeys(each.subject for each in lake.failed_checks))
    named = listed([f"`{each.check}` of {each.subject}" for each in lake.failed_checks])
    yield Finding(
        severity="error",
        code=FindingCode.FAILED_CHECKS,
        subject=listed(subjects),
        text=f"{count(len(lake.failed_checks), 'check')} failed: {named}",
        since=min(each.at for each in lake.failed_checks),
        remedy=_DAGSTER,
        table=subjects[0] if lake.table(subjects[0]) else "",
        concerns=tuple(subjects),
        breaks=True,
    )


def _dead_letters(lake: LakeFacts) -> Iterator[Finding]:
    if not lake.letters:
        return
    tables = {stream.name: stream.table for stream in lake.streams}
    total = {name: sum(counts.values()) for name, counts in lake.letters.items()}
    by_code: dict[str, int] = defaultdict(int)
    for counts in lake.letters.values():
        for code, rows in counts.items():
            by_code[code] += rows
    reasons = ", ".join(f"{code} ({rows:,})" for code, rows in by_code.items())
    worst = max(total, key=lambda name: total[name])
    yield Finding(
        severity="warning",
        code=FindingCode.REFUSED_RECORDS,
        subject=listed([tables.get(name, f"stream {name}") for name in total]),
        text=f"{count(sum(total.values()), 'record')} rejected: {reasons}",
        remedy=Remedy.run("dead-letters", "list", worst),
        table=DEAD_LETTERS,
        concerns=(*(tables.get(name, name) for name in total), DEAD_LETTERS),
    )


def _missing(lake: LakeFacts) -> Iterator[Finding]:
    found = [stream for stream in lake.streams if stream.missing]
    if found:
        more = f"; the same for {listed([each.name for each in found[1:]])}" if found[1:] else ""
        yield Finding(
            severity="warning",
            code=FindingCode.NOTHING_TO_READ,
            subject=listed([f"stream {each.name}" for each in found]),
            text=f"{found[0].missing}{more}",
            remedy=_CHECK,
            concerns=tuple(each.name for each in found),
        )


def _waiting(lake: LakeFacts) -> Iterator[Finding]:
    found = [stream for stream in lake.streams if stream.waiting]
    if found:
        files = count(sum(each.waiting for each in found), "file")
        yield Finding(
            severity="warning",
            code=FindingCode.WAITING_FILES,
            subject=listed([each.table for each in found]),
            text=f"{files} of {listed([f'`{each.source}`' for each in found])} not ingested yet",
            remedy=Remedy.run("ingest", "run", *(each.name for each in found)),
            concerns=tuple(name for each in found for name in (each.name, each.table)),
        )


def _stale(lake: LakeFacts, *, now: dt.datetime) -> Iterator[Finding]:
    """Find streams that are followed, but whose events stopped: history loads are not judged."""
    allowed = {each.stream: each.watermark_lag_s_max for each in lake.services}
    found: list[tuple[dt.datetime, str]] = []
    for stream in lake.streams:
        table = lake.table(stream.table)
        if table is None or table.watermark is None or stream.name not in allowed:
            continue
        if (now - table.watermark).total_seconds() > allowed[stream.name]:
            found.append((table.watermark, stream.table))
    if found:
        oldest, subject = min(found)
        yield Finding(
            severity="warning",
            code=FindingCode.STALE_WATERMARK,
            subject=listed([name for _, name in sorted(found)]),
            text=f"watermark of {subject} is of {age(oldest, now=now)}, though it is followed",
            since=oldest,
            remedy=Remedy.run("ingest", "status"),
            table=subject,
            concerns=tuple(name for _, name in sorted(found)),
        )


def _fields(lake: LakeFacts) -> Iterator[Finding]:
    misspelt = [(stream, name) for stream in lake.streams for name in stream.misspelt]
    if misspelt:
        stream, name = misspelt[0]
        records = count(stream.undeclared.get(name, 0), "record")
        more = f"; {count(len(misspelt) - 1, 'more field')} like it" if misspelt[1:] else ""
        yield _field_finding(
            [each for each, _ in misspelt],
            f"undeclared field `{name}` in {records}; did you mean `{stream.misspelt[name]}`?{more}",
        )
    absent = [stream for stream in lake.streams if stream.absent]
    if absent:
        fields = [f"`{name}`" for stream in absent for name in stream.absent]
        yield _field_finding(absent, f"no record has {listed(fields)}")


def _field_finding(streams: Sequence[StreamFacts], text: str) -> Finding:
    tables = list(dict.fromkeys(each.table for each in streams))
    names = list(dict.fromkeys(each.name for each in streams))
    return Finding(
        severity="warning",
        code=FindingCode.UNUSED_FIELDS,
        subject=listed(tables),
        text=text,
        remedy=Remedy.run("ingest", "status", *names),
        concerns=tuple(tables),
    )


def _health(lake: LakeFacts) -> Iterator[Finding]:
    """Group unhealthy tables by what is worst of them."""
    groups: dict[str, list[TableFacts]] = defaultdict(list)
    for table in sorted(lake.tables, key=lambda table: table.score):
        if severity_of(table) is not None and table.worst is not None:
            groups[table.worst.name].append(table)
    for part, tables in groups.items():
        worst = tables[0]
        if worst.worst is None:
            continue
        others = f"; {count(len(tables) - 1, 'more table')} like it" if tables[1:] else ""
        yield Finding(
            severity=severity_of(worst) or "warning",
            code=FindingCode.UNHEALTHY_TABLES,
            subject=listed([each.name for each in tables]),
            text=f"{worst.worst.finding}; expected gain: {worst.worst.gain}{others}",
            remedy=_maintain(part, tables),
            table=worst.name,
            concerns=tuple(each.name for each in tables),
        )


def _maintain(part: str, tables: Sequence[TableFacts]) -> Remedy:
    if tables[1:]:
        return Remedy.run_on_catalog("maintain", "--apply")
    if part in _COMPACTABLE:
        return Remedy.compact(tables[0].name, advice="")
    return Remedy.run_on_catalog("maintain", tables[0].name, "--apply")


def _behind(lake: LakeFacts) -> Iterator[Finding]:
    for cause in causes(lake):
        at = "" if cause.since is None else f" at {moment(cause.since)} UTC"
        yield Finding(
            severity="warning",
            code=FindingCode.OUT_OF_DATE,
            subject=listed(list(cause.roots)),
            text=f"moved on{at}; behind: {listed(list(cause.affected))}",
            since=cause.since,
            remedy=_rebuild(lake, cause),
            table=cause.affected[0] if lake.table(cause.affected[0]) else cause.roots[0],
            concerns=cause.affected,
            in_order=True,
        )


def _rebuild(lake: LakeFacts, cause: Cause) -> Remedy:
    """Advise to rebuild all that is behind, in the order of the flow."""
    sets = sorted({lake.sample_sets[each] for each in cause.affected if each in lake.sample_sets})
    steps: list[tuple[str, ...]] = []
    if any(each != ONLINE_STORE and each not in lake.sample_sets for each in cause.affected):
        steps.append(("features", "build"))
    steps += [("samples", "build", name) for name in sets]
    if ONLINE_STORE in cause.affected:
        steps.append(("online", "publish"))
    first, *later = steps
    after = tuple(Remedy.run(*step) for step in later)
    return replace(Remedy.run(*first), otherwise=after)
