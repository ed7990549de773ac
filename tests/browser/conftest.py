"""Every test of this folder needs an installed Chromium, so that all carry the marker `browser`."""

import contextlib
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from infra.launcher.cluster import free_port
from tests.browser.servers import serving
from tests.conftest import ROOT, DemoLake
from tests.ui.factories import fill
from ui.access import LOCAL, OPERATORS


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
    with _pages_of(demo_lake.environment, tmp_path_factory.mktemp("streamlit") / "log") as address:
        yield address


@pytest.fixture(scope="session")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a small lake with dead letters, planned maintenance and two versions."""
    environment = {"HEADRACE_STATE_DIR": str(tmp_path_factory.mktemp("troubled") / "state")}
    with Lake.open(Settings.load(env=environment, path=ROOT / "lake" / "lake.toml")) as lake:
        fill(lake)
    return environment


@pytest.fixture(scope="session")
def troubled_pages(
    troubled: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of the pages of that lake, whose visitors are operators."""
    environment = {**troubled, OPERATORS: LOCAL}
    with _pages_of(environment, tmp_path_factory.mktemp("streamlit") / "log") as address:
        yield address


@contextlib.contextmanager
def _pages_of(environment: Mapping[str, str], log: Path) -> Generator[str]:
    port = free_port()
    with serving(
        ["streamlit", "run", "ui/streamlit_app.py", "--server.port", str(port)],
        log=log,
        ready=f"http://127.0.0.1:{port}/_stcore/health",
        environment=environment,
    ):
        yield f"http://127.0.0.1:{port}"
