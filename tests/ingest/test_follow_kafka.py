"""A topic that is followed: killed, resumed, with records lost to retention; audited by the tables alone."""

import os
import signal
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import OffsetGapError
from headrace.ingest import dead_letters
from headrace.ingest.audit import plan_audit, run_audit
from headrace.ingest.letters import groups
from headrace.ingest.replay import replay
from headrace.ingest.run import ingest
from headrace.ingest.sources.holes import AcceptedGap
from headrace.ingest.sources.open import open_source
from tests.conftest import ROOT
from tests.ingest.factories import dead_of, json_line, make_stream, rows_of
from tests.mock_kafka import MockKafka
from tests.processes import CONTEXT, exit_code
from tests.raising import refused
from tests.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.slow

TOPIC = "things"
STREAM = make_stream("json", source={"kafka": {"topic": TOPIC}}, idle_after="1s")


def settings_of(state: Path, servers: str) -> Settings:
    env = {"HEADRACE_STATE_DIR": str(state), "HEADRACE_KAFKA_SERVERS": servers}
    return Settings.load(env=env, path=ROOT / "lake" / "lake.toml")


def values(first: int, count: int) -> list[bytes | None]:
    """Good records, and every fifth a bad one."""
    return [b"{" if at % 5 == 2 else json_line(id=f"{at}") for at in range(first, first + count)]


def _follow(state: Path, servers: str, crash_at: str) -> None:
    from headrace.ingest.cadence import Cadence
    from headrace.ingest.follow import follow

    if crash_at:
        os.environ["HEADRACE_CRASH_AT"] = crash_at
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with Lake.open(settings_of(state, servers)) as lake:
        follow(lake, STREAM, stop=stop, cadence=Cadence(seconds=0.2, rows=20))


def start(state: Path, cluster: MockKafka, *, crash_at: str = "") -> BaseProcess:
    process = CONTEXT.Process(target=_follow, args=(state, cluster.servers, crash_at), daemon=True)
    process.start()
    return process


def taken(lake: Lake) -> int:
    if not (lake.exists(STREAM.table) and lake.exists(dead_letters.TABLE)):  # made one by one
        return 0
    return rows_of(lake, STREAM).num_rows + dead_of(lake, STREAM).num_rows


def verdicts(lake: Lake, stream: Stream = STREAM) -> list[tuple[int, int, str]]:
    found = run_audit(lake, plan_audit(lake, stream)).partitions
    return [(each.partition, each.consumed, each.verdict) for each in found]


def test_a_topic_followed_by_services_that_are_killed_is_taken_once_and_audited(
    tmp_path: Path,
) -> None:
    with MockKafka() as cluster:
        cluster.create(TOPIC, partitions=3)
        settings = settings_of(tmp_path, cluster.servers)
        with Lake.open(settings) as lake:
            for turn, point in enumerate(("ingest.after_dead_letters:2", "commit.after_swap:3")):
                for partition in range(3):
                    cluster.produce(TOPIC, values(30 * turn, 30), partition=partition)
                killed = start(tmp_path, cluster, crash_at=point)
                assert exit_code(killed) == -9
            service = start(tmp_path, cluster)
            assert wait_until(lambda: taken(lake) == 180, seconds=WAIT_S), taken(lake)
            cluster.produce(TOPIC, values(60, 5), partition=1)
            assert wait_until(lambda: taken(lake) == 185, seconds=WAIT_S), taken(lake)
            assert service.pid is not None
            os.kill(service.pid, signal.SIGTERM)
            assert exit_code(service) == 0
            assert verdicts(lake) == [(0, 60, "exact"), (1, 65, "exact"), (2, 60, "exact")]
            assert sum(each.count for each in groups(lake, STREAM)) == 3 * 12 + 1
            assert replay(lake, STREAM).rows == 0  # still no JSON


def test_records_lost_to_retention_stop_the_stream_until_the_gap_is_accepted_and_recorded(
    tmp_path: Path,
) -> None:
    with MockKafka() as cluster:
        cluster.create(TOPIC, partitions=2)
        with Lake.open(settings_of(tmp_path, cluster.servers)) as lake:
            cluster.produce(TOPIC, values(0, 10), partition=0)
            ingest(lake, STREAM)
            cluster.produce(TOPIC, values(10, 20), partition=0)
            cluster.produce(TOPIC, values(0, 10), partition=1)
            cluster.delete_records(TOPIC, 0, 25)
            with pytest.raises(OffsetGapError) as raised:
                ingest(lake, STREAM)
            assert (raised.value.partition, raised.value.first, raised.value.end) == (0, 10, 25)
            assert raised.value.remedy is not None
            line = "headrace ingest run things --accept-gap 0:10-25"
            assert raised.value.remedy.line == line
            accepted = [AcceptedGap(0, 10, 25)]
            ingest(lake, STREAM, source=open_source(STREAM, lake.settings, accepted=accepted))
            assert verdicts(lake) == [(0, 30, "exact"), (1, 10, "exact")]
            properties = lake.table(STREAM.table).head().properties
            assert f'"{TOPIC}:10-25"' in properties["headrace.gaps.things"]
            assert ingest(lake, STREAM).commits == 0
            # nothing is left after what is lost
            cluster.produce(TOPIC, values(10, 5), partition=1)
            cluster.delete_records(TOPIC, 1, 15)
            with refused(OffsetGapError, partition=1, first=10, end=15):
                ingest(lake, STREAM)
            accepted = [AcceptedGap(1, 10, 15)]
            ingest(lake, STREAM, source=open_source(STREAM, lake.settings, accepted=accepted))
            assert ingest(lake, STREAM).commits == 0
            assert verdicts(lake) == [(0, 30, "exact"), (1, 15, "exact")]


def test_framed_values_evolve_and_are_replayed_as_they_were(tmp_path: Path) -> None:
    source = {"kafka": {"topic": TOPIC, "framing": "registry"}}
    strict = make_stream("json", source=source, unknown_fields="dead_letter")
    evolving = make_stream("json", source=source, unknown_fields="evolve")
    framed = [b"\x00\x00\x00\x00\x07" + json_line(id=f"{at}", new=at) for at in range(3)]
    with MockKafka() as cluster:
        cluster.create(TOPIC)
        with Lake.open(settings_of(tmp_path, cluster.servers)) as lake:
            cluster.produce(TOPIC, framed[:1], key=b"k", headers=[("h", None)])
            assert ingest(lake, strict).dead_letters == 1
            cluster.produce(TOPIC, [*framed[1:], None])
            assert ingest(lake, evolving).rows == 2
            done = replay(lake, evolving)
            assert (done.rows, done.refused) == (1, {"tombstone": 1})
            assert sorted(rows_of(lake, evolving)["new"].to_pylist()) == [0, 1, 2]
            assert verdicts(lake, evolving) == [(0, 4, "exact")]
