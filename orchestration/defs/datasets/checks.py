"""Checks that a published dataset version still matches its lockfile."""

import dagster as dg

from headrace.config import Settings
from headrace.datasets.verify import verify
from headrace.errors import DatasetChangedError
from headrace.tables.lake import OpenLake
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import dataset_key
from orchestration.lib.recorded import recorded
from orchestration.lib.resource import LakeResource


@dg.definitions
def dataset_checks() -> dg.Definitions:
    """Define a verification of the latest version of every dataset."""
    declared = read_declared(Settings.load()).sample_sets
    return dg.Definitions(asset_checks=[_check(sample_set.name) for sample_set in declared])


def _check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=dataset_key(name),
        name="reads_as_locked",
        blocking=True,
        description="Row counts, hashes, tags and file plan match the lockfile.",
    )
    def reads_as_locked(lake: LakeResource) -> dg.AssetCheckResult:
        with lake.open() as opened:
            return recorded(
                opened, _verified(opened, name), key=dataset_key(name), check="reads_as_locked"
            )

    return reads_as_locked


def _verified(lake: OpenLake, name: str) -> dg.AssetCheckResult:
    try:
        found = verify(lake, name)
    except DatasetChangedError as error:
        return dg.AssetCheckResult(passed=False, description=str(error))
    return dg.AssetCheckResult(
        passed=True,
        metadata={"version": found.lock.version, "rows": found.rows, "files": found.files},
    )
