"""Checks that what was served is what training computes; they only warn: nothing is built from it."""

from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.definitions.sample_set import SampleSet
from headrace.definitions.stream import Stream
from headrace.errors import Remedy
from headrace.serving.server.log import REQUIRED
from headrace.serving.skew import SkewReport, measure_skew
from headrace.tables.lake import OpenLake
from orchestration.lib.declared import read_declared
from orchestration.lib.keys import table_key
from orchestration.lib.recorded import recorded
from orchestration.lib.resource import LakeResource

_DAYS = 2  # of the log, the newest: a request of just before midnight counts on the next day too
_EXAMPLES_MAX = 10


@dg.definitions
def skew_checks() -> dg.Definitions:
    """Define a replay of every serving log for every sample set."""
    declared = read_declared(Settings.load())
    logs = [stream for stream in declared.streams if set(REQUIRED) <= set(stream.fields)]
    return dg.Definitions(
        asset_checks=[_check(each, log) for log in logs for each in declared.sample_sets]
    )


def _check(sample_set: SampleSet, log: Stream) -> dg.AssetChecksDefinition:
    key, name = table_key(log.table), f"served_as_trained_{sample_set.name}"

    @dg.asset_check(
        asset=key,
        name=name,
        description=(
            f"What was served for `{sample_set.name}` on the last {_DAYS} days of the log is what the "
            "point-in-time rule gives for the same moments."
        ),
    )
    def served_as_trained(lake: LakeResource) -> dg.AssetCheckResult:
        with lake.open() as opened:
            return recorded(opened, _result(opened, sample_set, log), key=key, check=name)

    return served_as_trained


def _result(lake: OpenLake, sample_set: SampleSet, log: Stream) -> dg.AssetCheckResult:
    version = lake.table(log.table).head()
    days: list[Any] = sorted(version.partitions)[-_DAYS:]
    found = measure_skew(
        lake, sample_set, version.to_arrow(partitions=days), examples_max=_EXAMPLES_MAX
    )
    wrong = found.mismatches
    return dg.AssetCheckResult(
        passed=not wrong,
        severity=dg.AssetCheckSeverity.WARN,
        description=_failure(found, log) if wrong else None,
        metadata={
            "differing_values": wrong,
            "requests": found.rows,
            **{f"cause/{cause}": count for cause, count in _causes(found).items()},
        },
    )


def _causes(found: SkewReport) -> dict[str, int]:
    counted: dict[str, int] = {}
    for feature in found.features:
        for cause, count in feature.causes.items():
            counted[cause] = counted.get(cause, 0) + count
    return dict(sorted(counted.items(), key=lambda each: -each[1]))


def _failure(found: SkewReport, log: Stream) -> str:
    causes = ", ".join(f"{cause} ({count:,})" for cause, count in _causes(found).items())
    first = found.examples[0]
    show = Remedy.run("skew", found.sample_set, log.name, advice="show each feature")
    return (
        f"{found.mismatches:,} values of {found.rows:,} requests for `{found.sample_set}` are not what "
        f"training computes: {causes}; for example `{first.feature}` of request {first.request_id} was "
        f"{first.served!r}, training has {first.expected!r}; {show}"
    )
