"""An app on a lake of the test's own; caches are process-wide, so each test clears them first."""

import functools
import sys
from collections.abc import Callable, Iterator

import pytest
import streamlit as st
from streamlit import config
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from headrace.api import Lake
from headrace.config import Settings
from tests.conftest import ROOT
from tests.ui.factories import fill
from tests.waiting import WAIT_S

Open = Callable[..., AppTest]


@pytest.fixture(scope="session", autouse=True)
def quick_streamlit() -> Iterator[None]:
    """Look for components of other packages once.

    Each start of the app reads what all installed packages say of themselves: half of what tests of
    pages took.
    """
    with pytest.MonkeyPatch.context() as patch:
        found = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", found)
        yield


@pytest.fixture(autouse=True)
def own_main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore `__main__`: AppTest puts the page there, and later processes would run it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a page, optionally with query parameters, on the lake of `settings`."""
    monkeypatch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(settings.state_dir))
    monkeypatch.delenv("HEADRACE_DATA_DIR", raising=False)
    st.cache_data.clear()
    config.set_option("server.address", "127.0.0.1")  # as its configuration says
    yield open_page
    config.set_option("server.address", None)
    st.cache_data.clear()


def open_page(page: str = "", *, user: dict[str, object] | None = None, **query: str) -> AppTest:
    """Run the app at one page, as a user of a login if given; a page that raised fails the test."""
    found = AppTest.from_file(str(ROOT / "ui" / "streamlit_app.py"), default_timeout=WAIT_S)
    found.user = user or {}
    for name, value in query.items():
        found.query_params[name] = value
    if page:  # named as its file, so that it is known before the first run
        found.switch_page(f"app_pages/{page}.py")
    found.run()
    assert not found.exception, found.exception
    return found


@pytest.fixture(scope="session")
def full_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake with one of everything, which no test changes."""
    env = {"HEADRACE_STATE_DIR": str(tmp_path_factory.mktemp("full") / "state")}
    with Lake.open(Settings.load(env=env, path=ROOT / "lake" / "lake.toml")) as lake:
        fill(lake)
        yield lake


@pytest.fixture
def full(app: Open, full_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Make the app show the lake with one of everything."""
    _ = app  # its environment comes first
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(full_lake.settings.state_dir))
    return full_lake
