"""Checks of table health; they only warn, since reads stay correct."""

from collections.abc import Iterator

import dagster as dg

from headrace.config import Settings
from headrace.definitions.load import load_streams
from headrace.identifiers import TableName
from headrace.maintenance.health.health import health
from orchestration.lib.keys import compaction_key
from orchestration.lib.resource import LakeResource

HEALTHY_SCORE = 70  # below this, small files or snapshots slow readers noticeably


@dg.definitions
def health_checks() -> dg.Definitions:
    """Define a health check of every stream's table, after its compaction."""
    tables = [stream.table for stream in load_streams(Settings.load()).values()]
    return dg.Definitions(asset_checks=[_checks(tables)])


def _checks(tables: list[TableName]) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(
            "few_small_files",
            asset=compaction_key(name),
            description=f"The health score of `{name}` is at least {HEALTHY_SCORE} of 100.",
        )
        for name in tables
    ]

    @dg.multi_asset_check(specs=specs, name="table_health", can_subset=True)
    def table_health(
        context: dg.AssetCheckExecutionContext, lake: LakeResource
    ) -> Iterator[dg.AssetCheckResult]:
        chosen = {key.asset_key for key in context.selected_asset_check_keys}
        with lake.open() as opened:
            for name in tables:
                if compaction_key(name) in chosen:
                    found = health(opened.table(name))
                    yield dg.AssetCheckResult(
                        asset_key=compaction_key(name),
                        check_name="few_small_files",
                        passed=found.score >= HEALTHY_SCORE,
                        severity=dg.AssetCheckSeverity.WARN,
                        metadata={
                            "score": found.score,
                            "files": found.files,
                            "small_files": found.small_files,
                            "snapshots": found.snapshots,
                            "worst": found.worst.finding if found.worst else "nothing",
                        },
                    )

    return table_health
