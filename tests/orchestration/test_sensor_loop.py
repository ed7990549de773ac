"""What the sensor daemon launches: Dagster's own loop, with runs in this process."""

import datetime as dt
import logging
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration

from orchestration.lib import asking
from orchestration.lib.resource import LakeResource
from tests.ingest.factories import write_clicks
from tests.orchestration.conftest import use_lake

HERE = "tests.orchestration.ingest_location"
MINUTES = dt.timedelta(minutes=2)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceProcessContext]:
    """A daemon's view of the code location, with the sensor switched on."""
    use_lake(monkeypatch, state_dir=tmp_path / "state")
    settings = {
        "telemetry": {"enabled": False},
        "run_coordinator": {
            "module": "dagster._core.run_coordinator",
            "class": "DefaultRunCoordinator",
        },
        "run_launcher": {
            "module": "dagster._core.launcher.sync_in_memory_run_launcher",
            "class": "SyncInMemoryRunLauncher",
        },
    }
    target = InProcessWorkspaceLoadTarget(
        InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name=HERE, attribute="defs"))
    )
    with (
        dg.instance_for_test(overrides=settings) as instance,
        create_test_daemon_workspace_context(target, instance) as context,
    ):
        (location,) = context.create_request_context().code_locations
        (sensor,) = next(iter(location.get_repositories().values())).get_sensors()
        instance.start_sensor(sensor)
        yield context


def tick(daemon: WorkspaceProcessContext, *, at: dt.datetime) -> list[dg.DagsterRunStatus]:
    """Let the daemon look once at `at`; the states of all runs so far, oldest first."""
    with freeze_time(at), pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "utc_now", lambda: at)
        for raised in execute_sensor_iteration(daemon, logging.getLogger("sensors"), None, None):
            assert raised is None, raised
    return [run.status for run in reversed(daemon.instance.get_runs())]


def test_a_run_that_failed_is_asked_for_again_and_only_then(
    daemon: WorkspaceProcessContext,
) -> None:
    with LakeResource().open() as lake:
        write_clicks(lake.settings.data_dir, file="a")
        trouble = lake.settings.warehouse / "raw"  # the table's folder cannot be made
        trouble.parent.mkdir(parents=True, exist_ok=True)
        trouble.write_text("in the way")
    failed, succeeded = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS
    now = dt.datetime.now(dt.UTC)
    assert tick(daemon, at=now) == [failed]
    assert tick(daemon, at=now + MINUTES) == [failed, failed]
    trouble.unlink()
    assert tick(daemon, at=now + 2 * MINUTES) == [failed, failed, succeeded]
    with LakeResource().open() as lake:
        assert lake.table("raw.clicks").head().row_count == 1
    assert tick(daemon, at=now + 3 * MINUTES) == [failed, failed, succeeded]
