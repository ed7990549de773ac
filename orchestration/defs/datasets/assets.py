"""One asset per sample set: its latest published dataset version, pinned with all its inputs."""

from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.datasets.lockfile import Lockfile
from headrace.datasets.publish import publish
from headrace.datasets.versions import lockfile_path
from headrace.definitions.sample_set import SampleSet
from orchestration.lib.conditions import dataset_condition
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import dataset_key, table_key
from orchestration.lib.resource import LakeResource


@dg.definitions
def datasets() -> dg.Definitions:
    """Define a dataset asset for every sample set."""
    declared = read_declared(Settings.load()).sample_sets
    return dg.Definitions(assets=[_dataset(sample_set) for sample_set in declared])


def _dataset(sample_set: SampleSet) -> dg.AssetsDefinition:
    @dg.asset(
        key=dataset_key(sample_set.name),
        deps=[table_key(sample_set.table)],
        group_name="datasets",
        kinds={"iceberg", "parquet"},
        automation_condition=dataset_condition(),
        description=(
            f"Latest version of dataset `{sample_set.name}`: all days with mature labels. "
            "Unchanged content creates no new version."
        ),
    )
    def published(lake: LakeResource) -> dg.MaterializeResult[Any]:
        with lake.open() as opened:
            publication = publish(opened, sample_set)
            lock = publication.lock
            path = lockfile_path(opened.settings, lock.name, lock.version)
        return dg.MaterializeResult(
            metadata={
                **_lock_metadata(lock),
                "outcome": publication.outcome,
                "lockfile": dg.MetadataValue.path(path),
            },
            data_version=dg.DataVersion(lock.content_hash),
        )

    return published


def _lock_metadata(lock: Lockfile) -> dict[str, Any]:
    counts = [
        dg.TableRecord(
            {"label": one.label, "state": one.state, "value": one.value, "rows": one.rows}
        )
        for one in lock.labels
    ]
    return {
        "version": lock.version,
        "dagster/row_count": lock.rows,
        "dagster/table_name": lock.table,
        "positives": lock.positives,
        "content_hash": lock.content_hash,
        "snapshot_id": str(lock.snapshot_id),
        "first_day": lock.first_day.isoformat(),
        "last_day": lock.last_day.isoformat(),
        **({"labels": dg.MetadataValue.table(counts)} if counts else {}),
    }
