"""Flink's three processes: healthy, on loopback alone, stopped by their ids, and found again after a kill."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from headrace.flink.client import JobManager
from headrace.flink_access import FlinkAccess
from infra.launcher import flink, run
from infra.launcher.cluster import Cluster
from infra.launcher.exports import environment
from tests.flink.servers import kill, start
from tests.waiting import wait_until

pytestmark = [pytest.mark.flink, pytest.mark.timeout(600)]
FLINK = ("flink", "flink_worker", "flink_gateway")


def test_the_servers_are_healthy_and_headrace_is_told_where_they_are(cluster: Cluster) -> None:
    found = {each.server: each for each in run.status(cluster)}
    assert [found[name].detail for name in FLINK] == ["healthy"] * 3
    told = environment(cluster)
    assert told["HEADRACE_FLINK_URI"] == found["flink"].address
    assert told["HEADRACE_FLINK_GATEWAY_URI"] == found["flink_gateway"].address


def test_they_listen_on_loopback_alone(cluster: Cluster) -> None:
    opened: list[str] = []
    for name in FLINK:
        pid = cluster.pid(name)
        assert pid is not None
        opened += listening(pid)
    assert len(opened) >= 5
    assert set(opened) == {"127.0.0.1"}


def listening(pid: int) -> list[str]:
    """Return the address of each port on which a process listens."""
    links = [each.readlink().name for each in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {each[8:-1] for each in links if each.startswith("socket:[")}
    found: list[str] = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in inodes:
                raw = bytes.fromhex(parts[1].partition(":")[0])
                found.append(socket.inet_ntoa(raw[-4:][::-1]))
    return found


def configured(cluster: Cluster) -> dict[str, str]:
    """Return what the JobManager was configured with."""
    address = flink.JobManager().address(cluster)
    return JobManager(FlinkAccess(uri=address, gateway_uri=address)).settings()


def test_checkpoints_go_to_the_lakes_storage_every_five_seconds(cluster: Cluster) -> None:
    said = configured(cluster)
    assert said["execution.checkpointing.dir"].startswith("s3://lake/")
    assert said["execution.checkpointing.interval"] == "5 s"
    assert said["execution.checkpointing.mode"] == "EXACTLY_ONCE"
    assert said["state.backend.type"] == "rocksdb"
    assert cluster.secret("s3-operator") not in str(said)


def test_a_worker_that_was_killed_is_missed_at_the_second_question(cluster: Cluster) -> None:
    """It is asked every two seconds; by default every ten, and so missed after more than ten."""
    assert configured(cluster)["heartbeat.interval"] == "2 s"
    assert known(cluster)
    kill(cluster, "flink_worker")
    try:
        assert wait_until(lambda: not known(cluster))
    finally:
        start(cluster, "flink_worker")


def known(cluster: Cluster) -> list[str]:
    """Return the workers of which the JobManager has heard lately."""
    found = flink.ask(f"{flink.JobManager().address(cluster)}/taskmanagers")["taskmanagers"]
    return [str(each["path"]) for each in found]


def test_a_worker_that_died_hides_the_numbers_of_others_for_a_minute_at_most(
    cluster: Cluster,
) -> None:
    """The JobManager waits for its answer before it asks again, and for ten minutes by default."""
    said = configured(cluster)
    assert said["web.timeout"] == "60 s"
    assert said["jobmanager.scheduler"] == "adaptive"
    # one that missed the other tries again after a second; ten by default
    assert said["cluster.registration.error-delay"] == "1 s"


def test_a_killed_worker_is_started_again_and_known_to_the_job_manager(cluster: Cluster) -> None:
    for _ in range(3):  # the JobManager still knows the one before
        before = flink.TaskManager().address(cluster)
        kill(cluster, "flink_worker")
        assert cluster.pid("flink_worker") is None
        start(cluster, "flink_worker")
        run.by_name("flink_worker").probe(cluster)
        assert flink.TaskManager().address(cluster) != before


def test_a_second_worker_adds_its_slots_and_ends_by_itself(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(flink.SLOTS, "2x4")
    start(cluster, "flink_worker")
    second = run.by_name("flink_worker_2")
    try:
        # one that was killed before may be missed only now
        assert wait_until(lambda: len(known(cluster)) == 2)
        overview = f"{flink.JobManager().address(cluster)}/overview"
        assert wait_until(lambda: flink.ask(overview)["slots-total"] == 8)
        assert "flink_worker_2" in {each.server for each in run.status(cluster)}
        pid = cluster.pid("flink_worker_2")
        assert pid is not None
        assert set(listening(pid)) == {"127.0.0.1"}
    finally:
        run.stop(cluster, second)
    assert cluster.pid("flink_worker") is not None
    assert "flink_worker_2" not in {each.server for each in run.status(cluster)}
    assert wait_until(lambda: len(known(cluster)) == 1)


def test_a_job_with_checkpoints_on_s3_runs(cluster: Cluster) -> None:
    """The plugin of S3 is loaded by the JobManager only once a job needs it."""
    sessions = f"{flink.Gateway().address(cluster)}/v3/sessions"
    handle = flink.ask(sessions, method="POST", body={})["sessionHandle"]
    for sql in (
        "create temporary table made (a bigint) with ('connector' = 'datagen')",
        "create temporary table gone (a bigint) with ('connector' = 'blackhole')",
        "insert into gone select a from made",
    ):
        at = f"{sessions}/{handle}"
        operation = flink.ask(f"{at}/statements", method="POST", body={"statement": sql})
        found = result(f"{at}/operations/{operation['operationHandle']}/result/0?rowFormat=JSON")
    flink.ask(f"{sessions}/{handle}", method="DELETE")
    job = f"{flink.JobManager().address(cluster)}/jobs/{found['jobID']}"
    try:
        assert wait_until(lambda: completed(job) > 0)
        newest = flink.ask(f"{job}/checkpoints")["latest"]["completed"]["external_path"]
        assert str(newest).startswith("s3://lake/flink/checkpoints/")
    finally:
        flink.ask(f"{job}?mode=cancel", method="PATCH")


def result(url: str) -> dict[str, Any]:
    """Return the result of a statement once it is there."""
    while (found := flink.ask(url)).get("resultType") == "NOT_READY":
        time.sleep(0.2)
    return found


def completed(job: str) -> int:
    return int(flink.ask(f"{job}/checkpoints")["counts"]["completed"])
