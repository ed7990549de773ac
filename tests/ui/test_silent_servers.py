"""A page goes on where a server is silent, and does not count anew what it knows."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import streamlit as st
from pydantic import SecretStr

from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.ingest.owner import FLINK, Owner
from headrace.interop.paimon.facts import PaimonFiles
from headrace.interop.paimon.table import PaimonTable
from headrace.serving import open as opening
from headrace.serving.redis import RedisOnlineStore
from headrace.standing import jobs
from headrace.tables.commits.operations import move_properties
from headrace.tables.lake import OpenLake
from tests.interop.warehouses import users
from tests.ui.conftest import Open
from tests.ui.factories import fill
from tests.ui.test_pages import texts
from tests.waiting import WAIT_S
from ui import data
from ui.facts import LakeFacts
from ui.server_data import ANSWER_S


class Silent:
    """A server that takes connections and answers none; it keeps them open as long as it `holds`."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._lock, self._holds = threading.Lock(), True
        self._held = list[socket.socket]()
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def hold(self) -> None:
        with self._lock:
            self._holds = True

    def let_go(self) -> None:
        with self._lock:
            self._holds = False
            while self._held:
                self._held.pop().close()

    def close(self) -> None:
        self.let_go()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _take(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                if self._holds:
                    self._held.append(client)
                else:
                    client.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    with closing(Silent()) as server:
        yield server


@pytest.fixture
def silent_flink(lake: Lake, silent: Silent, monkeypatch: pytest.MonkeyPatch) -> Silent:
    """A stream of the lake is of Flink, which is silent for longer than a test takes."""
    fill(lake)
    owner = Owner(by=FLINK, epoch=3)
    move_properties(lake.table("raw.impressions"), lambda _: owner.note(stream="impressions"))
    monkeypatch.setattr(jobs, "ANSWER_S_MAX", WAIT_S)
    monkeypatch.setenv("HEADRACE_FLINK_URI", f"http://{silent.address}")
    monkeypatch.setenv("HEADRACE_FLINK_GATEWAY_URI", f"http://{silent.address}")
    return silent


def test_a_page_does_not_wait_for_a_server_that_is_silent(app: Open, silent_flink: Silent) -> None:
    _ = app  # its environment is what `data` reads
    first = data.lake_facts(within_s=60)
    assert (first.awaited, len(first.tables)) == (("Flink",), 5)
    assert [(each.subject, each.state) for each in first.jobs] == [("impressions", "")]
    assert first.standing.unreadable == ()
    silent_flink.let_go()
    later = data.lake_facts()  # waits, and asks nothing twice at once
    assert later.awaited == ()
    assert [each.name for each in later.standing.unreadable] == ["Flink"]
    silent_flink.hold()
    st.cache_data.clear()
    again = data.lake_facts(within_s=60)
    assert [each.name for each in again.standing.unreadable] == ["Flink"]  # its last answer


@pytest.mark.usefixtures("silent_flink")
def test_the_overview_ends_with_the_finding_that_the_server_is_silent(
    app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "ANSWER_S_MAX", 3 * ANSWER_S)
    shown = app()
    assert "**Flink**  \ncannot be read" in texts(shown)
    assert not shown.info


def impatient(server: SecretStr) -> RedisOnlineStore:
    """Open the store on Redis as the library does, but ask once."""
    return RedisOnlineStore(server.get_secret_value(), answer_s=WAIT_S, retries=0)


def test_an_online_store_that_is_silent_is_not_called_empty(
    app: Open, lake: Lake, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lake)
    monkeypatch.setattr(opening, "_on_redis", impatient)
    monkeypatch.setenv("HEADRACE_ONLINE_STORE_URI", f"redis://{silent.address}/0")
    first = data.lake_facts(within_s=60)
    assert (first.awaited, first.online, first.no_online) == (("online store",), (), None)
    silent.let_go()
    assert "cannot be read" in texts(app("serving"))


def test_files_of_a_paimon_snapshot_are_counted_once(
    app: Open, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = app, lake
    written = users(tmp_path / "paimon")
    written.put(1, 2, name="a")
    monkeypatch.setenv("HEADRACE_PAIMON_WAREHOUSE", str(written.folder))
    counted: list[int] = []

    def count(table: PaimonTable, snapshot_id: int) -> PaimonFiles:
        counted.append(snapshot_id)
        return statistics(table, snapshot_id)

    statistics = PaimonTable.statistics
    monkeypatch.setattr(PaimonTable, "statistics", count)
    for _each in range(3):
        (found,) = data.lake_facts().paimon
        assert (found.files.files, found.snapshot_id) == (1, 1)
        st.cache_data.clear()
    assert counted == [1]
    written.put(1, name="b")
    (found,) = data.lake_facts().paimon
    assert (found.files.files, found.snapshot_id) == (2, 2)
    assert counted == [1, 2]


def test_tabs_that_open_at_once_read_the_lake_once(
    app: Open, full: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = app, full
    listed: list[int] = []
    locations = OpenLake.locations

    def counting(lake: OpenLake) -> dict[TableName, str | None]:
        listed.append(1)
        return locations(lake)

    monkeypatch.setattr(OpenLake, "locations", counting)
    together = threading.Barrier(5)  # what was read is kept for some seconds only

    def tab(_: int) -> LakeFacts:
        together.wait(WAIT_S)
        return data.lake_facts()

    with ThreadPoolExecutor(5) as tabs:
        found = list(tabs.map(tab, range(5)))
    assert len(listed) == 1
    assert len({len(each.tables) for each in found}) == 1
