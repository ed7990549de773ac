"""How far many streams are: one wait for brokers that are away, and a word for which of them."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import SettingsError
from headrace.ingest import statuses as room
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import PositionsOf
from headrace.ingest.sources.kafka_client import KafkaClient, TopicFacts
from headrace.ingest.status import ANSWER_S_MAX
from headrace.ingest.statuses import ASKED_AT_ONCE_MAX, statuses
from headrace.standing.streams import read_streams
from tests.conftest import ROOT
from tests.ingest.factories import json_line, make_stream, write_things
from tests.ingest.log_source import LogReader, LogSource
from tests.mock_kafka import MockKafka
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow


def named(*names: str) -> list[Stream]:
    return [
        make_stream("json", stream=name, table=f"raw.{name}", source={"kafka": {"topic": name}})
        for name in names
    ]


def lake_at(state: Path, servers: str) -> Lake:
    env = {"HEADRACE_STATE_DIR": str(state), "HEADRACE_KAFKA_SERVERS": servers}
    return Lake.open(Settings.load(env=env, path=ROOT / "lake" / "lake.toml"))


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ANSWER_S_MAX", 0.4)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a broker that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_brokers_that_are_away_are_waited_for_once_for_all_streams(
    tmp_path: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counted(client: KafkaClient, **more: float | None) -> TopicFacts:
        asked.append(client.topic)
        return facts(client, **more)

    facts = KafkaClient.facts
    monkeypatch.setattr(KafkaClient, "facts", counted)
    topics = named(*(f"t{each}" for each in range(ASKED_AT_ONCE_MAX + 8)))
    with lake_at(tmp_path, silent) as lake:
        files = make_stream("json")
        write_things(lake.settings.data_dir, "a", ["good"], format_="json")
        ingest(lake, files)
        found = statuses(lake, [*topics[:3], files, *topics[3:]])
        assert list(found) == [each.name for each in (*topics[:3], files, *topics[3:])]
        assert found["things"].known().rows == 1
        for each in topics:
            error = found[each.name].silent
            assert error is not None
            assert (error.topic, error.servers, error.partition) == (each.name, silent, None)
            assert found[each.name].known().sources_waiting == ()
        assert len(asked) <= ASKED_AT_ONCE_MAX
        shown = read_streams(lake, {each.name: each for each in topics}, unreadable=(), of_flink=())
    (said,) = shown.unreadable
    assert (said.name, said.code) == ("Kafka", "topic-unreachable")
    assert silent in said.text
    assert f"t0, t1, t2 and {len(topics) - 3} more" in said.text


def test_topics_are_asked_for_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(5)

    class Together(LogSource):
        def open(
            self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False
        ) -> LogReader:
            together.wait(timeout=WAIT_S)  # breaks unless all are here
            return super().open(positions, rows_per_commit=rows_per_commit, follow=follow)

    monkeypatch.setattr(
        room, "open_source", lambda stream, *_, **__: Together({}, topic=stream.name)
    )
    with lake_at(tmp_path, "127.0.0.1:9") as lake:
        found = statuses(lake, named("a", "b", "c", "d", "e"))
    assert {each.known().sources_waiting for each in found.values()} == {()}


def test_a_topic_of_which_nothing_says_where_it_is_hides_no_stream(tmp_path: Path) -> None:
    env = {"HEADRACE_STATE_DIR": str(tmp_path)}
    with Lake.open(Settings.load(env=env, path=ROOT / "lake" / "lake.toml")) as lake:
        found = statuses(lake, [*named("a"), make_stream("json")])
    assert found["a"].known().rows == 0  # what its tables say
    assert isinstance(found["a"].error, SettingsError)
    assert found["things"].is_whole


def test_a_broker_that_is_away_is_named_and_hides_no_topic_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ANSWER_S_MAX", ANSWER_S_MAX)  # the other one has to answer in time
    with MockKafka(2) as cluster:
        for topic, broker in (("here", 1), ("away", 2)):
            cluster.create(topic)
            cluster.lead(topic, 0, broker)
            cluster.produce(topic, [json_line(id="a")])
        cluster.down(2)
        with lake_at(tmp_path, cluster.servers) as lake:
            streams = {each.name: each for each in named("away", "here")}
            found = statuses(lake, streams.values())
            shown = read_streams(lake, streams, unreadable=(), of_flink=())
    assert found["here"].known().sources_waiting == ("here",)
    error = found["away"].silent
    assert error is not None
    assert error.partition == 0
    assert "the leader of partition 0, broker 2" in error.message
    assert [each.name for each in shown.unreadable] == ["stream away"]
    assert [each.waiting for each in shown.streams] == [None, 1]  # not 0: it is not known
