"""Feature tables of window views as assets: the rows that sample sets read, computed from the events."""

from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.definitions.window_rows import WindowRows
from headrace.flink.backfill import bring_up
from headrace.identifiers import TableName
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import table_key, writer_pool
from orchestration.lib.resource import LakeResource
from orchestration.lib.table_metadata import pin, table_result


@dg.definitions
def window_rows() -> dg.Definitions:
    """Define an asset for the rows of every window view that a sample set reads as a table."""
    settings = Settings.load()
    rows = read_declared(settings).window_rows
    return dg.Definitions(assets=[_asset(each, engine=settings.engine) for each in rows])


def _asset(rows: WindowRows, *, engine: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=table_key(rows.table),
        deps=[table_key(TableName.parse(rows.windows.events))],
        group_name=rows.table.namespace,
        kinds={"iceberg", engine},
        pool=writer_pool(rows.table),
        automation_condition=dg.AutomationCondition.eager(),
        description=(
            f"Window view `{rows.windows.view}` at the ends of its tiles, as it was known then. "
            "While a job of Flink writes the rows, a run leaves them to it."
        ),
    )
    def added(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult[Any]:
        with lake.open() as opened:
            before = pin(opened, rows.table)
            count = bring_up(opened, rows)
            spec = context.assets_def.get_asset_spec()
            counts = {"rows_added": count}
            return table_result(opened, rows.table, before=before, spec=spec, metadata=counts)

    return added
