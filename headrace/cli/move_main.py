"""`headrace tables rollback|publish`: taking a table back, and taking over what a branch has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.commit_rows import NOT_APPLIED, commit_row, say_commits
from headrace.cli.lakes import CatalogOption, open_lake
from headrace.cli.nouns import add
from headrace.cli.output import Format, Output, OutputOption, output_of

if TYPE_CHECKING:
    from headrace.tables.publishing.publish import Check, PublishPlan
    from headrace.tables.refs.rollback import RollbackPlan

TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="As in `raw.impressions`.")]
ApplyOption = Annotated[
    bool, typer.Option("--apply", help="Do it; without this only the plan is shown.")
]


def register(noun: typer.Typer) -> None:
    """Add the commands to the noun `tables`."""
    add(
        noun,
        "rollback",
        rollback,
        "tables rollback raw.clicks before_june",
        "tables rollback raw.clicks 7408195086389791204 --apply",
    )
    add(
        noun,
        "publish",
        publish,
        "tables publish raw.clicks trial --not-null user_id",
        "tables publish raw.clicks trial --unique click_id --apply",
    )


def rollback(
    table: TableArgument,
    to: Annotated[str, typer.Argument(metavar="TO", help="A tag, branch or snapshot id.")],
    *,
    apply: ApplyOption = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Take a table back to a snapshot it had before. Changes nothing without --apply.

    Source offsets go back too, so an ingest that runs next reads again what was rolled back. What
    is given up stays readable by its snapshot ids until it expires.
    """
    from headrace.tables.refs.rollback import apply_rollback, plan_rollback

    with open_lake(catalog) as lake:
        found = lake.table(table)
        plan = plan_rollback(found, to)
        out = output_of(output, catalog=catalog)
        _say_rollback(out, plan)
        if plan and apply:
            apply_rollback(found, plan)
            out.say(f"done: `main` of {table} is at snapshot {plan.to_id}")
        elif plan:
            out.say(NOT_APPLIED)
    out.facts(_rollback_facts(plan) | {"applied": bool(plan) and apply})


def publish(
    table: TableArgument,
    branch: Annotated[str, typer.Argument(metavar="BRANCH", help="The branch to publish.")],
    *,
    not_null: Annotated[
        list[str] | None,
        typer.Option("--not-null", metavar="COLUMN", help="Refuse new rows with a null there."),
    ] = None,
    unique: Annotated[
        list[str] | None,
        typer.Option(
            "--unique", metavar="COLUMN", help="Refuse rows that agree in all columns named so."
        ),
    ] = None,
    rows_min: Annotated[
        int, typer.Option("--rows-min", min=0, help="Refuse fewer new rows than that.")
    ] = 0,
    apply: ApplyOption = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Let main take over a branch, once what was written there is found readable and right.

    Shows the commits, the rows and what the checks found, and changes nothing without --apply. The
    branch stays. Options may be repeated.
    """
    from headrace.tables.publishing.publish import apply_publish, plan_publish

    with open_lake(catalog) as lake:
        found = lake.table(table)
        columns = [*(not_null or ()), *(unique or ())]
        _refuse_unknown(columns, found.head().schema.names)
        checks = _checks(not_null=not_null or (), unique=unique or (), rows_min=rows_min)
        plan = plan_publish(found, branch, checks=checks)
        out = output_of(output, catalog=catalog)
        _say_publish(out, plan)
        facts = _publish_facts(plan) | {"applied": False}
        if apply and plan.way != "nothing":
            done = apply_publish(found, plan)
            facts |= {"applied": True, "snapshot_after": str(done.snapshot_id)}
            out.say(f"done by {done.way}: `main` of {table} is at snapshot {done.snapshot_id}")
        elif plan:
            out.say(NOT_APPLIED)
    out.facts(facts)


def _rollback_facts(plan: "RollbackPlan") -> dict[str, Any]:
    offsets = [
        {"stream": m.stream, "source": m.source, "before": m.before, "after": m.after}
        for m in plan.offsets
    ]
    return {
        "table": str(plan.table),
        "from": str(plan.from_id),
        "to": str(plan.to_id),
        "rows_before": plan.rows_before,
        "rows_after": plan.rows_after,
        "lost": [commit_row(each) for each in plan.lost],
        "offsets": offsets,
        "properties": dict(plan.properties),
        "kept_by": list(plan.kept_by),
    }


def _say_rollback(out: Output, plan: "RollbackPlan") -> None:
    if not plan:
        out.say(f"{plan.table} is at snapshot {plan.to_id} already")
        return
    out.say(
        f"{plan.table}: snapshot {plan.from_id} → {plan.to_id}, "
        f"{plan.rows_before:,} rows → {plan.rows_after:,}"
    )
    say_commits(out, "given up:", plan.lost)
    for move in plan.offsets:
        after = "the start" if move.after is None else f"{move.after:,}"
        out.say(f"ingest of `{move.stream}` reads {move.source} again from {after}")
    if plan.kept_by:
        named = ", ".join(f"`{name}`" for name in plan.kept_by)
        out.say(f"still named by {named}, so not all of it expires")
    out.say("tables built from these commits are rebuilt: their start snapshot is unknown then")


def _publish_facts(plan: "PublishPlan") -> dict[str, Any]:
    return {
        "table": str(plan.table),
        "branch": plan.branch,
        "head": str(plan.head_id),
        "main": str(plan.main_id),
        "way": plan.way.value,
        "refusal": None if plan.refusal is None else plan.refusal.detail,
        "reason": None if plan.refusal is None else str(plan.refusal.reason),
        "rows_added": plan.rows_added,
        "rows_removed": plan.rows_removed,
        "commits": [commit_row(each) for each in plan.commits],
        "checks": [{"check": each.check, "problem": each.problem} for each in plan.findings],
    }


def _say_publish(out: Output, plan: "PublishPlan") -> None:
    if plan.way == "nothing":
        out.say(f"`main` of {plan.table} has all of `{plan.branch}` already")
        return
    out.say(
        f"{plan.table}: `{plan.branch}` at snapshot {plan.head_id} adds {plan.rows_added:,} rows "
        f"and removes {plan.rows_removed:,}, by {plan.way}"
    )
    say_commits(out, "commits:", plan.commits)
    for each in plan.findings:
        out.say(f"check {each.check}: {each.problem or 'passed'}")
    if plan.refusal is not None:
        out.say(f"refused: `main` has commits that it lacks, and {plan.refusal.detail}")


def _checks(*, not_null: Sequence[str], unique: Sequence[str], rows_min: int) -> "dict[str, Check]":
    from headrace.tables.publishing import checks

    wanted: dict[str, Check] = {"readable": checks.readable()}
    if not_null:
        wanted["not null"] = checks.not_null(not_null)
    if unique:
        wanted["unique"] = checks.unique(unique)
    if rows_min:
        wanted["rows"] = checks.rows_at_least(rows_min)
    return wanted


def _refuse_unknown(columns: Sequence[str], known: Sequence[str]) -> None:
    for name in columns:
        if name not in known:
            msg = f"there is no column `{name}`; there are {', '.join(known)}"
            raise typer.BadParameter(msg)
