"""Jobs of Flink as external assets: what each is now, and a check that it is well."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import dagster as dg

from headrace.config import Settings
from headrace.definitions.sources import KafkaSource
from headrace.errors import LakeError
from headrace.flink.every import ended_jobs, owned_jobs, undeclared_jobs
from headrace.flink.job_status import JobStatus
from headrace.flink.keyed_sql import subject_of
from headrace.identifiers import TableName
from headrace.tables.lake import OpenLake
from orchestration.lib.declared import Declared, read_declared
from orchestration.lib.keys import UNDECLARED_JOBS, job_key, table_key
from orchestration.lib.recorded import recorded
from orchestration.lib.resource import LakeResource

CHECK, NONE_ELSE = "job_is_well", "no_other_job_runs"


@dg.definitions
def flink_jobs() -> dg.Definitions:
    """Define an asset for each job that Flink may run, where the profile says where Flink is."""
    settings = Settings.load()
    if settings.flink is None:
        return dg.Definitions()
    found = dict(_subjects(read_declared(settings)))
    return dg.Definitions(
        assets=[
            dg.AssetSpec(
                key=job_key(subject),
                deps=[table_key(each) for each in dict.fromkeys(reads)],
                group_name="flink",
                kinds={"flink"},
                description=(
                    f"The job of Flink that writes `{subject}`, while it belongs to Flink. Dagster does "
                    "not run it: `headrace flink` does."
                ),
            )
            for subject, reads in found.items()
        ]
        + [
            dg.AssetSpec(
                key=UNDECLARED_JOBS,
                group_name="flink",
                kinds={"flink"},
                description="Jobs of Flink that were declared once, and that nothing declares now.",
            )
        ],
        asset_checks=[*(_check(subject) for subject in found), no_other_job_runs],
        sensors=[flink_jobs_now],
    )


def _subjects(declared: Declared) -> Iterator[tuple[str, tuple[TableName, ...]]]:
    """Yield what a job may write, with the tables that the job reads."""
    for stream in declared.streams:
        if isinstance(stream.source, KafkaSource):
            yield stream.name, ()
        if stream.keyed is not None:
            yield subject_of(stream), (stream.table,)
    for view, windows in declared.window_views.items():
        yield str(view), (TableName.parse(windows.events),)
    for samples in declared.sample_sets:
        if not samples.features:
            labels = (each.stream for each in samples.labels)
            yield str(samples.table), (samples.exposures.table, *labels)


def _check(subject: str) -> dg.AssetChecksDefinition:
    key = job_key(subject)

    @dg.asset_check(
        asset=key,
        name=CHECK,
        description=(
            f"If `{subject}` belongs to Flink, its job runs, completes checkpoints, commits them, and "
            "leaves nothing out; nobody else writes it."
        ),
    )
    def job_is_well(lake: LakeResource) -> dg.AssetCheckResult:
        with lake.open() as opened:
            return recorded(opened, _result(opened, subject), key=key, check=CHECK)

    return job_is_well


@dg.asset_check(
    asset=UNDECLARED_JOBS,
    name=NONE_ELSE,
    description="No job of Flink runs that was declared once, and that nothing declares now.",
)
def no_other_job_runs(lake: LakeResource) -> dg.AssetCheckResult:
    """Look for jobs of former declarations, each of which goes on to write."""
    with lake.open() as opened:
        running: list[str] = []
        for each in undeclared_jobs(opened):
            try:
                each.open().status()
            except LakeError as error:
                running.append(str(error))
        result = dg.AssetCheckResult(passed=not running, description="\n".join(running) or None)
        return recorded(opened, result, key=UNDECLARED_JOBS, check=NONE_ELSE)


def _result(lake: OpenLake, subject: str) -> dg.AssetCheckResult:
    for owned in chain(owned_jobs(lake, only=subject), ended_jobs(lake, only=subject)):
        owner = "headrace" if owned.is_ended else "flink"
        try:
            return dg.AssetCheckResult(passed=True, metadata=_metadata(owned.open().check()))
        except LakeError as error:
            return dg.AssetCheckResult(
                passed=False, description=str(error), metadata={"owner": owner}
            )
    return dg.AssetCheckResult(passed=True, metadata={"owner": "headrace"})


def _metadata(status: JobStatus) -> dict[str, Any]:
    found: dict[str, Any] = {"owner": status.owner, "epoch": status.epoch}
    if status.health is not None:
        found |= {
            "job": status.job,
            "job_id": status.job_id,
            "state": status.health.state,
            "checkpoint": status.health.checkpoint,
            "committed_checkpoint": status.health.committed,
            "checkpoints_behind": max(0, status.health.checkpoint - status.health.committed),
            "restarts": status.health.restarts,
            **{f"fault/{name}": what for name, what in status.health.faults.items()},
        }
    return found


@dg.sensor(
    name="flink_jobs",
    minimum_interval_seconds=60,
    description="What each job of Flink is now: its id, its checkpoints, and its faults.",
)
def flink_jobs_now(lake: LakeResource) -> dg.SensorResult:
    """Observe each job; one that cannot be looked at does not hold up the others."""
    seen: list[dg.AssetObservation] = []
    with lake.open() as opened:
        for owned in owned_jobs(opened):
            try:
                metadata = _metadata(owned.open().status())
            except LakeError as error:
                metadata = {"owner": "flink", f"fault/{error.code}": str(error)}
            seen.append(dg.AssetObservation(job_key(owned.subject), metadata=metadata))
    return dg.SensorResult(asset_events=seen)
