"""Checks of table health; they only warn, since reads stay correct."""

import dagster as dg

from headrace.config import Settings
from headrace.errors import Remedy
from headrace.identifiers import TableName
from headrace.maintenance.health.health import FIT_SCORE_MIN, TableHealth, health
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import compaction_key, table_key
from orchestration.lib.links import PAGE, page_of
from orchestration.lib.resource import LakeResource


@dg.definitions
def health_checks() -> dg.Definitions:
    """Define a health check of every stream's table, after its compaction."""
    tables = [stream.table for stream in read_declared(Settings.load()).streams]
    return dg.Definitions(asset_checks=[_check(name) for name in tables])


def _check(name: TableName) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=compaction_key(name),
        name="few_small_files",
        description=f"The health score of `{name}` is at least {FIT_SCORE_MIN} of 100.",
    )
    def few_small_files(lake: LakeResource) -> dg.AssetCheckResult:
        with lake.open() as opened:
            found = health(opened.table(name))
        return dg.AssetCheckResult(
            passed=found.is_fit,
            severity=dg.AssetCheckSeverity.WARN,
            description=None if found.is_fit else _failure(found, name),
            metadata={
                "score": found.score,
                "files": found.files,
                "small_files": found.small_files,
                "snapshots": found.snapshots,
                "worst": found.worst.finding if found.worst else "nothing",
                PAGE: dg.MetadataValue.url(page_of(table_key(name))),
            },
        )

    return few_small_files


def _failure(found: TableHealth, name: TableName) -> str:
    worst = found.worst.finding if found.worst else "no part of it is worse than the others"
    plan = Remedy.run_on_catalog("tables", "compact", str(name), advice="see the plan")
    return (
        f"health of `{name}` is {found.score} of 100, with {found.small_files:,} small files of "
        f"{found.files:,}: {worst}; {plan}"
    )
