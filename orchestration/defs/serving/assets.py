"""The online store: the latest values of every feature view that a sample set uses."""

from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.definitions.load import load_sample_sets
from headrace.serving.publish import publish_view
from headrace.serving.sqlite import SQLiteOnlineStore
from orchestration.lib.keys import ONLINE_STORE, table_key
from orchestration.lib.resource import LakeResource


@dg.definitions
def online_store() -> dg.Definitions:
    """Publish what serving needs for the declared sample sets."""
    declared = load_sample_sets(Settings.load()).values()
    views = list(dict.fromkeys(use.view for each in declared for use in each.features))

    @dg.asset(
        key=ONLINE_STORE,
        deps=[table_key(view) for view in views],
        group_name="serving",
        kinds={"sqlite"},
        pool="writers/online_store",
        automation_condition=dg.AutomationCondition.eager(),
        description="The newest row of each entity, for look-ups by key.",
    )
    def published(lake: LakeResource) -> dg.MaterializeResult[Any]:
        with lake.open() as opened, SQLiteOnlineStore(opened.settings.online_store) as store:
            done = [publish_view(opened, store, opened.table(view).head()) for view in views]
        rows = [
            dg.TableRecord(
                {
                    "view": one.view,
                    "mode": one.mode,
                    "entities": one.rows_read,
                    "changed": one.rows_changed,
                    "snapshot_id": str(one.snapshot_id),
                }
            )
            for one in done
        ]
        return dg.MaterializeResult(
            metadata={
                "rows_changed": sum(one.rows_changed for one in done),
                **({"views": dg.MetadataValue.table(rows)} if rows else {}),
            },
            data_version=dg.DataVersion(",".join(str(one.snapshot_id) for one in done)),
        )

    return dg.Definitions(assets=[published])
