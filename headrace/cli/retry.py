"""`headrace ingest skip` and `retry`: leave one file of a stream out, or take it again from its beginning."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.declared import StreamName, stream_named
from headrace.cli.output import Format, OutputOption, output_of
from headrace.errors import Remedy

if TYPE_CHECKING:
    from headrace.ingest.retry import FilePlan

FileName = Annotated[
    str, typer.Argument(metavar="FILE", help="Its path below the data folder, as errors name it.")
]
Apply = Annotated[bool, typer.Option("--apply", help="Do it; without it the plan is shown.")]


def skip(
    stream: StreamName, file: FileName, *, apply: Apply = False, output: OutputOption = Format.TEXT
) -> None:
    """Leave a bad file out, so that it does not stop its stream. What was taken of it stays.

    It is not read until `headrace ingest retry`, also if its content changes. Without --apply it
    shows what was taken of it.
    """
    from headrace.ingest.retry import apply_skip, plan_file
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(stream)
    with OpenLake.open(settings) as lake:
        plan = plan_file(lake, declared, file)
        if apply:
            apply_skip(lake, declared, file)
    out = output_of(output)
    if output is Format.JSON:
        out.record({**asdict(plan), "applied": apply})
        return
    done = "is left out" if apply or plan.is_skipped else "would be left out; nothing was changed"
    again = Remedy.run("ingest", "skip", stream, file, "--apply", advice="to do it")
    back = Remedy.run("ingest", "retry", stream, file, advice="take it after all")
    remedy = back if apply or plan.is_skipped else again
    out.say(f"{stream}: `{file}`, of which {_taken(plan)}, {done}", remedy=remedy)


def retry(
    stream: StreamName, file: FileName, *, apply: Apply = False, output: OutputOption = Format.TEXT
) -> None:
    """Take a file again from its beginning: one that was skipped, half taken, or replaced by another.

    Its rows and dead letters are removed, so that each of its records is there once after the next
    run. Without --apply it shows what would be removed.
    """
    from headrace.ingest.retry import apply_retry, plan_file, refuse_retry
    from headrace.tables.lake import OpenLake

    settings, declared = stream_named(stream)
    with OpenLake.open(settings) as lake:
        plan = plan_file(lake, declared, file)
        refuse_retry(lake, declared, plan)
        if apply:
            apply_retry(lake, declared, file)
    out = output_of(output)
    if output is Format.JSON:
        out.record({**asdict(plan), "applied": apply})
        return
    gone = f"{plan.rows:,} rows and {plan.dead_letters:,} dead letters of `{file}`"
    if not apply:
        again = Remedy.run("ingest", "retry", stream, file, "--apply", advice="to do it")
        out.say(f"{stream}: {gone} would be removed; nothing was changed", remedy=again)
        return
    next_ = Remedy.run("ingest", "run", stream, advice="take it from its beginning")
    out.say(f"{stream}: {gone} removed", remedy=next_)


def _taken(plan: "FilePlan") -> str:
    return f"{plan.records:,} records were taken" if plan.records else "nothing was taken"
