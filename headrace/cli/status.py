"""`headrace status`: one screen for the person on call, what needs one first."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import typer

from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, as_age, as_size, output_of

if TYPE_CHECKING:
    from headrace.cli.output import Output
    from headrace.config import Settings
    from headrace.standing.facts import Standing
    from headrace.standing.finding import Finding
    from headrace.standing.read import LakeRead


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "status", status, "status", "status --output json")


def status(*, output: OutputOption = Format.TEXT) -> None:
    """Show what needs a person, with the command for it, and how the whole lake stands.

    Findings come by cause: `wrong` where results may be wrong or missing, `behind` where they are
    old, `slow` where they cost more than they should, `unused` where a declaration has nothing to
    apply to. Ages are those of commits and watermarks. It
    ends with status 0 whatever it finds.
    """
    from headrace.config import Settings
    from headrace.standing.findings import findings
    from headrace.standing.read import read_lake

    settings = Settings.load()
    read = read_lake(settings)
    found = findings(read.standing)
    out = output_of(output)
    if output is Format.JSON:
        out.record(_facts(settings, read, found))
        return
    now = dt.datetime.now(dt.UTC)
    out.show(f"lake {settings.state_dir}, profile {settings.profile}, {now:%Y-%m-%d %H:%M:%S} UTC")
    _show_findings(out, found)
    out.show("")
    _show_streams(out, read.standing, now=now)
    if read.standing.jobs:
        out.show("")
        _show_jobs(out, read.standing)
    if read.standing.paimon:
        out.show("")
        _show_paimon(out, read.standing)
    out.show("")
    out.record(_rest(read, now=now))


def _show_findings(out: "Output", found: "tuple[Finding, ...]") -> None:
    out.show("nothing needs attention" if not found else "")
    for each in found:
        out.show(f"{each.kind:<6}  {each.subject}: {each.text}")
        for remedy in each.remedies:
            said = remedy.advice or remedy.otherwise or not remedy.command
            out.show(f"        → {remedy if said else remedy.line}")


def _show_streams(out: "Output", standing: "Standing", *, now: dt.datetime) -> None:
    rows: list[dict[str, Any]] = [
        {
            **vars(each),
            "last_commit": as_age(each.committed_at, now=now),
            "watermark_age": as_age(each.watermark, now=now),
        }
        for each in standing.streams
    ]
    columns = ("stream", "rows", "last_commit", "watermark", "watermark_age", "waiting")
    out.table(
        rows,
        columns=(*columns, "refused", "dead_letters", "lag", "service"),
        spare=("dead_letters", "watermark", "rows"),
        empty="no stream is declared",
    )


def _show_jobs(out: "Output", standing: "Standing") -> None:
    rows: list[dict[str, Any]] = [
        {**vars(each), "job": each.subject, "state": each.state or "unknown"}
        for each in standing.jobs
    ]
    out.table(rows, columns=("job", "table", "state", "checkpoint", "committed", "job_id"))


def _show_paimon(out: "Output", standing: "Standing") -> None:
    from headrace.standing.facts import taken_by

    taken = {each.table: taken_by(standing.imports, each.table) for each in standing.paimon}
    rows: list[dict[str, Any]] = [
        {
            "paimon": each.table,
            "records": each.records,
            "files": each.files.files,
            "snapshots": each.snapshots,
            "tags": ", ".join(each.tags),
            "health": each.health,
            "taken_by": taken[each.table][0] or None,
            "lacks": taken[each.table][1],
        }
        for each in standing.paimon
    ]
    out.table(rows, columns=tuple(rows[0]))


def _rest(read: "LakeRead", *, now: dt.datetime) -> Mapping[str, object]:
    from headrace.maintenance.health.wording import counted
    from headrace.standing.causes import out_of_date
    from headrace.standing.flow import ONLINE_STORE

    edges = read.standing.edges
    stale = out_of_date(edges)
    tables = {edge.target for edge in edges if edge.target != ONLINE_STORE}
    old = {
        edge.source
        for edge in edges
        if edge.target == ONLINE_STORE and (edge.commits or edge.source in stale)
    }
    published = max((each.fresh.published_at for each in read.online), default=None)
    online = "nothing published"
    if read.online:
        views, age = counted(len(read.online), "view"), as_age(published, now=now)
        online = f"{views}, {len(old):,} behind, published {age} ago"
    elif any(each.name == ONLINE_STORE for each in read.standing.unreadable):
        online = "cannot be read"
    return {
        "computed tables": f"{len(tables):,}, {len(set(stale) & tables):,} out of date",
        "failed checks": len(read.standing.failed_checks),
        "queue": f"{counted(len(read.plan.actions), 'action')}, {as_size(read.plan.cost_bytes)} to "
        f"rewrite, {len(read.plan.waiting):,} waiting",
        "online store": online,
        "dataset versions": ", ".join(read.versions) or "none",
    }


def _facts(
    settings: "Settings", read: "LakeRead", found: "tuple[Finding, ...]"
) -> dict[str, object]:
    return {
        "lake": str(settings.state_dir),
        "profile": settings.profile,
        "findings": [
            asdict(each) | {"remedies": [remedy.to_dict() for remedy in each.remedies]}
            for each in found
        ],
        "streams": [asdict(each) for each in read.standing.streams],
        "jobs": [
            asdict(each) | {"remedy": None if each.remedy is None else each.remedy.to_dict()}
            for each in read.standing.jobs
        ],
        "paimon": [
            asdict(replace(each, history=()))
            | {"remedy": None if each.remedy is None else each.remedy.to_dict()}
            for each in read.standing.paimon
        ],
        "imports": [asdict(each) for each in read.standing.imports],
        "edges": [
            asdict(each) | {"snapshot": None if each.snapshot is None else str(each.snapshot)}
            for each in read.standing.edges
        ],
        "failed_checks": [asdict(each) for each in read.standing.failed_checks],
        "queue": {
            "actions": len(read.plan.actions),
            "cost_bytes": read.plan.cost_bytes,
            "waiting": len(read.plan.waiting),
        },
        "online": [
            {**asdict(each.fresh), "snapshot_id": str(each.fresh.snapshot_id)}
            for each in read.online
        ],
        "versions": list(read.versions),
    }
