"""Requests a maintenance round when the queue of any table has an action that is due."""

import datetime as dt
import hashlib
from collections.abc import Iterator

import dagster as dg

from headrace.maintenance.queue.actions import OtherTable
from headrace.maintenance.queue.maintain import survey
from headrace.maintenance.queue.schedule import plan_maintenance
from orchestration.defs.maintenance.jobs import OP, Round, maintenance_round, paimon_upkeep
from orchestration.lib.asking import ASKED, next_run_key
from orchestration.lib.resource import LakeResource


@dg.sensor(
    name="maintenance",
    # by name: Dagster 1.13 warns about its own beta parameter when it rebinds a sensor's job
    job_name=maintenance_round.name,
    minimum_interval_seconds=300,
    description="One round for all tables with due actions; skips while none is due.",
)
def maintenance(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Plan for every table; request each queue once, and retry failed runs."""
    with lake.open() as opened:
        found, others = survey(opened), paimon_upkeep(opened).proposed()
    plan = plan_maintenance(found.states, others=others, now=dt.datetime.now(dt.UTC))
    if not plan:
        waiting = f"; {len(plan.waiting)} waiting" if plan.waiting else ""
        yield dg.SkipReason(f"no maintenance is due{waiting}")
        return
    tables = sorted({str(action.table) for action in plan.actions})
    at = {str(state.table): state.snapshot_id for state in found.states}
    # a table of another format has no snapshot of the lake: when it was written tells its states apart
    asked = [(each.key, at.get(str(each.table), each.since_ms)) for each in plan.actions]
    is_all = any(isinstance(action.table, OtherTable) for action in plan.actions)
    work = hashlib.sha256(repr(sorted(asked)).encode()).hexdigest()[:16]
    run_key = next_run_key(context.instance, work)
    if run_key is None:
        yield dg.SkipReason(f"already requested: {', '.join(tables)}")
        return
    yield dg.RunRequest(
        run_key=run_key,
        # a round over all tables cares for those of Paimon too
        run_config=dg.RunConfig(ops={OP: Round(tables=[] if is_all else tables)}),
        tags={
            "headrace/tables": ", ".join(tables)[:250],
            "headrace/actions": str(len(plan.actions)),
            ASKED: work,
        },
    )
