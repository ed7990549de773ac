"""`headrace tables compact`: small files together, deletes applied, rows sorted."""

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.lakes import CatalogOption, TableArgument, TargetOption, open_lake
from headrace.cli.output import (
    Format,
    Output,
    OutputOption,
    as_size,
    as_text,
    output_of,
    progress,
)

if TYPE_CHECKING:
    from headrace.maintenance.compaction.bins import Bin
    from headrace.maintenance.compaction.compact import CompactionResult
    from headrace.maintenance.compaction.plan import CompactionPlan

_MIB = 1024 * 1024


class Layout(StrEnum):
    """What `--strategy` allows."""

    PACK = "pack"
    SORT = "sort"


def compact(
    table: TableArgument,
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; without this only the plan is shown.")
    ] = False,
    target_mib: TargetOption = None,
    strategy: Annotated[
        Layout | None,
        typer.Option(
            "--strategy", help="Keep rows as they came, or sort them; sort if keys are declared."
        ),
    ] = None,
    sort_by: Annotated[
        str, typer.Option("--sort-by", metavar="COLUMNS", help="As in `user_id,event_time`.")
    ] = "",
    runs_max: Annotated[
        int | None,
        typer.Option(
            "--runs-max", min=1, help="Sort partitions of more sorted runs wholly; 1 sorts all."
        ),
    ] = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Put small files together and apply deletes. Shows the plan; changes nothing without --apply.

    Safe beside running appends; rows stay the same and readers of changes see nothing of it.
    """
    from headrace.maintenance.compaction.bins import CompactionPolicy, Strategy
    from headrace.maintenance.compaction.compact import apply_compaction, target_of
    from headrace.maintenance.compaction.plan import plan_compaction

    with open_lake(catalog) as lake:
        found = lake.table(table)
        policy = CompactionPolicy(
            strategy=None if strategy is None else Strategy(strategy.value),
            sort_by=tuple(name.strip() for name in sort_by.split(",") if name.strip()),
            runs_max=runs_max,
            group_bytes=lake.settings.compaction_commit_bytes,
        )
        target = target_of(found, None if target_mib is None else target_mib * _MIB)
        plan = plan_compaction(found.head(), target_bytes=target, policy=policy)
        out = output_of(output, catalog=catalog)
        facts = _plan_facts(plan)
        _say_plan(out, plan, rows=facts["partitions"] if output is Format.TEXT else [])
        if plan and apply:
            with progress(table, steps=len(plan.bins)) as step:
                done = apply_compaction(
                    found, plan, run_id="cli", progress=lambda _done, _total: step("")
                )
            facts |= {"applied": True, **_done_facts(done)}
            _say_done(out, done)
        elif plan:
            out.say("nothing was changed; add --apply to do it")
    out.facts(facts)


def _plan_facts(plan: "CompactionPlan") -> dict[str, Any]:
    return {
        "table": str(plan.table),
        "snapshot": None if plan.snapshot_id is None else str(plan.snapshot_id),
        "target_bytes": plan.target_bytes,
        "strategy": plan.strategy.value,
        "sort_by": [str(key) for key in plan.keys],
        "files_in": plan.files_in,
        "files_out": plan.files_out,
        "bytes_in": plan.bytes_in,
        "deletes_in": plan.deletes_in,
        "commits": len(plan.groups),
        "partitions": _plan_rows(plan),
        "applied": False,
    }


def _say_plan(out: Output, plan: "CompactionPlan", *, rows: list[dict[str, object]]) -> None:
    aim = f"{as_size(plan.target_bytes)} a file"
    if not plan:
        out.say(f"{plan.table}: nothing to compact at {aim}")
        return
    gone = f", {plan.deletes_in:,} delete files dropped" if plan.deletes_in else ""
    by = f", sorted by {', '.join(map(str, plan.keys))}" if plan.keys else ""
    commits = f" in {len(plan.groups):,} commits" if len(plan.groups) > 1 else ""
    out.say(
        f"{plan.table} at snapshot {plan.snapshot_id}, aiming at {aim}{by}: {plan.files_in:,} files "
        f"→ {plan.files_out:,}, {as_size(plan.bytes_in)} to rewrite{commits}{gone}"
    )
    if rows:
        out.table(rows, columns=("partition", "files_in", "files_out", "rows", "size", "because"))


def _done_facts(done: "CompactionResult") -> dict[str, object]:
    return {
        "snapshot_after": None if done.commit is None else str(done.commit.snapshot_id),
        "commits": done.commits,
        "rows_deleted": done.rows_deleted,
        "deletes_dropped": done.deletes_dropped,
        "partitions_lost": done.partitions_lost,
        "elapsed_s": done.elapsed_s,
    }


def _say_done(out: Output, done: "CompactionResult") -> None:
    after = done.commit.snapshot_id if done.commit else None
    rows = f"{done.rows - done.rows_deleted:,} rows unchanged"
    if done.rows_deleted:
        rows += f", {done.rows_deleted:,} deleted ones gone"
    out.say(
        f"done: {done.files_before:,} files → {done.files_after:,}, {rows}, "
        f"{done.elapsed_s:.1f} s, snapshot {after}"
    )
    if done.partitions_lost:
        out.say(f"{done.partitions_lost} partitions were changed concurrently; run it again")


def _plan_rows(plan: "CompactionPlan") -> list[dict[str, object]]:
    """Sum the plan's bins by partition."""
    totals: dict[str, Counter[str]] = {}
    because: dict[str, Counter[str]] = {}
    for each in plan.bins:
        name = _place(each)
        totals.setdefault(name, Counter()).update(
            files_in=len(each.files),
            files_out=plan.files_of(each),
            rows=each.rows,
            bytes=each.bytes,
        )
        because.setdefault(name, Counter()).update(each.reasons)
    return [
        {
            "partition": name,
            **counted,
            "size": as_size(counted["bytes"]),
            "because": [f"{count} {reason}" for reason, count in because[name].items()],
        }
        for name, counted in totals.items()
    ]


def _place(each: "Bin") -> str:
    if each.partition is None:
        return "older partition spec"
    return as_text([str(value) for value in each.partition]) or "whole table"
