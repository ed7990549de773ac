"""Maintenance by the clock; stopped until someone switches it on in the pages."""

import dagster as dg

nightly_compaction = dg.ScheduleDefinition(
    name="nightly_compaction",
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    target=dg.AssetSelection.groups("maintenance"),
    description="Compacts every stream's table in the quiet hours; a table in shape is left alone.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
