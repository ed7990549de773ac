"""Servers that others run: the launcher probes them, starts none, and leads headrace to them."""

from pathlib import Path

import pytest

from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.errors import StartFailedError
from infra.launcher.exports import environment
from tests.cluster.servers import Servers

_OTHERS = run.wanted(sorted({each.name for each in run.SERVERS} - {"postgres", "s3"}))


def test_a_launcher_works_with_servers_that_it_did_not_start(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES_URL", servers.catalog_uri())
    key = servers.s3_properties()
    monkeypatch.setenv("HEADRACE_S3_URL", key["s3.endpoint"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["s3.access-key-id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["s3.secret-access-key"])
    other = Cluster(tmp_path / "cluster")
    run.up(other, _OTHERS, say=lambda _: None)
    found = {each.server: each for each in run.status(other)}
    assert (found["postgres"].detail, found["s3"].detail) == ("elsewhere", "elsewhere")
    assert not any(each.running for each in found.values())
    given = environment(other)
    assert Path(given["HEADRACE_CATALOG_URI_FILE"]).read_text() == servers.catalog_uri()
    assert given["HEADRACE_S3_ENDPOINT"] == key["s3.endpoint"]

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of somebody else")
    monkeypatch.setattr(run.S3, "start_s_max", 1.0)
    with pytest.raises(StartFailedError):
        run.up(other, _OTHERS, say=lambda _: None)
