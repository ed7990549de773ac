"""`make dagster` beside an open page of another site: the page gets nothing done."""

import html
import json
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from infra.launcher.cluster import free_port
from tests.browser.chromium import browser
from tests.browser.servers import serving
from tests.conftest import ROOT, DemoLake
from tests.waiting import wait_until

SENSOR = (
    'sensorSelector: {sensorName: "maintenance", repositoryName: "__repository__", '
    'repositoryLocationName: "headrace"}'
)
START = f"mutation {{ startSensor({SENSOR}) {{ __typename }} }}"
STATE = f"{{ sensorOrError({SENSOR}) {{ ... on Sensor {{ sensorState {{ status }} }} }} }}"


@pytest.fixture(scope="module")
def dagster(
    demo_lake: DemoLake, pages: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of Dagster over the demo's lake, whose assets link to its pages."""
    home = tmp_path_factory.mktemp("home")
    (home / "dagster.yaml").write_text((ROOT / "orchestration" / "dagster.yaml").read_text())
    port = free_port()
    with serving(
        ["dagster", "dev", "--host", "127.0.0.1", "--port", str(port)],
        log=home / "log",
        ready=f"http://127.0.0.1:{port}/server_info",
        environment={
            **demo_lake.environment,
            "DAGSTER_HOME": str(home),
            "HEADRACE_PAGES_URL": pages,
        },
    ):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def other_site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which another origin serves it."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = partial(_Quiet, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://localhost:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401  (of the base)
        """Keep the test's output clean."""


def ask(dagster: str, query: str) -> str:
    request = urllib.request.Request(
        f"{dagster}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_a_page_of_another_site_cannot_start_a_sensor(
    dagster: str, other_site: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = other_site
    target = f"{dagster}/graphql"
    (folder / "index.html").write_text(
        f"""<img src="{target}?query={quote(START)}" onerror="document.title += 'i'">
        <iframe name="frame"></iframe>
        <form id="form" method="post" action="{target}" target="frame">
          <input name="query" value="{html.escape(START)}"></form>
        <script>
          document.getElementById("form").submit();
          const body = JSON.stringify({{query: {json.dumps(START)}}});
          const socket = new WebSocket("{target.replace("http", "ws", 1)}", "graphql-ws");
          socket.onclose = () => document.title += "w";
          fetch("{target}", {{method: "POST", mode: "no-cors", body}})
            .finally(() => document.title += "f");
        </script><p>ready</p>"""
    )
    assert wait_until(lambda: '"STOPPED"' in ask(dagster, STATE))  # once it has loaded the sensor
    with browser(tmp_path) as page:
        page.open(f"{address}/index.html")
        page.wait_until("['i', 'w', 'f'].every(each => document.title.includes(each))")
    assert any(dagster in url for url in page.requests)
    assert '"STOPPED"' in ask(dagster, STATE)
    # and the same mutation, sent as the server's own pages send it, is obeyed
    ask(dagster, START)
    assert '"RUNNING"' in ask(dagster, STATE)


def test_the_server_s_own_pages_work(dagster: str, tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        page.open(f"{dagster}/automation")
        page.wait_for("new_source_files")
        shown = page.wait_for("nightly_maintenance")
    assert "newsletter" not in shown.lower()


def test_the_graph_shows_every_group_and_an_asset_its_owner_columns_and_page(
    dagster: str, pages: str, tmp_path: Path, screenshots: Path
) -> None:
    with browser(tmp_path) as page:
        page.open(f"{dagster}/asset-groups")
        groups = ["ingest", "staging", "features", "samples", "datasets", "training", "serving"]
        shown = "document.body.innerText.split(/\\s+/)"
        page.wait_until(f"{json.dumps(groups)}.every(each => {shown}.includes(each))")
        page.open(f"{dagster}/assets/samples/ctr?view=overview")
        page.wait_for("position_ctr_1d")
        page.wait_for("recommendations")
        page.picture(screenshots / "dagster-asset.png")
        assert "newsletter" not in page.text().lower()
        page.click("/tables?table=samples.ctr")
        page.wait_for("The first 50 of")
        page.click("Samples")
        page.wait_for("Exposure at")
        assert page.address().startswith(pages)
        page.picture(screenshots / "dagster-to-inspector.png")
    own = (dagster, pages, pages.replace("http", "ws", 1), "data:", "blob:")
    assert [url for url in page.requests if not url.startswith(own)] == []
