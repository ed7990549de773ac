"""One asset per sample set, one partition per day; only days with changed inputs are rebuilt."""

import datetime as dt
from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.definitions.sample_set import SampleSet
from headrace.samples.build import BuildResult, build
from headrace.samples.plan import day_text
from headrace.tables.lake import OpenLake
from orchestration.lib.conditions import samples_condition
from orchestration.lib.declared import Declared, read_declared
from orchestration.lib.keys import table_key, writer_pool
from orchestration.lib.resource import LakeResource
from orchestration.lib.table_metadata import pin, table_result


@dg.definitions
def sample_sets() -> dg.Definitions:
    """Define an asset for every sample set in `lake/samples`."""
    settings = Settings.load()
    declared = read_declared(settings)
    days = declared.days
    if days is None:
        return dg.Definitions()
    return dg.Definitions(
        assets=[
            _sample_asset(
                each,
                days,
                declared=declared,
                engine=settings.engine,
                condition=samples_condition(each, declared.streams),
            )
            for each in declared.sample_sets
        ]
    )


def _sample_asset(
    sample_set: SampleSet,
    days: dg.DailyPartitionsDefinition,
    *,
    declared: Declared,
    engine: str,
    condition: dg.AutomationCondition[Any],
) -> dg.AssetsDefinition:
    inputs = (
        sample_set.exposures.table,
        *(declared.table_of(feature.view) for feature in sample_set.features),
        *(label.stream for label in sample_set.labels),
        *(() if sample_set.logged is None else (sample_set.logged.log,)),
    )

    @dg.asset(
        key=table_key(sample_set.table),
        deps=[table_key(name) for name in dict.fromkeys(inputs)],
        group_name="samples",
        kinds={"iceberg", engine},
        partitions_def=days,
        # one run pins one snapshot of each input for all days
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=writer_pool(sample_set.table),
        automation_condition=condition,
        description=f"Sample set `{sample_set.name}`: one row per exposure, point-in-time features.",
    )
    def samples(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult[Any]:
        wanted = [dt.date.fromisoformat(key) for key in context.partition_keys]
        with lake.open() as opened:
            before = pin(opened, sample_set.table)
            done = build(opened, sample_set, days=wanted, run_id=context.run.run_id)
            for day in wanted:
                context.add_asset_metadata(
                    _day_metadata(opened, sample_set, done, day), partition_key=day.isoformat()
                )
            counts = {"rows_built": done.rows, "positives_built": done.positives}
            return of_all_days(
                table_result(
                    opened,
                    sample_set.table,
                    before=before,
                    spec=context.assets_def.get_asset_spec(),
                    metadata=counts,
                )
            )

    return samples


# Dagster repeats a run's table metadata on the page of each partition, where readers would take it
# for that day's
_OF_TABLE = {
    "dagster/row_count": "table_row_count",
    "run_id": None,
    "snapshot_id": "table_snapshot_id",
    "parent_snapshot_id": None,
    "inputs": None,
}


def of_all_days(result: dg.MaterializeResult[Any]) -> dg.MaterializeResult[Any]:
    """Rename metadata of the whole table, or drop it where each day reports its own."""
    renamed = {_OF_TABLE.get(name, name): value for name, value in (result.metadata or {}).items()}
    kept = {name: value for name, value in renamed.items() if name is not None}
    return dg.MaterializeResult(
        asset_key=result.asset_key, metadata=kept, data_version=result.data_version
    )


def _day_metadata(
    lake: OpenLake, sample_set: SampleSet, done: BuildResult, day: dt.date
) -> dict[str, Any]:
    """Describe one day: its rows, and the commit that built it, in this run or an earlier one."""
    version = lake.table(sample_set.table).head()
    reasons = {built.day: built.reason for built in done.built}
    built = lake.registry.builds(str(sample_set.table)).get(day_text(day))
    commit = None if built is None else lake.registry.commit(built.table, built.snapshot_id)
    return {
        "dagster/partition_row_count": sum(
            file.rows for file in version.files(partitions=[(day,)])
        ),
        "snapshot_id": "none" if built is None else str(built.snapshot_id),
        "parent_snapshot_id": "none" if commit is None else str(commit.parent_id),
        "inputs": {} if built is None else {name: str(at) for name, at in built.inputs.items()},
        "reason": reasons.get(day, "unchanged"),
    }
