"""Find what needs attention in a lake: pure rules over its facts, errors first."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from headrace.errors import Remedy
from ui.facts import DEAD_LETTERS, ONLINE_STORE, LakeFacts, TableFacts
from ui.wording import count, moment

Severity = Literal["error", "warning"]

SCORE_BAD = 50
SCORE_FAIR = 80
_CHECK = Remedy.run("check")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem; `remedy` says what to do about it, `table` names the table page to open."""

    severity: Severity
    subject: str
    text: str
    remedy: Remedy | None = None
    table: str = ""

    @property
    def command(self) -> str:
        """The first command of the remedy; empty if it has none."""
        return "" if self.remedy is None else next(iter(self.remedy.lines), "")

    @property
    def advice(self) -> str:
        """What else the remedy says; empty if the command is all."""
        if self.remedy is None:
            return ""
        return str(self.remedy) if self.remedy.otherwise else self.remedy.advice


def findings(lake: LakeFacts) -> tuple[Finding, ...]:
    """Apply every rule; errors come before warnings, otherwise the order of the rules is kept."""
    found = (
        *_declarations(lake),
        *_unreadable(lake),
        *_checks(lake),
        *_dead_letters(lake),
        *_health(lake),
        *_waiting(lake),
        *_fields(lake),
        *_behind(lake),
        *_online(lake),
    )
    return tuple(sorted(found, key=lambda finding: finding.severity != "error"))


def severity_of(table: TableFacts) -> Severity | None:
    """Derive the severity of a table from its health score; None if it is healthy."""
    if table.score < SCORE_BAD:
        return "error"
    return "warning" if table.score < SCORE_FAIR else None


def _declarations(lake: LakeFacts) -> Iterator[Finding]:
    for problem in lake.problems:
        where, _, text = problem.partition("  ")
        yield Finding(severity="error", subject=where, text=text, remedy=_CHECK)


def _unreadable(lake: LakeFacts) -> Iterator[Finding]:
    stores = () if lake.no_online is None else (lake.no_online,)
    for each in (*lake.unreadable, *stores):
        text = f"cannot be read: {each.text}"
        yield Finding(severity="error", subject=each.name, text=text, remedy=each.remedy)


def _checks(lake: LakeFacts) -> Iterator[Finding]:
    for each in lake.failed_checks:
        yield Finding(
            severity="error",
            subject=each.subject,
            text=f"check `{each.check}` failed at {moment(each.at)} UTC",
            remedy=Remedy(advice="see its run in Dagster: `make dagster`"),
        )


def _dead_letters(lake: LakeFacts) -> Iterator[Finding]:
    tables = {stream.name: stream.table for stream in lake.streams}
    for stream, counts in (lake.letters or {}).items():
        reasons = ", ".join(f"{code} ({rows:,})" for code, rows in counts.items())
        yield Finding(
            severity="warning",
            subject=tables.get(stream, f"stream {stream}"),
            text=f"{count(sum(counts.values()), 'record')} rejected: {reasons}",
            table=DEAD_LETTERS,
        )


def _waiting(lake: LakeFacts) -> Iterator[Finding]:
    for stream in lake.streams:
        if stream.missing:
            yield Finding(
                severity="warning",
                subject=f"stream {stream.name}",
                text=stream.missing,
                remedy=_CHECK,
            )
        if stream.waiting:
            yield Finding(
                severity="warning",
                subject=stream.table,
                text=f"{count(stream.waiting, 'file')} of `{stream.source}` not ingested yet",
                remedy=Remedy.run("ingest", "run", stream.name),
            )


def _fields(lake: LakeFacts) -> Iterator[Finding]:
    for stream in lake.streams:
        status = Remedy.run("ingest", "status", stream.name)
        for name, meant in stream.misspelt.items():
            records = count(stream.undeclared.get(name, 0), "record")
            yield Finding(
                severity="warning",
                subject=stream.table,
                text=f"undeclared field `{name}` in {records}; did you mean `{meant}`?",
                remedy=status,
            )
        if stream.absent:
            listed = ", ".join(f"`{name}`" for name in stream.absent)
            yield Finding(
                severity="warning",
                subject=stream.table,
                text=f"no record has {listed}",
                remedy=status,
            )


def _health(lake: LakeFacts) -> Iterator[Finding]:
    for table in sorted(lake.tables, key=lambda table: table.score):
        severity, worst = severity_of(table), table.worst
        if severity is None or worst is None:
            continue
        compacts = worst.name in ("small files", "deletes")
        yield Finding(
            severity=severity,
            subject=table.name,
            text=f"{worst.finding}; expected gain: {worst.gain}",
            remedy=Remedy.compact(table.name, advice="")
            if compacts
            else Remedy.run_on_catalog("maintain", table.name),
            table=table.name,
        )


def _behind(lake: LakeFacts) -> Iterator[Finding]:
    for edge in lake.edges:
        if edge.behind and lake.table(edge.target):  # the registry keeps edges of dropped tables
            yield Finding(
                severity="warning",
                subject=edge.target,
                text=f"behind {edge.source} by {count(edge.behind, 'commit')}",
                table=edge.target,
            )


def _online(lake: LakeFacts) -> Iterator[Finding]:
    for view in lake.online:
        if view.behind and lake.table(view.view):
            yield Finding(
                severity="warning",
                subject=ONLINE_STORE,
                text=f"behind {view.view} by {count(view.behind, 'commit')}",
                table=view.view,
            )
