"""Checks on samples that block everything downstream."""

from collections.abc import Iterator
from dataclasses import replace

import dagster as dg

from headrace.config import Settings
from headrace.definitions.sample_set import SampleSet
from headrace.errors import Remedy
from headrace.samples.audit import Audited, duplicate_ids, leaks
from headrace.tables.version import TableVersion
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import table_key
from orchestration.lib.recorded import recorded
from orchestration.lib.resource import LakeResource

_COUNTED = {"no_leaks": "leaking_samples", "unique_sample_ids": "repeated_ids"}
_BROKEN = {
    "no_leaks": "use a feature row at or after their own time",
    "unique_sample_ids": "have a duplicate id",
}


@dg.definitions
def sample_checks() -> dg.Definitions:
    """Define checks of every sample set for leaked future values and duplicate ids."""
    declared = read_declared(Settings.load()).sample_sets
    return dg.Definitions(asset_checks=[_checks(sample_set) for sample_set in declared])


def _checks(sample_set: SampleSet) -> dg.AssetChecksDefinition:
    key = table_key(sample_set.table)

    @dg.multi_asset_check(
        name=f"audit_{sample_set.name}",
        specs=[
            dg.AssetCheckSpec(
                "no_leaks",
                asset=key,
                blocking=True,
                description="No sample uses a feature row at or after its own time.",
            ),
            dg.AssetCheckSpec(
                "unique_sample_ids",
                asset=key,
                blocking=True,
                description="Sample ids are unique across all days.",
            ),
        ],
    )
    def audit(lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        with lake.open() as opened:
            version = opened.table(sample_set.table).head()
            results = {
                "no_leaks": leaks(version, settings=opened.settings),
                "unique_sample_ids": duplicate_ids(version, settings=opened.settings),
            }
            checked = [
                recorded(opened, _result(key, name, found, version), key=key, check=name)
                for name, found in results.items()
            ]
        yield from checked

    return audit


def _result(
    key: dg.AssetKey, check: str, found: Audited, version: TableVersion
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check,
        passed=not found.count,
        description=_failure(check, found, version) if found.count else None,
        metadata={
            _COUNTED[check]: found.count,
            "samples": version.row_count,
            "snapshot_id": str(version.snapshot_id),
        },
    )


def _failure(check: str, found: Audited, version: TableVersion) -> str:
    examples = ", ".join(f"`{each}`" for each in found.examples)
    inspect = Remedy.run("samples", "inspect", found.examples[0], advice="show one of them")
    back = Remedy.run_on_catalog(
        "tables", "rollback", str(version.name), advice="return to an earlier snapshot"
    )
    return (
        f"{found.count:,} samples of `{version.name}` {_BROKEN[check]} (of {version.row_count:,}, "
        f"at snapshot {version.snapshot_id}); for example {examples}. Downstream assets were not "
        f"run; {replace(inspect, otherwise=(back,))}"
    )
