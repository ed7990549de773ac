"""Asks for a compaction when a table's health says it pays."""

from collections.abc import Iterator

import dagster as dg

from headrace.definitions.load import load_streams
from headrace.maintenance.health import health
from orchestration.defs.maintenance.checks import HEALTHY_SCORE
from orchestration.lib.keys import compaction_key
from orchestration.lib.resource import LakeResource


@dg.sensor(
    target=dg.AssetSelection.groups("maintenance"),
    minimum_interval_seconds=300,
    description=f"One compaction per table that scores below {HEALTHY_SCORE}.",
)
def unhealthy_tables(lake: LakeResource) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Score every stream's table; a snapshot asks once."""
    asked = False
    with lake.open() as opened:
        for stream in load_streams(opened.settings).values():
            if not opened.exists(stream.table):
                continue
            found = health(opened.table(stream.table))
            if found.score < HEALTHY_SCORE:
                asked = True
                yield dg.RunRequest(
                    run_key=f"{stream.table}:{found.snapshot_id}",
                    asset_selection=[compaction_key(stream.table)],
                    tags={"headrace/health": str(found.score)},
                )
    if not asked:
        yield dg.SkipReason("every table is healthy")
