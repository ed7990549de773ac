"""Asks for a round of maintenance when some table's queue says that it pays."""

import datetime as dt
import hashlib
from collections.abc import Iterator

import dagster as dg

from headrace.maintenance.queue.maintain import survey
from headrace.maintenance.queue.schedule import plan_maintenance
from orchestration.defs.maintenance.jobs import OP, Round, maintenance_round
from orchestration.lib.asking import ASKED, next_run_key
from orchestration.lib.resource import LakeResource


@dg.sensor(
    name="maintenance",
    # by name: Dagster 1.13 warns of its own beta parameter when it binds a sensor's job anew
    job_name=maintenance_round.name,
    minimum_interval_seconds=300,
    description="One round for the tables that have something to do; waiting for more is free.",
)
def maintenance(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Plan for every table; the same queue asks once, and again after a failed run."""
    with lake.open() as opened:
        found = survey(opened)
    plan = plan_maintenance(found.states, now=dt.datetime.now(dt.UTC))
    if not plan:
        waiting = f"; {len(plan.waiting)} actions wait" if plan.waiting else ""
        yield dg.SkipReason(f"no table has anything to do{waiting}")
        return
    tables = sorted({str(action.table) for action in plan.actions})
    at = {str(state.table): state.snapshot_id for state in found.states}
    asked = [(action.key, at[str(action.table)]) for action in plan.actions]
    work = hashlib.sha256(repr(sorted(asked)).encode()).hexdigest()[:16]
    run_key = next_run_key(context.instance, work)
    if run_key is None:
        yield dg.SkipReason(f"asked for already: {', '.join(tables)}")
        return
    yield dg.RunRequest(
        run_key=run_key,
        run_config=dg.RunConfig(ops={OP: Round(tables=tables)}),
        tags={
            "headrace/tables": ", ".join(tables)[:250],
            "headrace/actions": str(len(plan.actions)),
            ASKED: work,
        },
    )
