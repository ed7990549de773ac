"""The `export` lines of a cluster lead headrace to its servers, and show no secret."""

import subprocess
from pathlib import Path

import pytest

from headrace.config import Settings
from infra.launcher.cluster import Cluster
from infra.launcher.exports import exports
from tests.conftest import ROOT


def test_the_lines_lead_to_the_servers_without_showing_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", "postgresql+psycopg2://me:hid den@there:1/x")
    monkeypatch.setenv("HEADRACE_S3_URL", "http://127.0.0.1:9000")
    monkeypatch.setenv("HEADRACE_TRINO_URL", "http://127.0.0.1:8080")
    cluster = Cluster(tmp_path / "a cluster")
    lines = exports(cluster)
    secret = cluster.secret("s3")
    assert not [line for line in lines if secret in line or "hid" in line]
    assert {(cluster.of("secrets") / name).stat().st_mode & 0o777 for name in ("catalog_uri",)} == {
        0o600
    }
    shown = subprocess.run(
        ["bash", "-c", "\n".join([*lines, "env"])],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    env = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    found = Settings.load(
        env={**env, "HEADRACE_PROFILE": "cluster"}, path=ROOT / "lake" / "lake.toml"
    )
    assert found.warehouse_uri == "s3://lake/warehouse"
    assert found.catalog_server is not None
    assert found.s3 is not None
    assert found.s3.secret_key is not None
    assert found.s3.secret_key.get_secret_value() == secret
    assert found.trino is not None


def test_servers_that_do_not_run_are_left_out(tmp_path: Path) -> None:
    assert exports(Cluster(tmp_path / "none")) == []
