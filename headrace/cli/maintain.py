"""`headrace maintain`: the queue of what tables need, what it gains, and doing it within a budget."""

import contextlib
import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.failures import exit_status, say_error
from headrace.cli.follow import MetricsOption
from headrace.cli.lakes import CatalogOption, look_at_lake, open_lake
from headrace.cli.nouns import add
from headrace.cli.output import (
    Format,
    Output,
    OutputOption,
    as_text,
    output_of,
    progress,
)
from headrace.cli.stopping import stopping
from headrace.clock import time_at
from headrace.errors import LakeError, Remedy

if TYPE_CHECKING:
    from headrace.flink.paimon_upkeep import PaimonUpkeep
    from headrace.identifiers import TableName
    from headrace.maintenance.queue.actions import Action, Waiting
    from headrace.maintenance.queue.maintain import Budget, MaintenanceRun
    from headrace.maintenance.queue.perform import ActionResult
    from headrace.maintenance.queue.schedule import MaintenancePlan
    from headrace.tables.lake import OpenLake

ROWS_SHOWN = 40
_MIB = 1024 * 1024

TableArguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TABLE]...", help="As in `raw.impressions`; all if none is named."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app,
        "maintain",
        maintain,
        "maintain",
        "maintain raw.clicks --budget-mib 2048 --apply",
        "maintain --apply --follow --every-s 60 --metrics-port 9109",
    )


def maintain(
    tables: TableArguments = None,
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it; without this only the queue is shown.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", hidden=True, help="What it does without --apply.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="With --apply: do rounds until interrupted.")
    ] = False,
    budget_mib: Annotated[
        int | None, typer.Option("--budget-mib", min=1, help="Most MiB to rewrite in a round.")
    ] = None,
    budget_s: Annotated[
        float | None,
        typer.Option("--budget-s", min=0, help="Start nothing after this many seconds of a round."),
    ] = None,
    every_s: Annotated[
        float, typer.Option("--every-s", min=0.1, help="Seconds between rounds with --follow.")
    ] = 60.0,
    cold_after_s: Annotated[
        float | None,
        typer.Option(
            "--cold-after-s",
            min=0,
            help="Take a partition as finished after this long without a write; by default an "
            "hour, or how late rows of its stream may come.",
        ),
    ] = None,
    metrics_port: MetricsOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Keep tables fast: what gains most for each byte rewritten comes first.

    Shows the queue with reasons, and changes nothing without --apply. Rows stay the same and no file
    of the lake is deleted. Safe beside running ingestion, safe to kill and to run again; without
    anything to gain nothing changes. Without a TABLE, Flink compacts tables of Paimon too.
    """
    from headrace.identifiers import TableName
    from headrace.maintenance.queue.maintain import Budget

    _refuse_combinations(apply=apply, plan=plan, follow=follow, metrics=metrics_port is not None)
    budget = Budget(bytes=None if budget_mib is None else budget_mib * _MIB, seconds=budget_s)
    names = [TableName.parse(name) for name in dict.fromkeys(tables or ())]
    opened = open_lake if apply else look_at_lake
    with opened(catalog) as lake:
        for name in names:
            lake.table(name)  # a name that is wrong is said before anything is done
        shown = _Shown(
            lake, names, budget, cold_after_s=cold_after_s, format=output, catalog=catalog
        )
        if not apply:
            shown.plan()
        elif follow:
            with stopping() as stop:
                shown.follow(stop, every_s=every_s, metrics_port=metrics_port)
        else:
            with stopping() as stop:
                shown.round(stop)
        if shown.errors:
            shown.say_failed()
            raise typer.Exit(exit_status(*shown.errors))


def _refuse_combinations(*, apply: bool, plan: bool, follow: bool, metrics: bool) -> None:
    for is_wrong, option, why in (
        (
            plan and (apply or follow),
            "--plan",
            "it only shows the queue; leave it out to do something",
        ),
        (follow and not apply, "--follow", "it rewrites files, round after round: add `--apply`"),
        (metrics and not follow, "--metrics-port", "they are of rounds that go on: add `--follow`"),
    ):
        if is_wrong:
            raise typer.BadParameter(why, param_hint=option)


class _Shown:
    """Rounds of maintenance of some tables, and where they are shown."""

    def __init__(
        self,
        lake: "OpenLake",
        names: "Sequence[TableName]",
        budget: "Budget",
        *,
        cold_after_s: float | None,
        format: Format,
        catalog: str | None,
    ) -> None:
        self._lake, self._names, self._budget = lake, names, budget
        self._cold_after_s, self._format = cold_after_s, format
        self._out = output_of(format, catalog=catalog)
        self.errors: tuple[LakeError, ...] = ()

    def _others(self) -> "PaimonUpkeep | None":
        """Return the tables of Paimon, which belong to rounds over all tables."""
        if self._names or not self._lake.settings.paimon_warehouse:
            return None
        from headrace.flink.paimon_upkeep import PaimonUpkeep

        return PaimonUpkeep(lake=self._lake)

    def plan(self) -> None:
        """Show the queue."""
        from headrace.maintenance.queue.maintain import survey
        from headrace.maintenance.queue.schedule import plan_maintenance

        found = survey(self._lake, self._names, cold_after_s=self._cold_after_s)
        now = dt.datetime.now(dt.UTC)
        others = self._others()
        more = () if others is None else others.proposed()
        limit = self._budget.bytes
        made = plan_maintenance(found.states, others=more, budget_bytes=limit, now=now)
        self.errors = tuple(found.unreadable.values())
        if self._format is Format.JSON:
            self._out.record(_plan_facts(made))
            return
        for name, error in found.unreadable.items():
            self._out.say(f"{name} cannot be looked at: {error.message}", remedy=error.remedy)
        _say_plan(self._out, made)
        if made:
            do_it = Remedy.run_on_catalog("maintain", "--apply", advice="to do it")
            self._out.say("\nnothing was changed", remedy=do_it)

    def round(self, stop: threading.Event, *, idle: bool = True) -> "MaintenanceRun":
        """Do one round and show what became of it; without `idle` only if there was something."""
        from headrace.maintenance.queue.maintain import maintain

        with contextlib.ExitStack() as stack:
            step: Callable[[str], None] = lambda _: None

            def planned(plan: "MaintenancePlan") -> None:
                nonlocal step
                steps = sum(len(action.steps) for action in plan.actions)
                step = stack.enter_context(progress("maintaining", steps=steps))

            done = maintain(
                self._lake,
                self._names,
                others=self._others(),
                budget=self._budget,
                cold_after_s=self._cold_after_s,
                stop=stop,
                planned=planned,
                step=lambda action: step(f"{action.table} {_partition(action)}"),
            )
        self.errors = done.errors
        if not (idle or done.results or done.unreadable):
            return done
        if self._format is Format.JSON:
            self._out.record(_run_facts(done, catalog=self._out.catalog))
        else:
            _say_run(self._out, done)
        return done

    def follow(
        self, stop: threading.Event, *, every_s: float, metrics_port: int | None = None
    ) -> None:
        """Do rounds until `stop` is set; what failed in one of them is no reason to end."""
        from headrace.maintenance.queue.maintain import follow
        from headrace.registry.measures import MAINTENANCE_ASKED_MS

        with contextlib.ExitStack() as stack:
            note: Callable[[MaintenanceRun], None] = lambda _: None
            if metrics_port is not None:
                from headrace.maintenance.queue.metrics import MaintenanceMetrics

                metrics = stack.enter_context(MaintenanceMetrics())
                self._out.say(f"metrics at http://127.0.0.1:{metrics.serve(metrics_port)}/metrics")
                note = metrics.done

            def one_round() -> "MaintenanceRun":
                done = self.round(stop, idle=False)
                note(done)
                self.say_failed()
                return done

            follow(
                one_round,
                interval_s=every_s,
                stop=stop,
                failed=say_error,
                asked_ms=lambda: self._lake.registry.greatest_measure(MAINTENANCE_ASKED_MS),
            )
        self.errors = ()

    def say_failed(self) -> None:
        """Say on stderr what failed in the last round, each once: the table's column is short."""
        for error in {str(each): each for each in self.errors}.values():
            say_error(error)


def _say_plan(out: Output, plan: "MaintenancePlan") -> None:
    if not plan:
        out.say(
            "nothing to do: every table is in shape" if not plan.waiting else "nothing to do now"
        )
    else:
        noun = "action" if len(plan.actions) == 1 else "actions"
        out.say(f"{len(plan.actions):,} {noun}, {_size(plan.cost_bytes)} to rewrite, best first")
        _rows(
            out,
            [_action_facts(action) for action in plan.actions],
            columns=_with_executor(
                ("table", "partition", "action", "rewrites", "gain", "reason"), plan.actions
            ),
        )
    if plan.waiting:
        out.say("\nwaiting")
        _rows(
            out,
            [
                _waiting_facts(each) | {"reason": each.text(catalog=out.catalog)}
                for each in plan.waiting
            ],
            columns=("table", "partition", "action", "rewrites", "reason", "until"),
        )


def _say_run(out: Output, run: "MaintenanceRun") -> None:
    for name, error in run.unreadable.items():
        out.say(f"{name} was left alone: {error.message}", remedy=error.remedy)
    if not run.results:
        waiting = len(run.plan.waiting)
        if run.stopped_by:
            out.say(f"stopped: {run.stopped_by}")
        elif waiting:
            why = Remedy.run_on_catalog("maintain", advice="to see why")
            out.say(f"nothing to do now; {waiting:,} waiting", remedy=why)
        else:
            out.say("nothing to do")
        return
    _rows(
        out,
        [
            _result_facts(result) | {"detail": result.text(catalog=out.catalog)}
            for result in run.results
        ],
        columns=_with_executor(
            ("table", "partition", "action", "outcome", "detail", "elapsed_s"),
            [result.action for result in run.results],
        ),
    )
    counts = Counter(result.outcome.value for result in run.results)
    said = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.items())
    out.say(f"{said}; {_size(run.bytes)} rewritten in {run.elapsed_s:.1f} s")
    left = len(run.plan.actions) - len(run.results)
    if run.stopped_by:
        out.say(f"stopped with {left:,} left: {run.stopped_by}")


def _with_executor(columns: Sequence[str], actions: "Sequence[Action]") -> Sequence[str]:
    """Say who does it where that is not headrace each time."""
    from headrace.maintenance.queue.actions import Executor

    if all(action.executor is Executor.HERE for action in actions):
        return columns
    at = columns.index("action") + 1
    return (*columns[:at], "by", *columns[at:])


def _rows(out: Output, rows: list[dict[str, Any]], *, columns: Sequence[str]) -> None:
    out.table(rows[:ROWS_SHOWN], columns=columns, spare=("rewrites", "elapsed_s"))
    if len(rows) > ROWS_SHOWN:
        out.say(f"… and {len(rows) - ROWS_SHOWN:,} more; `--output json` shows all")


def _plan_facts(plan: "MaintenancePlan") -> dict[str, Any]:
    return {
        "actions": [_action_facts(action) for action in plan.actions],
        "waiting": [_waiting_facts(each) for each in plan.waiting],
        "cost_bytes": plan.cost_bytes,
        "budget_bytes": plan.budget_bytes,
    }


def _run_facts(run: "MaintenanceRun", *, catalog: str | None) -> dict[str, Any]:
    return {
        "results": [_result_facts(result) for result in run.results],
        "waiting": [_waiting_facts(each) for each in run.plan.waiting],
        "unreadable": {
            str(name): error.to_dict(catalog=catalog) for name, error in run.unreadable.items()
        },
        "bytes_rewritten": run.bytes,
        "stopped_by": run.stopped_by,
        "elapsed_s": run.elapsed_s,
    }


def _action_facts(action: "Action") -> dict[str, Any]:
    return {
        "table": str(action.table),
        "partition": _partition(action) or None,
        "action": action.kind.value,
        "by": action.executor.value,
        "rewrites": _size(action.cost_bytes),
        "reason": action.reason,
        "gain": action.gain,
        "gain_s": action.gain_s,
        "cost_bytes": action.cost_bytes,
        "gain_s_per_mib": action.gain_per_byte * _MIB,
        "steps_left": action.steps_left,
    }


def _waiting_facts(each: "Waiting") -> dict[str, Any]:
    until = each.until_ms
    return {
        "table": str(each.table),
        "partition": _partition(each) or None,
        "action": each.kind.value,
        "rewrites": _size(each.cost_bytes),
        "reason": each.reason,
        "remedy": each.remedy,
        "until": time_at(until),
        "cost_bytes": each.cost_bytes,
    }


def _result_facts(result: "ActionResult") -> dict[str, Any]:
    return {
        "table": str(result.action.table),
        "partition": _partition(result.action) or None,
        "action": result.action.kind.value,
        "by": result.action.executor.value,
        "outcome": result.outcome.value,
        "detail": result.detail,
        "remedy": result.remedy,
        "bytes_rewritten": result.bytes,
        "elapsed_s": round(result.elapsed_s, 3),
    }


def _partition(each: "Action | Waiting") -> str:
    return as_text([str(value) for value in each.partition or ()])


def _size(count_bytes: int) -> str:
    from headrace.maintenance.health.wording import size_text

    return size_text(count_bytes)
