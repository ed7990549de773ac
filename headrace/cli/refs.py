"""`headrace tables refs|branch|tag|leases`: what names the snapshots of a table."""

from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.commit_rows import NOT_APPLIED, commit_row, say_commits
from headrace.cli.lakes import CatalogOption, look_at_lake, open_lake
from headrace.cli.nouns import add
from headrace.cli.output import Format, OutputOption, output_of
from headrace.clock import time_at

if TYPE_CHECKING:
    from headrace.tables.lake import LakeTable, OpenLake
    from headrace.tables.refs.refs import DropPlan, Ref

TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="As in `raw.impressions`.")]
AtOption = Annotated[
    str | None,
    typer.Option("--at", metavar="REF", help="A branch, tag or snapshot id; main if not given."),
]
DropOption = Annotated[bool, typer.Option("--drop", help="Drop it; shows what that gives up.")]
ApplyOption = Annotated[
    bool, typer.Option("--apply", help="Do it; without this only the plan is shown.")
]


def register(noun: typer.Typer) -> None:
    """Add the commands to the noun `tables`."""
    add(noun, "refs", refs, "tables refs samples.ctr")
    add(
        noun,
        "branch",
        branch,
        "tables branch raw.clicks trial",
        "tables branch raw.clicks trial --drop --apply",
    )
    add(
        noun,
        "tag",
        tag,
        "tables tag raw.clicks before_june --max-age-days 90",
        "tables tag raw.clicks before_june --drop --apply",
    )
    add(noun, "leases", leases, "tables leases raw.clicks")


def refs(
    table: TableArgument, *, catalog: CatalogOption = None, output: OutputOption = Format.TEXT
) -> None:
    """List the branches, tags and leases of a table, and what each leads to."""
    from headrace.tables.refs.leases import leases as leases_of
    from headrace.tables.refs.refs import refs as refs_of

    with look_at_lake(catalog) as lake:
        found = lake.table(table)
        holders = {lease.tag: lease.holder for lease in leases_of(found)}
        rows = [_ref_row(found, ref, holders) for ref in refs_of(found)]
    out = output_of(output, catalog=catalog)
    if rows or output is Format.JSON:
        out.table(
            rows,
            columns=("name", "kind", "snapshot", "committed", "rows", "ends", "note"),
            spare=("ends",),
        )
    else:
        out.say(f"{table} has no commits yet, so nothing names one")


def branch(
    table: TableArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the branch.")],
    *,
    at: AtOption = None,
    drop: DropOption = False,
    apply: ApplyOption = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Start a branch, or drop one with --drop --apply."""
    from headrace.tables.refs.refs import create_branch

    with open_lake(catalog) as lake:
        found = lake.table(table)
        if drop:
            _drop(lake, found, name, kind="branch", at=at, apply=apply, output=output)
            return
        snapshot_id = create_branch(found, name, at="main" if at is None else at)
    _say_named(table, name, "branch", snapshot_id, output=output)


def tag(
    table: TableArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the tag.")],
    *,
    at: AtOption = None,
    max_age_days: Annotated[
        float | None,
        typer.Option(
            "--max-age-days", help="Days after its snapshot was made; it ends when these are over."
        ),
    ] = None,
    drop: DropOption = False,
    apply: ApplyOption = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Name a snapshot, so that it does not expire, or drop the name with --drop --apply."""
    from headrace.iceberg.updates import resolve
    from headrace.tables.refs.refs import tag as set_tag

    if max_age_days is not None and max_age_days <= 0:
        msg = "give a number above 0"
        raise typer.BadParameter(msg, param_hint="--max-age-days")
    with open_lake(catalog) as lake:
        found = lake.table(table)
        if drop:
            _drop(lake, found, name, kind="tag", at=at, apply=apply, output=output)
            return
        wanted = "main" if at is None else at
        snapshot_id = resolve(found.iceberg().metadata, wanted, table=found.name)
        max_age_s = None if max_age_days is None else max_age_days * 86_400
        set_tag(found, name, snapshot_id=snapshot_id, max_age_s=max_age_s)
    _say_named(table, name, "tag", snapshot_id, output=output)


def leases(
    table: TableArgument,
    *,
    end: Annotated[
        str | None, typer.Option("--end", metavar="ID", help="End this lease before its time.")
    ] = None,
    apply: ApplyOption = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """List the leases that keep snapshots from expiring, and until when; end one of them."""
    from headrace.tables.refs.leases import end as end_lease
    from headrace.tables.refs.leases import leases as leases_of

    with open_lake(catalog) as lake:
        found = lake.table(table)
        held = leases_of(found)
        if end is not None and end not in {lease.id for lease in held}:
            msg = f"{table} has no lease `{end}`"
            raise typer.BadParameter(msg, param_hint="--end")
        shown = [lease for lease in held if end in (None, lease.id)]
        if end is not None and apply:
            end_lease(found, end)
    rows: list[dict[str, object]] = [
        {
            "lease": lease.id,
            "holder": lease.holder or "unknown",
            "snapshot": str(lease.snapshot_id),
            "ends": lease.expires_at,
            "ended": end == lease.id and apply,
        }
        for lease in shown
    ]
    out = output_of(output, catalog=catalog)
    if rows or output is Format.JSON:
        out.table(rows, columns=("lease", "holder", "snapshot", "ends"))
    else:
        out.say(f"{table} has no leases")
    if end is not None:
        lost = "its holder may find its snapshots gone"
        out.say(f"done: it has ended, and {lost}" if apply else f"ended, {lost}; {NOT_APPLIED}")


def _ref_row(table: "LakeTable", ref: "Ref", holders: dict[str, str]) -> dict[str, object]:
    version = table.at(snapshot_id=ref.snapshot_id)
    note = holders.get(ref.name) or "unknown"
    return {
        "name": ref.name,
        "kind": ref.kind,
        "snapshot": str(ref.snapshot_id),
        "committed": time_at(ref.committed_at_ms),
        "rows": version.row_count,
        "ends": time_at(ref.ends_at_ms),
        "note": f"held by {note}" if ref.kind == "lease" else _distance(table, ref),
    }


def _distance(table: "LakeTable", ref: "Ref") -> str | None:
    from headrace.tables.history.ancestry import Ancestry

    metadata = table.iceberg().metadata
    main = metadata.refs.get("main")
    if ref.kind != "branch" or ref.name == "main" or main is None:
        return None
    history = Ancestry.of(table, metadata)
    ahead = len(history.only_in(ref.snapshot_id, others=[main.snapshot_id]))
    behind = len(history.only_in(main.snapshot_id, others=[ref.snapshot_id]))
    return f"{ahead} ahead of main, {behind} behind"


def _drop(
    lake: "OpenLake",
    table: "LakeTable",
    name: str,
    *,
    kind: str,
    at: str | None,
    apply: bool,
    output: Format,
) -> None:
    from headrace.errors import SnapshotNotFoundError
    from headrace.tables.refs.refs import apply_drop, plan_drop

    if at is not None:
        msg = "`--at` says where to begin, not what to drop"
        raise typer.BadParameter(msg, param_hint="--at")
    plan = plan_drop(table, name)
    if plan.kind != kind:
        raise SnapshotNotFoundError(str(table.name), f"{kind} `{name}`, but a {plan.kind}")
    _refuse_pinned(lake, plan)
    out = output_of(output)
    out.say(f"{plan.table}: {kind} `{name}` names snapshot {plan.snapshot_id}")
    title = f"only it leads to {len(plan.lost)} commits with {plan.rows_lost:,} rows:"
    say_commits(out, title, plan.lost)
    if apply:
        apply_drop(table, plan)
    out.say("done" if apply else NOT_APPLIED)
    facts = {"table": str(plan.table), "name": name, "kind": kind, "applied": apply}
    lost = [commit_row(each) for each in plan.lost]
    out.facts(facts | {"snapshot": str(plan.snapshot_id), "lost": lost})


def _refuse_pinned(lake: "OpenLake", plan: "DropPlan") -> None:
    from headrace.datasets.versions import list_datasets
    from headrace.errors import ProtectedRefError

    for lock in list_datasets(lake):
        if any((pin.table, pin.tag) == (str(plan.table), plan.name) for pin in lock.pins):
            detail = f"`{lock.name}` v{lock.version} is published and rests on it"
            raise ProtectedRefError(str(plan.table), plan.name, detail)


def _say_named(table: str, name: str, kind: str, snapshot_id: int, *, output: Format) -> None:
    out = output_of(output)
    out.facts({"table": table, "name": name, "kind": kind, "snapshot": str(snapshot_id)})
    out.say(f"{table}: {kind} `{name}` names snapshot {snapshot_id}")
