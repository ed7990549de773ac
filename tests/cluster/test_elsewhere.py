"""Servers that others run: the launcher probes them, starts none, and leads headrace to them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from infra.launcher import redis, run, trino
from infra.launcher.cluster import Cluster
from infra.launcher.errors import StartFailedError
from infra.launcher.exports import environment
from tests.cluster.servers import Servers


def of_postgres(servers: Servers) -> dict[str, str]:
    return {"HEADRACE_POSTGRES_URL": servers.catalog_uri()}


def of_s3(servers: Servers) -> dict[str, str]:
    key = servers.s3_properties()
    return {
        "HEADRACE_S3_URL": key["s3.endpoint"],
        "AWS_ACCESS_KEY_ID": key["s3.access-key-id"],
        "AWS_SECRET_ACCESS_KEY": key["s3.secret-access-key"],
    }


def of_redis(servers: Servers) -> dict[str, str]:
    return {"HEADRACE_REDIS_URL": redis.url(servers.cluster)}


def of_trino(servers: Servers) -> dict[str, str]:
    user, password = trino.login(servers.cluster, role="operator")
    return {
        "HEADRACE_TRINO_URL": servers.trino_address.replace("://", f"://{user}:{password}@"),
        "REQUESTS_CA_BUNDLE": str(trino.certificate(servers.cluster)),
    }


# of each server: what says where it is, and what of that becomes wrong in which way
ELSEWHERE: Mapping[str, tuple[Callable[[Servers], dict[str, str]], str]] = {
    "postgres": (of_postgres, "HEADRACE_POSTGRES_URL"),
    "s3": (of_s3, "AWS_SECRET_ACCESS_KEY"),
    "redis": (of_redis, "HEADRACE_REDIS_URL"),
    "trino": (of_trino, "HEADRACE_TRINO_URL"),
}


def up(servers: Servers, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Let a launcher with a folder of its own find all of these servers elsewhere."""
    for variables, _ in ELSEWHERE.values():
        for name, value in variables(servers).items():
            monkeypatch.setenv(name, value)
    other = Cluster(folder / "cluster")
    run.up(other, run.only(tuple(ELSEWHERE)), say=lambda _: None)
    return other


def test_a_launcher_works_with_servers_that_it_did_not_start(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = up(servers, tmp_path, monkeypatch)
    found = {each.server: each for each in run.status(other)}
    assert {found[name].detail for name in ELSEWHERE} == {"elsewhere"}
    assert not any(each.running for each in found.values())
    given = environment(other)
    assert Path(given["HEADRACE_CATALOG_URI_FILE"]).read_text() == servers.catalog_uri()
    assert given["HEADRACE_S3_ENDPOINT"] == servers.s3_properties()["s3.endpoint"]
    kept = Path(given["HEADRACE_ONLINE_STORE_URI_FILE"]).read_text()
    assert kept == redis.url(servers.cluster)
    assert given["HEADRACE_TRINO_URI"] == servers.trino_address
    assert given["HEADRACE_TRINO_USER"] == "operator"


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_server_elsewhere_that_refuses_is_named(
    servers: Servers, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = up(servers, tmp_path, monkeypatch)
    variable = ELSEWHERE[name][1]
    value = ELSEWHERE[name][0](servers)[variable]
    before, at, after = value.rpartition("@")
    monkeypatch.setenv(variable, f"{before}x{at}{after}" if at else f"{value}x")
    monkeypatch.setattr(type(run.by_name(name)), "start_s_max", 1.0)
    with pytest.raises(StartFailedError) as caught:
        run.up(other, run.only([name]), say=lambda _: None)
    assert caught.value.server == name
    password = before.rpartition(":")[2] or value
    assert password not in str(caught.value)
