"""Runs the asset graph in this process as one recorded run, and measures the steps."""

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import dagster as dg
from dagster import DagsterEventType
from dagster._core.events.log import EventLogEntry

from demo.progress import Progress
from headrace.config import Settings
from orchestration.definitions import defs
from orchestration.lib.keys import model_key

if TYPE_CHECKING:
    from demo.facts import Judged  # which imports torch
    from headrace.datasets.lockfile import Lockfile

DEMO_TAG = "headrace/demo"
_FIRST, _LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# stage of a step, by the first part of its name, in the order of the data flow
_STAGES = {
    "raw": "ingest",
    "contract_of": "ingest",
    "maintenance": "compact",
    "features": "features",
    "samples": "samples",
    "audit": "samples",
    "datasets": "dataset",
    "serving": "online store",
}


@dataclass(frozen=True)
class River:
    """The asset graph of a lake, and the Dagster instance that records its runs."""

    graph: dg.Definitions
    instance: dg.DagsterInstance

    @classmethod
    def load(cls, settings: Settings) -> "River":
        """Load the graph and open the instance that `make dagster` shows.

        Unfinished runs of a killed demo are marked as failed, so the caller must be the only demo
        on this lake.
        """
        graph = defs()
        instance = _open_instance(settings)
        _close_dead_runs(instance)
        return cls(graph, instance)

    def run(self, progress: Progress) -> str:
        """Materialize every asset and evaluate every check in one run; return its id.

        The run includes all days of partitioned assets.

        Raises:
            Exception: The error of a step; the run is recorded as failed.

        """
        run_id = str(uuid.uuid4())
        listener = _Listener(progress)
        self.instance.add_event_listener(run_id, listener.hear)
        self.graph.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            run_id=run_id,
            tags={DEMO_TAG: "true", **_all_days(self.graph)},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=True,
        )
        return run_id

    def report_model(self, lock: "Lockfile", judged: "Judged") -> None:
        """Report a model that was trained on a dataset version, as any training run may."""
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                model_key(lock.name),
                description=f"Trained on `{lock.name}` v{lock.version}",
                metadata={
                    "dataset_version": lock.version,
                    "content_hash": lock.content_hash,
                    "model": dg.MetadataValue.path(judged.model),
                    "train_rows": judged.train_rows,
                    **({} if judged.test.auc is None else {"auc": judged.test.auc}),
                    "log_loss": judged.test.log_loss,
                },
            )
        )


class _Listener:
    """Receives every event of a run as it is stored, and reports the start and end of steps."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._since: dict[str, float] = {}

    def hear(self, entry: EventLogEntry) -> None:
        event = entry.dagster_event
        step = event.step_key if event else None
        if event is None or step is None:
            return
        if event.event_type == DagsterEventType.STEP_START:
            self._since[step] = perf_counter()
            self._progress.started(step)
        elif event.event_type == DagsterEventType.STEP_SUCCESS:
            seconds = perf_counter() - self._since[step]
            self._progress.finished(stage_of(step), step.replace("__", "."), seconds)


def _open_instance(settings: Settings) -> dg.DagsterInstance:
    home = settings.state_dir / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).parents[1] / "orchestration" / "dagster.yaml"
    draft = home / ".dagster.yaml"
    shutil.copyfile(source, draft)
    draft.replace(home / "dagster.yaml")
    return dg.DagsterInstance.from_config(str(home))


def _close_dead_runs(instance: dg.DagsterInstance) -> None:
    status = dg.DagsterRunStatus
    unfinished = [status.NOT_STARTED, status.STARTING, status.STARTED]
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished, tags={DEMO_TAG: "true"})):
        instance.report_run_failed(
            run, "The process was killed; the next run continued from there."
        )


def stage_of(step: str) -> str:
    """Return the stage of a step, whose name is an asset key joined by `__`, or a check."""
    return next((stage for head, stage in _STAGES.items() if step.startswith(head)), "other")


def _all_days(graph: dg.Definitions) -> dict[str, str]:
    days = next(
        (
            spec.partitions_def.get_partition_keys()
            for spec in graph.resolve_all_asset_specs()
            if spec.partitions_def is not None
        ),
        (),
    )
    return {_FIRST: days[0], _LAST: days[-1]} if days else {}
