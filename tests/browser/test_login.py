"""A person logs in at a provider of OpenID Connect, sees the lake by their role, and logs out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.launcher.cluster import free_port
from tests.browser.chromium import browser
from tests.browser.provider import providing
from tests.browser.servers import serving
from tests.conftest import ROOT

_LOGIN = """[auth]
redirect_uri = "http://localhost:{port}/oauth2callback"
cookie_secret = "a-secret-of-this-test-alone-of-32-characters"
client_id = "{client_id}"
client_secret = "{client_secret}"
server_metadata_url = "{metadata}"
"""


@pytest.fixture
def guarded(troubled: Mapping[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of pages that `headrace ui` serves with a login, as behind a proxy on their machine."""
    port, file = free_port(), tmp_path / "login.toml"
    with providing() as provider:
        file.write_text(
            _LOGIN.format(
                port=port,
                client_id=provider.client_id,
                client_secret=provider.client_secret,
                metadata=provider.metadata,
            )
        )
        file.chmod(0o600)
        words = ["ui", "--port", str(port), "--login", str(file)]
        with serving(
            ["headrace", *words, "--operator", "ann@example.com", "--reader", "@example.com"],
            log=tmp_path / "log",
            ready=f"http://127.0.0.1:{port}/_stcore/health",
            environment=troubled,
        ):
            yield f"http://localhost:{port}"


def test_whoever_is_no_reader_logs_in_sees_nothing_and_may_log_out(
    guarded: str, tmp_path: Path
) -> None:
    with browser(tmp_path) as page:
        page.open(f"{guarded}/tables?table=raw.impressions")
        page.click("Log in", within="stMainBlockContainer")
        page.click("eve@elsewhere.org")
        shown = page.wait_for("may not see this lake")
        assert "Last commit" not in shown
        assert "raw.impressions" not in shown
        assert ROOT.name not in page.evaluate("document.title")  # the name of the lake
        page.click("Log out")
        page.wait_for("Log in to see the lake")


def test_a_person_logs_in_sees_the_lake_by_their_role_and_logs_out(
    guarded: str, tmp_path: Path
) -> None:
    for person, role in (("ann@example.com", "operator"), ("bob@example.com", "page")):
        folder = tmp_path / role
        folder.mkdir()
        with browser(folder) as page:
            page.open(guarded)
            before = page.wait_for("Log in to see the lake")
            assert "Last commit" not in before
            assert "profile" not in before
            page.click("Log in", within="stMainBlockContainer")
            page.wait_for("Who are you?")
            page.click(person)
            page.wait_for(f"{person}, {role}")
            page.wait_for("Last commit")
            page.click("Log out")
            after = page.wait_for("Log in to see the lake")
            assert "Last commit" not in after
            page.open(f"{guarded}/tables?table=raw.impressions")  # a link does not get around it
            assert "raw.impressions" not in page.wait_for("Log in to see the lake")
        asked = {urlsplit(url).hostname for url in page.requests if url.startswith(("http", "ws"))}
        assert asked == {"127.0.0.1", "localhost"}
