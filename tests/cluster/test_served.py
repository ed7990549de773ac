"""The feature server and the exporter of Redis by the launcher: values of the store, metrics of the dashboards."""

import datetime as dt
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.serving.client import ServingClient
from headrace.serving.redis import RedisOnlineStore
from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.errors import LauncherError
from infra.launcher.http import text_of
from infra.launcher.redis import url
from infra.launcher.redis_exporter import RedisExporter
from infra.launcher.serve import Serve
from tests.conftest import ROOT
from tests.serving.test_redis import STATE, row
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster
STARTED = ("postgres", "s3", "redis", "redis_exporter", "serve")


@pytest.fixture
def served() -> Iterator[Cluster]:
    # not pytest's folder: the user that PostgreSQL runs as may not enter that one
    with tempfile.TemporaryDirectory(prefix="headrace-cluster-") as made:
        cluster = Cluster(Path(made) / "cluster")
        said: list[str] = []
        try:
            run.up(cluster, run.only(STARTED), say=said.append)
            yield cluster
        except LauncherError as error:
            pytest.fail("\n".join([*said, str(error)]), pytrace=False)
        finally:
            run.down(cluster, say=said.append)


def test_the_server_answers_from_the_store_of_the_cluster_and_both_are_shown(
    served: Cluster,
) -> None:
    state = replace(STATE, view="features.of_the_launcher")
    with RedisOnlineStore(url(served)) as store:
        store.replace(state, [row(1, 7)])
    with ServingClient(Serve().address(served), deadline_s=20) as client:
        moment = row(1, 7).known_at + dt.timedelta(seconds=1)
        found = client.vectors([{"item": 1}, {"item": 2}], views=[state.view], at=moment)
        assert found["values"] == [[7], [None]]
    metrics = text_of(f"{Serve().address(served)}/metrics")
    assert f'headrace_serve_view_entities{{view="{state.view}"}} 1.0' in metrics
    assert names_of("redis") <= names_in(text_of(f"{RedisExporter().address(served)}/metrics"))
    assert wait_until(lambda: healthy(served) >= set(STARTED))
    for name in ("redis_exporter", "serve"):
        pid = served.pid(name)
        assert pid is not None
        assert served.secret("redis") not in Path(f"/proc/{pid}/cmdline").read_text()


def healthy(cluster: Cluster) -> set[str]:
    return {each.server for each in run.status(cluster) if each.detail == "healthy"}


def names_of(dashboard: str) -> set[str]:
    """Return the metrics that a dashboard asks for."""
    path = ROOT / "infra" / "grafana" / "dashboards" / f"{dashboard}.json"
    asked = re.findall(r'"expr": "([^\n]*)"', path.read_text())
    return {name for each in asked for name in re.findall(r"\b(?:redis|headrace)_\w+", each)}


def names_in(metrics: str) -> set[str]:
    return set(re.findall(r"^(\w+)", metrics, re.MULTILINE))
