"""The online store: the latest values of all feature views that sample sets use."""

from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.serving.open import open_store
from headrace.serving.publish import newest_known_at, publish_view
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import ONLINE_STORE, table_key
from orchestration.lib.resource import LakeResource


@dg.definitions
def online_store() -> dg.Definitions:
    """Define the asset that publishes the feature views of all declared sample sets."""
    declared = read_declared(Settings.load()).sample_sets
    views = list(dict.fromkeys(use.view for each in declared for use in each.features))
    exposures = list(dict.fromkeys(each.exposures.table for each in declared))

    @dg.asset(
        key=ONLINE_STORE,
        deps=[table_key(name) for name in dict.fromkeys([*views, *exposures])],
        group_name="serving",
        pool="writers/online_store",
        automation_condition=dg.AutomationCondition.eager(),
        description="Latest feature values of each entity, for look-ups by key.",
    )
    def published(lake: LakeResource) -> dg.MaterializeResult[Any]:
        with lake.open() as opened, open_store(opened.settings) as store:
            as_of = newest_known_at(opened, exposures)
            heads = [opened.table(view).head() for view in views]
            done = [publish_view(opened, store, head, as_of=as_of) for head in heads]
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
                **({"as_of": dg.MetadataValue.timestamp(as_of)} if as_of else {}),
                "rows_changed": sum(one.rows_changed for one in done),
                **({"views": dg.MetadataValue.table(rows)} if rows else {}),
            },
            data_version=dg.DataVersion(",".join(str(one.snapshot_id) for one in done)),
        )

    return dg.Definitions(assets=[published])
