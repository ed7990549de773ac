"""Which requests the Dagster web server answers, and that each way to start it has the guard."""

import asyncio
import shutil
from pathlib import Path
from urllib.parse import urlencode

import dagster as dg
import pytest
from dagster_webserver.webserver import DagsterWebserver
from starlette.types import Message, Receive, Scope, Send

from orchestration.lib.guard import LOOPBACK_HOSTS, SameSiteOnly, refusal
from tests.conftest import ROOT

HERE = "127.0.0.1:3000"
LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
MUTATION = "mutation { startSensor { __typename } }"


def refused(
    method: str = "GET", path: str = "/graphql", *, query: str = "", **headers: str
) -> str | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal(
        method,
        path,
        query=urlencode({"query": query}) if query else "",
        headers={"host": HERE} | named,
        hosts=frozenset(LOOPBACK_HOSTS),
    )


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "localhost", "[::1]:3000"])
def test_pages_of_the_server_and_programs_are_answered(host: str) -> None:
    assert refused("POST", host=host) is None
    assert refused("POST", host=host, origin=f"http://{host}", sec_fetch_site="same-origin") is None
    assert refused("GET", "/runs", host=host, sec_fetch_site="none", **LINK) is None
    assert refused(query="{ version }", host=host) is None
    assert refused("WEBSOCKET", host=host, origin=f"http://{host}") is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3000", "", "127.0.0.1.evil", "[", "127.0.0.2"]
)
def test_a_host_name_that_is_not_the_server_s_is_refused(host: str) -> None:
    for method in ("GET", "POST", "WEBSOCKET"):
        assert refused(method, host=host) is not None


@pytest.mark.parametrize(
    "path", ["/graphql", "/graphql/", "/prefix/graphql", "/report_asset_materialization/raw"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "WEBSOCKET"])
def test_a_page_of_another_site_cannot_send_anything(method: str, path: str) -> None:
    assert refused(method, path, sec_fetch_site="cross-site") is not None
    assert refused(method, path, sec_fetch_site="same-site") is not None  # another local port
    assert refused(method, path, origin="http://evil.example") is not None
    assert refused(method, path, origin="null") is not None
    assert refused(method, path, origin="http://127.0.0.1:8501") is not None


def test_another_site_may_link_to_a_page_but_not_frame_it_or_link_to_graphql() -> None:
    assert refused("GET", "/runs", sec_fetch_site="cross-site", **LINK) is None
    assert refused(
        "GET", "/runs", sec_fetch_site="cross-site", **LINK | {"sec_fetch_dest": "iframe"}
    )
    assert refused("GET", "/graphql", sec_fetch_site="cross-site", **LINK) is not None
    assert refused("POST", "/runs", sec_fetch_site="cross-site", **LINK) is not None


@pytest.mark.parametrize(
    "query", [MUTATION, "query a { version } " + MUTATION, "subscription { x }", "mutation {"]
)
def test_a_get_changes_nothing_wherever_it_comes_from(query: str) -> None:
    assert refused("GET", query=query) is not None
    assert refused("HEAD", query=query) is not None
    assert refused("POST", query=query, sec_fetch_site="same-origin") is None


@pytest.mark.parametrize(
    ("kind", "answer"), [("http", "http.response.start"), ("websocket", "websocket.close")]
)
def test_what_is_refused_never_reaches_the_server(kind: str, answer: str) -> None:
    reached: list[str] = []
    sent: list[Message] = []

    async def receive() -> Message:
        return {}

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        _ = receive, send
        reached.append(scope["type"])

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": kind, "path": "/graphql", "query_string": b"", "headers": []}
    asyncio.run(SameSiteOnly(server)({**scope, "method": "POST"}, receive, send))
    assert reached == []
    assert sent[0]["type"] == answer
    named = [(b"host", HERE.encode())]
    asyncio.run(SameSiteOnly(server)({**scope, "method": "POST", "headers": named}, receive, send))
    assert reached == [kind]


def test_the_instance_that_dagster_yaml_names_puts_the_guard_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "orchestration" / "dagster.yaml", tmp_path)
    with (tmp_path / "dagster.yaml").open("a") as settings:
        settings.write("allowed_hosts: [dagster.example.org]\n")
    monkeypatch.setattr(DagsterWebserver, "build_middleware", DagsterWebserver.build_middleware)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.optimize_for_webserver(1000, -1, 20)
        first = DagsterWebserver.build_middleware(object())[0]  # pyright: ignore[reportArgumentType]
    assert first.cls is SameSiteOnly
    assert set(first.kwargs["hosts"]) == {*LOOPBACK_HOSTS, "dagster.example.org"}
