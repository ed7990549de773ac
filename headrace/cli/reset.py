"""`headrace ingest reset`: take a stream back to its beginning, as after a wrong first contract."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.declared import StreamName, stream_named
from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import Remedy

if TYPE_CHECKING:
    from headrace.cli.output import Output
    from headrace.ingest.reset import ResetPlan


def reset(
    stream: StreamName,
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; without it the plan is shown.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Remove rows and dead letters of a stream, so that its sources are taken from their beginning.

    The table gets the columns of the contract as it is now. The snapshot before stays until it
    expires: a rollback to it brings rows and offsets back. Without --apply it shows what would be
    removed. Services of the stream are stopped by it; start them again afterwards.
    """
    from headrace.ingest.reset import apply_reset, plan_reset
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(stream)
    with OpenLake.existing(settings) as lake:
        plan = plan_reset(lake, declared)
        if apply and plan:
            apply_reset(lake, declared)
    out = output_of(output)
    if output is Format.JSON:
        out.record({**asdict(plan), "applied": apply and bool(plan)})
        return
    _say(out, plan, applied=apply)


def _say(out: "Output", plan: "ResetPlan", *, applied: bool) -> None:
    if not plan:
        out.say(f"{plan.stream}: nothing was taken, so there is nothing to reset")
        return
    gone = f"{plan.rows:,} rows and {plan.dead_letters:,} dead letters of {plan.sources:,} sources"
    if plan.columns:
        out.say("columns by another type: " + ", ".join(f"`{name}`" for name in plan.columns))
    if plan.is_unfinished:
        out.say("a reset was begun and is not complete")
    if not applied:
        again = Remedy.run("ingest", "reset", plan.stream, "--apply", advice="to do it")
        out.say(f"{plan.stream}: {gone} would be removed; nothing was changed", remedy=again)
        return
    out.say(
        f"{plan.stream}: {gone} removed",
        remedy=Remedy.run("ingest", "run", plan.stream, advice="take its sources again"),
    )
    if plan.snapshot_id is not None:
        back = ("tables", "rollback", plan.table, str(plan.snapshot_id))
        out.say(
            "the rows before stay until the snapshot expires",
            remedy=Remedy.run(*back, advice="to go back"),
        )
