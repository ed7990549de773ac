"""Every test of this folder needs an installed Chromium, so that all carry the marker `browser`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.servers import free_port, serving
from tests.conftest import ROOT, DemoLake


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them; `make test-browser` runs what is marked."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """The folder of what the tests saw, kept after them and replaced by the next run."""
    folder = ROOT / ".screenshots"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def pages(demo_lake: DemoLake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the pages of the demo's lake, served as `headrace ui` serves them."""
    port = free_port()
    with serving(
        ["streamlit", "run", "ui/streamlit_app.py", "--server.port", str(port)],
        log=tmp_path_factory.mktemp("streamlit") / "log",
        ready=f"http://127.0.0.1:{port}/_stcore/health",
        environment=demo_lake.environment,
    ):
        yield f"http://127.0.0.1:{port}"
