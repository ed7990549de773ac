"""The online store: the values of all feature views that sample sets use, and of all window views."""

from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.serving.open import open_store
from headrace.serving.publish import publish_view
from headrace.serving.publish_windows import publish_windows
from headrace.serving.target import newest_known_at
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import ONLINE_STORE, table_key
from orchestration.lib.resource import LakeResource


@dg.definitions
def online_store() -> dg.Definitions:
    """Define the asset that publishes the views of all declared sample sets, and all window views."""
    declared = read_declared(Settings.load())
    windows = declared.window_views
    uses = [use.view for each in declared.sample_sets for use in each.features]
    views = list(dict.fromkeys(view for view in uses if view not in windows))
    exposures = list(dict.fromkeys(each.exposures.table for each in declared.sample_sets))
    inputs = [*views, *exposures, *map(declared.table_of, windows)]

    @dg.asset(
        key=ONLINE_STORE,
        deps=[table_key(name) for name in dict.fromkeys(inputs)],
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
            for each in windows.values():
                events = opened.table(each.events).head()
                done.append(publish_windows(opened, store, each, events, as_of=as_of))
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
