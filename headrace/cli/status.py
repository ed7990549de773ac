"""`headrace status`: one screen for the person on call, what needs one first."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from headrace.cli.findings import Finding, findings, out_of_date
from headrace.cli.flow import ONLINE_STORE
from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, as_age, as_size, output_of

if TYPE_CHECKING:
    from headrace.cli.output import Output
    from headrace.cli.standing import Standing
    from headrace.config import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "status", status, "status", "status --output json")


def status(*, output: OutputOption = Format.TEXT) -> None:
    """Show what needs a person, with the command for it, and how the whole lake stands.

    Findings come by cause: `wrong` where results may be wrong or missing, `behind` where they are
    old, `slow` where they cost more than they should. Ages are those of commits and watermarks. It
    ends with status 0 whatever it finds.
    """
    from headrace.cli.standing import read_standing
    from headrace.config import Settings

    settings = Settings.load()
    standing = read_standing(settings)
    found = findings(standing)
    out = output_of(output)
    if output is Format.JSON:
        out.record(_facts(settings, standing, found))
        return
    now = dt.datetime.now(dt.UTC)
    out.show(f"lake {settings.state_dir}, profile {settings.profile}, {now:%Y-%m-%d %H:%M:%S} UTC")
    _show_findings(out, found)
    out.show("")
    _show_streams(out, standing, now=now)
    out.show("")
    out.record(_rest(standing, now=now))


def _show_findings(out: "Output", found: tuple[Finding, ...]) -> None:
    out.show("nothing needs attention" if not found else "")
    for each in found:
        out.show(f"{each.kind:<6}  {each.text}")
        for remedy in each.remedies:
            out.show(f"        → {remedy.line or remedy}")


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


def _rest(standing: "Standing", *, now: dt.datetime) -> Mapping[str, object]:
    from headrace.maintenance.health.wording import counted

    stale = out_of_date(standing.edges)
    tables = {edge.target for edge in standing.edges if edge.target != ONLINE_STORE}
    old = {
        edge.source
        for edge in standing.edges
        if edge.target == ONLINE_STORE and (edge.commits or edge.source in stale)
    }
    published = max((each.fresh.published_at for each in standing.online), default=None)
    return {
        "computed tables": f"{len(tables):,}, {len(set(stale) & tables):,} out of date",
        "failed checks": len(standing.failed_checks),
        "queue": f"{counted(standing.actions, 'action')}, {as_size(standing.actions_bytes)} to rewrite, "
        f"{standing.waiting_actions:,} waiting",
        "online store": f"{counted(len(standing.online), 'view')}, {len(old):,} behind, published "
        f"{as_age(published, now=now)} ago"
        if standing.online
        else "nothing published",
        "dataset versions": ", ".join(standing.versions) or "none",
    }


def _facts(
    settings: "Settings", standing: "Standing", found: tuple[Finding, ...]
) -> dict[str, object]:
    return {
        "lake": str(settings.state_dir),
        "profile": settings.profile,
        "findings": [
            {
                "kind": each.kind,
                "code": each.code,
                "text": each.text,
                "remedies": [remedy.to_dict() for remedy in each.remedies],
            }
            for each in found
        ],
        "streams": [asdict(each) for each in standing.streams],
        "edges": [
            asdict(each) | {"snapshot": None if each.snapshot is None else str(each.snapshot)}
            for each in standing.edges
        ],
        "failed_checks": [asdict(each) for each in standing.failed_checks],
        "queue": {
            "actions": standing.actions,
            "cost_bytes": standing.actions_bytes,
            "waiting": standing.waiting_actions,
        },
        "online": [
            {**asdict(each.fresh), "snapshot_id": str(each.fresh.snapshot_id)}
            for each in standing.online
        ],
        "versions": list(standing.versions),
    }
