"""`headrace tables cleanup`, `trash`, `restore`, `empty-trash`: remove orphan files, and undo it."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.lakes import CatalogOption, TableArgument, look_at_lake, open_lake
from headrace.cli.nouns import add
from headrace.cli.output import Format, Output, OutputOption, as_size, output_of
from headrace.errors import Remedy

if TYPE_CHECKING:
    from headrace.maintenance.cleanup.cleanup import CleanupPlan
    from headrace.maintenance.cleanup.trash import TrashRun
    from headrace.tables.lake import LakeTable

_UNCHANGED = "nothing was changed; add --apply to do it"

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="As `headrace tables trash TABLE` names it.")
]
ApplyOption = Annotated[
    bool, typer.Option("--apply", help="Do it; without this only the plan is shown.")
]
AgeOption = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="AGE",
        help="Least age of a file, as in `72h` or `7d`; the lake's `cleanup_age_hours`, which is "
        "also the least, if not given.",
    ),
]


def register(noun: typer.Typer) -> None:
    """Add the commands to the noun `tables`."""
    add(
        noun,
        "cleanup",
        cleanup,
        "tables cleanup raw.clicks",
        "tables cleanup raw.clicks --older-than 7d --apply",
    )
    add(noun, "trash", trash, "tables trash raw.clicks")
    add(
        noun,
        "restore",
        restore,
        "tables restore raw.clicks 20261130T031834",
        "tables restore raw.clicks 20261130T031834 --apply",
    )
    add(
        noun,
        "empty-trash",
        empty_trash,
        "tables empty-trash raw.clicks",
        "tables empty-trash raw.clicks --apply",
    )


def cleanup(
    table: TableArgument,
    *,
    older_than: AgeOption = None,
    apply: ApplyOption = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Move orphan files to the table's trash. Changes nothing without --apply.

    Files of running writers, of every snapshot, tag and branch, and of other tables stay. Of other
    engines' running writers only the age of their files is known: no write may take longer.
    """
    from headrace.maintenance.cleanup.cleanup import apply_cleanup, plan_cleanup

    age_s = None if older_than is None else _seconds(older_than)
    out = output_of(output, catalog=catalog)
    with open_lake(catalog) as lake:
        found = lake.table(table)
        plan = plan_cleanup(found, older_than_s=age_s)
        facts = _plan_facts(plan)
        _say_plan(out, plan, rows=facts["kinds"] if output is Format.TEXT else [])
        if apply:
            done = apply_cleanup(found, plan)
            facts |= {"applied": True, "run": done.run_id, "left": list(done.left)}
            if plan:
                undo = None
                if done.run_id:
                    restore = ("tables", "restore", table, done.run_id)
                    undo = Remedy.run_on_catalog(*restore, advice="to undo")
                _say_done(out, undo, files=done.files, left=len(done.left))
            if done.uploads:
                out.say(f"done: {done.uploads:,} unfinished uploads given up")
        elif plan:
            out.say(_UNCHANGED)
    out.facts(facts)


def trash(
    table: TableArgument,
    *,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """List what clean-ups moved to the table's trash, and until when it is kept."""
    from headrace.maintenance.cleanup.trash import trash_list

    with look_at_lake(catalog) as lake:
        found = lake.table(table)
        rows = [_run_row(found, run) for run in trash_list(found)]
    out = output_of(output, catalog=catalog)
    if rows or output is Format.JSON:
        out.table(rows, columns=("run", "moved", "files", "size", "kept_until"))
    else:
        out.say(f"the trash of {table} is empty")


def restore(
    table: TableArgument,
    run: RunArgument,
    *,
    apply: ApplyOption = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Move the files of one clean-up back to where they were."""
    from headrace.maintenance.cleanup.trash import find_run
    from headrace.maintenance.cleanup.trash import restore as restore_run

    out = output_of(output, catalog=catalog)
    with open_lake(catalog) as lake:
        found = lake.table(table)
        facts = _run_row(found, find_run(found, run)) | {"applied": False}
        out.say(f"{table}: {facts['files']:,} files, {facts['size']}, to move back")
        if apply:
            done = restore_run(found, run)
            facts |= {"applied": True, "in_the_way": list(done.in_the_way)}
            out.say(f"done: {done.files:,} files are back, {as_size(done.bytes)}")
            for path in done.in_the_way:
                out.say(f"still in the trash, as another file has its place: {path}")
        else:
            out.say(_UNCHANGED)
    out.facts(facts)


def empty_trash(
    table: TableArgument,
    *,
    apply: ApplyOption = False,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Delete for good what has been in the trash for longer than the lake's `trash_days`."""
    from headrace.maintenance.cleanup.trash import emptiable
    from headrace.maintenance.cleanup.trash import empty_trash as empty

    out = output_of(output, catalog=catalog)
    with open_lake(catalog) as lake:
        found = lake.table(table)
        runs = empty(found) if apply else emptiable(found)
        rows = [_run_row(found, run) | {"applied": apply} for run in runs]
    if output is Format.JSON:
        out.table(rows, columns=())
        return
    size, files = as_size(sum(run.bytes for run in runs)), sum(len(run.files) for run in runs)
    if not runs:
        out.say(f"nothing in the trash of {table} is beyond its restore window")
    elif apply:
        out.say(f"done: {files:,} files of {len(runs)} runs are deleted, {size}")
    else:
        out.table(rows, columns=("run", "moved", "files", "size"))
        out.say(f"{table}: {files:,} files, {size}, to delete for good")
        out.say(_UNCHANGED)


def _seconds(text: str) -> float:
    from headrace.definitions.durations import parse_duration

    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from error


def _plan_facts(plan: "CleanupPlan") -> dict[str, Any]:
    return {
        "table": str(plan.table),
        "location": plan.location,
        "older_than_s": plan.older_than_s,
        "files": len(plan.files),
        "bytes": plan.bytes,
        "kinds": _kind_rows(plan),
        "kept": [
            {"reason": each.reason, "files": each.files, "bytes": each.bytes} for each in plan.kept
        ],
        "paths": [
            {"path": file.path, "kind": file.kind, "bytes": file.bytes, "age_s": file.age_s}
            for file in plan.files
        ],
        "uploads": [{"path": each.path, "age_s": each.age_s} for each in plan.uploads],
        "applied": False,
    }


def _kind_rows(plan: "CleanupPlan") -> list[dict[str, object]]:
    return [
        {"kind": kind, "files": files, "bytes": size, "size": as_size(size)}
        for kind, (files, size) in plan.by_kind.items()
    ]


def _say_plan(out: Output, plan: "CleanupPlan", *, rows: list[dict[str, object]]) -> None:
    from headrace.definitions.durations import format_duration
    from headrace.maintenance.health.wording import counted

    age = format_duration(dt.timedelta(seconds=plan.older_than_s))
    if not plan.files:
        out.say(f"{plan.table}: no orphan file older than {age}")
    else:
        out.say(
            f"{plan.table}: {counted(len(plan.files), 'orphan file')} older than {age}, "
            f"{as_size(plan.bytes)}, to the trash"
        )
        if rows:
            out.table(rows, columns=("kind", "files", "size"))
    if plan.uploads:
        out.say(f"{counted(len(plan.uploads), 'unfinished upload')} to give up for good")
    stay = [f"{e.files:,} {e.reason} ({as_size(e.bytes)})" for e in plan.kept if e.files]
    out.say(f"stay: {', '.join(stay) or 'none'}")


def _say_done(out: Output, undo: Remedy | None, *, files: int, left: int) -> None:
    if left:
        out.say(f"{left:,} files stay: they were needed, changed or gone by now")
    if undo is not None:
        out.say(f"done: {files:,} files moved", remedy=undo)


def _run_row(table: "LakeTable", run: "TrashRun") -> dict[str, Any]:
    window = dt.timedelta(seconds=table.lake.settings.trash_age_s)
    return {
        "run": run.run_id,
        "table": run.table,
        "moved": run.moved_at,
        "files": len(run.files),
        "bytes": run.bytes,
        "size": as_size(run.bytes),
        "kept_until": run.moved_at + window,
    }
