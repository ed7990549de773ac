"""One maintenance round as a job: the queue of some or all tables, within a budget."""

import dagster as dg

from headrace.config import MIB
from headrace.flink.paimon_upkeep import PaimonUpkeep
from headrace.identifiers import TableName
from headrace.maintenance.queue.actions import Action
from headrace.maintenance.queue.maintain import Budget, maintain
from headrace.maintenance.queue.perform import ActionResult, Outcome
from headrace.maintenance.queue.schedule import MaintenancePlan
from headrace.tables.lake import OpenLake
from orchestration.lib.keys import PAIMON, paimon_key, table_key
from orchestration.lib.resource import LakeResource

OP = "maintain_tables"


def paimon_upkeep(lake: OpenLake) -> PaimonUpkeep:
    """Return the tables of Paimon, which belong to rounds over all tables."""
    return PaimonUpkeep(lake=lake)


class Round(dg.Config):
    """Scope and budget of a round: tables (all if empty), MiB to rewrite, seconds to run."""

    tables: list[str] = []  # noqa: RUF012 - pydantic copies it, and Dagster shows it as the default
    budget_mib: int = 1024
    budget_s: float = 900.0


@dg.op(name=OP, pool="maintenance")
def maintain_tables(context: dg.OpExecutionContext, config: Round, lake: LakeResource) -> None:
    """Run the round and report an observation for each action that changed a table."""
    progress = _Progress(context)
    with lake.open() as opened:
        done = maintain(
            opened,
            [TableName.parse(name) for name in config.tables],
            others=None if config.tables else paimon_upkeep(opened),
            budget=Budget(bytes=config.budget_mib * MIB, seconds=config.budget_s),
            planned=progress.planned,
            step=progress.step,
        )
    for result in done.results:
        if result.outcome is not Outcome.NOTHING:
            context.log_event(_observation(result))
    if done.stopped_by:
        left = len(done.plan.actions) - len(done.results)
        context.log.info(f"stopped with {left} actions left: {done.stopped_by}")
    for error in done.errors:
        context.log.error(str(error))
    if done.errors:  # all other actions were attempted
        raise done.errors[0]


@dg.job(
    name="maintenance",
    description="Runs actions by gain per byte rewritten; changes no rows and deletes no files.",
)
def maintenance_round() -> None:
    """Run one maintenance round."""
    maintain_tables()


class _Progress:
    """Logs the progress of a round."""

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self._log, self._steps, self._done = context.log, 0, 0

    def planned(self, plan: MaintenancePlan) -> None:
        self._steps = sum(len(action.steps) for action in plan.actions)
        self._log.info(
            f"{len(plan.actions)} actions, {plan.cost_bytes / MIB:,.1f} MiB to rewrite, "
            f"{len(plan.waiting)} waiting"
        )

    def step(self, action: Action) -> None:
        self._done += 1
        name, kind, partition = action.key
        self._log.info(f"{self._done} of {self._steps}: {kind} {name} {partition}")


def _observation(result: ActionResult) -> dg.AssetObservation:
    name, kind, partition = result.action.key
    table = result.action.table
    return dg.AssetObservation(
        asset_key=table_key(table)
        if isinstance(table, TableName)
        else paimon_key(name.removeprefix(f"{PAIMON}:")),
        description=f"{kind}: {result.text()}",
        metadata={
            "action": kind,
            "partition": partition,
            "outcome": result.outcome.value,
            "reason": result.action.reason,
            "gain": result.action.gain,
            "bytes_rewritten": result.bytes,
            "elapsed_s": result.elapsed_s,
        },
    )
