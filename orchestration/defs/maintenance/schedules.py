"""Nightly maintenance; stopped until it is enabled in Dagster's pages."""

import dagster as dg

from orchestration.defs.maintenance.jobs import OP, Round, maintenance_round

BUDGET_MIB, BUDGET_S = 16 * 1024, 3 * 3600.0  # sized for off-peak hours

nightly_maintenance = dg.ScheduleDefinition(
    name="nightly_maintenance",
    cron_schedule="30 2 * * *",
    execution_timezone="UTC",
    job=maintenance_round,
    run_config=dg.RunConfig(ops={OP: Round(budget_mib=BUDGET_MIB, budget_s=BUDGET_S)}),
    description="A round over all tables with a large budget, off-peak; skips healthy tables.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
