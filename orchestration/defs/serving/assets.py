"""The online store: the latest values of every feature view that a sample set uses."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg
import pyarrow.compute as pc

from headrace.config import Settings
from headrace.definitions.load import load_sample_sets
from headrace.definitions.stream import KNOWN_AT
from headrace.identifiers import TableName
from headrace.serving.publish import publish_view
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.tables.lake import Lake
from orchestration.lib.keys import ONLINE_STORE, table_key
from orchestration.lib.resource import LakeResource


@dg.definitions
def online_store() -> dg.Definitions:
    """Publish what serving needs for the declared sample sets."""
    declared = load_sample_sets(Settings.load()).values()
    views = list(dict.fromkeys(use.view for each in declared for use in each.features))
    exposures = list(dict.fromkeys(each.exposures.table for each in declared))

    @dg.asset(
        key=ONLINE_STORE,
        deps=[table_key(name) for name in dict.fromkeys([*views, *exposures])],
        group_name="serving",
        kinds={"sqlite"},
        pool="writers/online_store",
        automation_condition=dg.AutomationCondition.eager(),
        description="The newest row of each entity, for look-ups by key.",
    )
    def published(lake: LakeResource) -> dg.MaterializeResult[Any]:
        with lake.open() as opened, SQLiteOnlineStore(opened.settings.online_store) as store:
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


def newest_known_at(lake: Lake, exposures: Sequence[TableName]) -> dt.datetime | None:
    """Find how far the lake's own time has come; None means the clock's.

    History has no present: what a feature will be when windows end that are still open is no value
    to serve, so the newest exposure says which moment it is.
    """
    found: list[dt.datetime] = []
    for name in exposures:
        version = lake.table(name).head()
        for batch in version.batches(columns=[KNOWN_AT], partitions=version.partitions[-1:]):
            newest: dt.datetime | None = pc.max(batch.column(KNOWN_AT)).as_py()
            found += [] if newest is None else [newest]
    return max(found, default=None)
