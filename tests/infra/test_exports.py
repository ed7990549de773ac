"""The `export` lines of a cluster lead headrace to its servers, and show no secret."""

import subprocess
from pathlib import Path

import pytest

from headrace.config import Settings
from infra.launcher.cluster import Cluster
from infra.launcher.errors import LauncherError
from infra.launcher.exports import exports, use_with
from tests.conftest import ROOT


def test_the_lines_lead_to_the_servers_without_showing_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", "postgresql+psycopg2://me:hid den@there:1/x")
    monkeypatch.setenv("HEADRACE_S3_URL", "http://127.0.0.1:9000")
    secret = "a key of theirs"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "them")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("HEADRACE_TRINO_URL", "https://me:hidden@127.0.0.1:8443")
    cluster = Cluster(tmp_path / "a cluster")
    lines = exports(cluster)
    assert not [line for line in lines if secret in line or "hid" in line]
    assert {
        (cluster.of("secrets") / name).stat().st_mode & 0o777 for name in ("operator_catalog_uri",)
    } == {0o600}
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
    assert found.trino.uri == "https://127.0.0.1:8443"
    assert found.trino.user == "me"
    assert found.trino.password is not None
    assert found.trino.password.get_secret_value() == "hidden"


def test_an_external_store_without_a_key_in_the_environment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_S3_URL", "http://127.0.0.1:9000")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(LauncherError, match="AWS_SECRET_ACCESS_KEY"):
        exports(Cluster(tmp_path / "none"))


def test_a_role_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="operator"):
        exports(Cluster(tmp_path / "none"), role="root")


def test_servers_that_do_not_run_are_left_out(tmp_path: Path) -> None:
    none = Cluster(tmp_path / "none")
    assert exports(none) == []
    assert "cluster" not in use_with(none)  # that profile wants a catalog
