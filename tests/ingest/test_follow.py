"""Streams that are followed: what comes is committed in time, and a stop or a failure loses nothing."""

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace import clock
from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import (
    CatalogBusyError,
    FencedError,
    RecordsRefusedError,
    TopicUnreachableError,
    UnknownFieldsError,
)
from headrace.ingest import follow as following
from headrace.ingest import progress as reports
from headrace.ingest import refused_window
from headrace.ingest.cadence import Cadence, Pressure
from headrace.ingest.follow import follow
from headrace.ingest.open_batch import Committed
from headrace.ingest.progress import Phase, Progress
from headrace.ingest.recent import acknowledge
from headrace.ingest.run import ingest
from headrace.ingest.service import follow_all
from headrace.ingest.sources.base import Reader, Source
from headrace.registry.measures import MAINTENANCE_ASKED_MS
from headrace.standing.facts import StreamStanding
from headrace.standing.streams import read_streams
from tests.ingest.factories import dead_of, json_line, make_stream, rows_of
from tests.ingest.log_source import Entry, Log, LogSource
from tests.waiting import WAIT_S, wait_until

pytestmark = pytest.mark.slow

STREAM = make_stream("json")
FAST = Cadence(seconds=0.05)


@dataclass
class Heard:
    """A listener that keeps what it is told."""

    progress: dict[str, Progress] = field(default_factory=dict[str, Progress])
    commits: list[Committed] = field(default_factory=list[Committed])
    codes: list[str] = field(default_factory=list[str])

    def changed(self, progress: Progress) -> None:
        self.progress[progress.stream] = progress

    def committed(self, stream: str, done: Committed, *, seconds: float) -> None:
        assert stream and seconds >= 0
        self.commits.append(done)

    def failed(self, stream: str, code: str) -> None:
        assert stream
        self.codes.append(code)


@dataclass
class Running:
    """A stream that is followed in another thread."""

    stop: threading.Event
    heard: Heard
    future: Future[Progress]

    def until(self, condition: Callable[[], bool]) -> None:
        assert wait_until(lambda: condition() or self.future.done(), seconds=WAIT_S)
        if not condition():
            self.future.result()
        assert condition()

    def end(self) -> Progress:
        self.stop.set()
        return self.future.result(timeout=WAIT_S)


@contextmanager
def followed(
    lake: Lake, source: Source | None, *, stream: Stream = STREAM, cadence: Cadence = FAST
) -> Generator[Running]:
    stop, heard = threading.Event(), Heard()

    def run() -> Progress:
        with Lake.open(lake.settings) as own:
            return follow(own, stream, stop=stop, cadence=cadence, listeners=[heard], source=source)

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(run)
        try:
            yield Running(stop, heard, future)
        finally:
            stop.set()


def things(first: int, count: int) -> list[bytes]:
    return [json_line(id=f"{at}") for at in range(first, first + count)]


def count(lake: Lake, stream: Stream = STREAM) -> int:
    return rows_of(lake, stream).num_rows if lake.exists(stream.table) else 0


def test_what_comes_to_old_and_new_partitions_is_committed_until_the_stop(lake: Lake) -> None:
    log = LogSource({0: Log(entries=(), end=0)})
    with followed(lake, log) as running:
        log.grow(0, things(0, 5))
        running.until(lambda: count(lake) == 5)
        log.grow(1, [*things(5, 3), b"{"])
        log.grow(0, things(8, 2))
        running.until(lambda: count(lake) == 10)
        done = running.end()
    assert (done.rows, done.dead_letters, done.phase) == (10, 1, Phase.STOPPED)
    assert dead_of(lake, STREAM).num_rows == 1
    assert sorted(rows_of(lake, STREAM)["id"].to_pylist(), key=int) == [str(n) for n in range(10)]
    assert ingest(lake, STREAM, source=log).commits == 0
    assert log.open_readers == 0


def test_a_stop_commits_what_was_read_and_not_yet_due(lake: Lake) -> None:
    log = LogSource({0: Log(entries=[], end=0)})
    log.grow(0, things(0, 5))
    with followed(lake, log, cadence=Cadence(seconds=3600)) as running:
        assert wait_until(lambda: log.newest is not None and not log.behind(), seconds=WAIT_S)
        assert count(lake) == 0
        assert running.end().commits == 1
    assert count(lake) == 5


def test_a_file_that_the_contract_may_still_refuse_is_committed_whole_or_not_at_all(
    lake: Lake,
) -> None:
    stream = make_stream("json", unknown_fields="refuse")
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    long = [json_line(id=f"{at:0900000}") for at in range(40)]  # more than is read at once
    (folder / "a.jsonl").write_bytes(b"\n".join(long) + b"\n")
    (folder / "b.jsonl").write_bytes(b"\n".join([*long, json_line(new=1)]) + b"\n")
    often = Cadence(seconds=3600, rows=1)
    with (
        followed(lake, None, stream=stream, cadence=often) as running,
        pytest.raises(UnknownFieldsError),
    ):
        running.future.result(timeout=WAIT_S)
    assert (count(lake, stream), len(running.heard.commits)) == (40, 1)


def test_what_waited_for_a_service_that_was_killed_is_committed_soon_after_its_start(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogSource({0: Log(entries=[], end=0)})
    log.grow(0, things(0, 5))
    ingest(lake, STREAM, source=log)
    log.grow(0, things(5, 5))
    with followed(lake, log, cadence=Cadence(seconds=3600)) as running:  # its commit is of now
        assert not wait_until(lambda: count(lake) > 5, seconds=2 * following.FIRST_COMMIT_S)
        running.stop.set()
    log.grow(0, things(10, 5))
    real = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: real() + 7_200_000)
    with followed(lake, log, cadence=Cadence(seconds=3600)) as running:
        running.until(lambda: count(lake) == 15)
        assert running.end().commits == 1
    monkeypatch.setattr(clock, "now_ms", lambda: real() + 14_400_000)
    monkeypatch.setattr(following, "FIRST_COMMIT_S", 0.05)
    with followed(lake, log, cadence=Cadence(seconds=3600)) as running:
        running.until(lambda: log.open_readers == 1)
        time.sleep(0.2)  # as where brokers are slow to give the first record
        log.grow(0, things(15, 5))
        running.until(lambda: count(lake) == 20)
        assert running.end().commits == 1


@pytest.mark.parametrize(
    "cadence",
    [Cadence(seconds=3600, rows=10), Cadence(seconds=3600, bytes=2_000)],
    ids=["rows", "bytes"],
)
def test_a_commit_is_due_by_rows_and_by_bytes_too(lake: Lake, cadence: Cadence) -> None:
    log = LogSource({at: Log(entries=[], end=0) for at in range(4)})
    for at in range(4):
        log.grow(at, things(10 * at, 10))
    with followed(lake, log, cadence=cadence) as running:
        running.until(lambda: count(lake) >= 10)
        running.end()
    sizes = [done.rows.rows_added for done in running.heard.commits]
    assert all(10 <= size < 20 for size in sizes[:-1])
    assert len(running.heard.commits[0].taken) == 4  # one commit holds all partitions
    ingest(lake, STREAM, source=log)
    assert count(lake) == 40


def test_files_are_followed_and_each_is_taken_once(lake: Lake) -> None:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(b"".join(line + b"\n" for line in things(0, 3)))
    with followed(lake, None) as running:
        running.until(lambda: count(lake) == 3)
        (folder / "b.jsonl").write_bytes(b"".join(line + b"\n" for line in things(3, 2)))
        running.until(lambda: count(lake) == 5)
        assert running.end().commits == 2


class _Failing(LogSource):
    """A log whose reader fails with an error that may pass, some times."""

    failures = 2

    def open(self, *args: object, **kwargs: object) -> Reader:  # pyright: ignore
        reader = super().open(*args, **kwargs)  # pyright: ignore
        if self.failures:
            self.failures -= 1
            raise CatalogBusyError("raw.things", attempts=12)
        return reader


def test_an_error_that_may_pass_is_retried_from_the_table(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_RETRY_S_MAX", 0.01)
    log = _Failing({0: Log(entries=[], end=0)})
    log.grow(0, things(0, 4))
    with followed(lake, log) as running:
        running.until(lambda: count(lake) == 4)
        done = running.end()
    assert running.heard.codes == ["catalog-busy"] * 2
    assert (done.rows, done.error_code) == (4, "")


def test_a_source_that_does_not_answer_is_an_error_until_it_answers_and_the_stream_is_behind(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is not known: neither lag nor age may say that all is taken."""
    monkeypatch.setattr(following, "_REPORT_S", 0.01)
    log = LogSource({0: Log(entries=[], end=0)})
    log.grow(0, things(0, 4))
    with followed(lake, log) as running:

        def said() -> Progress:
            return running.heard.progress[STREAM.name]

        running.until(lambda: count(lake) == 4 and said().phase is Phase.FOLLOWING)
        log.unreachable = TopicUnreachableError("things", servers="here:1", detail="refused")
        running.until(lambda: said().phase is Phase.RETRYING and said().behind_s > 0.05)
        assert (said().error_code, "here:1" in said().error) == ("topic-unreachable", True)
        told = reports.read(lake.settings, STREAM.name)
        assert told is not None and told.error_code == "topic-unreachable"
        log.unreachable = None
        log.grow(0, things(4, 4))
        running.until(lambda: count(lake) == 8 and said().phase is Phase.FOLLOWING)
        assert (said().error_code, said().error) == ("", "")
        running.end()
    assert running.heard.codes == ["topic-unreachable"]


def test_a_stream_that_fails_does_not_stop_the_others(lake: Lake) -> None:
    good, bad = make_stream("json"), make_stream("json", stream="bad", table="raw.bad")
    logs = {name: LogSource({0: Log(entries=[], end=0)}) for name in ("things", "bad")}
    logs["bad"].logs[0] = Log(entries=[Entry(1, b"{"), Entry(0, b"{")], end=2)  # backwards
    logs["things"].grow(0, things(0, 2))
    stop, failures = threading.Event(), list[str]()
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(
            follow_all,
            lake.settings,
            [good, bad],
            stop=stop,
            cadence_of=lambda _: FAST,
            source_of=lambda stream: logs[stream.name],
            failed=lambda name, error: failures.append(f"{name} {error.code}"),
        )
        assert wait_until(lambda: bool(failures), seconds=WAIT_S)
        logs["things"].grow(0, things(2, 3))
        assert wait_until(lambda: count(lake, good) == 5, seconds=WAIT_S)
        stop.set()
        done = future.result(timeout=WAIT_S)
    assert failures == ["bad source-order"]
    assert (done.progress["things"].rows, list(done.errors)) == (5, ["bad"])
    said = {name: reports.read(lake.settings, name) for name in ("things", "bad")}
    assert {name: each and each.phase for name, each in said.items()} == {
        "things": Phase.STOPPED, "bad": Phase.FAILED,
    }  # fmt: skip


def test_a_thread_that_cannot_start_stops_the_streams_that_are_followed(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, stop = ThreadPoolExecutor.submit, threading.Event()

    def submit(pool: ThreadPoolExecutor, work: Any, stream: Any) -> Any:  # noqa: ANN401  (of `ThreadPoolExecutor.submit`)
        if stream.name == "more":
            raise RuntimeError("can't start new thread")
        return plain(pool, work, stream)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    streams = [make_stream("json"), make_stream("json", stream="more", table="raw.more")]
    with pytest.raises(RuntimeError):
        follow_all(
            lake.settings,
            streams,
            stop=stop,
            cadence_of=lambda _: FAST,
            source_of=lambda _: LogSource({0: Log(entries=(), end=0)}),
        )
    assert stop.is_set()


def test_a_second_service_is_fenced_and_ends(lake: Lake) -> None:
    log = LogSource({0: Log(entries=[], end=0)})
    log.grow(0, things(0, 2))
    with followed(lake, log, cadence=Cadence(seconds=3600)) as running:
        assert wait_until(lambda: log.newest is not None and not log.behind(), seconds=WAIT_S)
        ingest(lake, STREAM, source=_Copy(log))
        with pytest.raises(FencedError):
            running.end()
    assert count(lake) == 2
    assert running.heard.progress["things"].error_code == "fenced"


def test_a_service_that_ends_after_it_fenced_another_leaves_a_stream_that_nothing_follows(
    lake: Lake,
) -> None:
    log = LogSource({0: Log(entries=[], end=0)})
    log.grow(0, things(0, 2))

    def read() -> StreamStanding:
        return read_streams(lake, {"things": STREAM}, unreadable=(), of_flink=()).streams[0]

    with followed(lake, log, cadence=Cadence(seconds=3600)) as first:
        assert wait_until(lambda: log.newest is not None and not log.behind(), seconds=WAIT_S)
        with followed(lake, _Copy(log)) as second:
            second.until(lambda: count(lake) == 2)
            with pytest.raises(FencedError):
                first.end()
            second.until(lambda: bool(second.heard.progress["things"].former_error))
            assert (read().service, read().stopped_at) == ("following", None)
            second.end()
    left = read()
    assert (left.service, left.stopped_at is not None) == ("stopped", True)
    assert "UTC with fenced: another writer advanced" in left.former
    log.grow(0, [json_line(id="later", at="2019-11-25T08:00:00Z")])
    ingest(lake, STREAM, source=_Copy(log))  # runs take it from now on
    assert read().stopped_at is None


def test_what_ended_a_service_is_not_lost_beside_a_report_of_another(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Progress(stream="things", pid=1, phase=Phase.FAILED, error_code="fenced", error="why")
    other, beside = Progress(stream="things", pid=2), list[threading.Thread]()
    plain = reports.read

    def while_another_ends(of: Settings, stream: str) -> Progress | None:
        found = plain(of, stream)
        if not beside:
            beside.append(threading.Thread(target=reports.report, args=(of, ended)))
            beside[0].start()
            beside[0].join(0.2)  # without turns it is done by then, and lost
        return found

    monkeypatch.setattr(reports, "read", while_another_ends)
    reports.report(settings, other)
    beside[0].join(WAIT_S)
    assert reports.report(settings, other).former_error == "fenced: why"


class _Copy(LogSource):
    def __init__(self, log: LogSource) -> None:
        super().__init__(log.logs)


def test_a_flood_of_refusals_stops_the_stream_at_the_same_count_after_a_restart(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 13: everything becomes a dead letter and the stream stays green; limits forget at a restart."""
    monkeypatch.setattr(refused_window, "WINDOW_RECORDS", 40)
    log = LogSource({0: Log(entries=[], end=0)})
    log.grow(0, [b"{"] * 30)
    with followed(lake, log) as running:
        running.until(lambda: bool(running.heard.commits))
        running.end()
    log.grow(0, [b"{"] * 10)
    for _ in range(2):  # it remembers, and does not go on by itself
        with followed(lake, log) as running, pytest.raises(RecordsRefusedError) as raised:
            running.future.result(timeout=WAIT_S)
        assert (raised.value.records, raised.value.refused) == (40, 40)
    assert dead_of(lake, STREAM).num_rows == 40
    acknowledge(lake, STREAM)
    log.grow(0, things(0, 3))
    with followed(lake, log) as running:
        running.until(lambda: count(lake) == 3)
        running.end()


def test_a_host_clock_a_day_back_is_such_a_flood(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 13: a host whose clock is wrong refuses every record as of the future."""
    monkeypatch.setattr(refused_window, "WINDOW_RECORDS", 20)
    soon = (datetime.now(UTC) + timedelta(days=1, minutes=5)).isoformat()
    log = LogSource({0: Log(entries=[], end=0)})
    log.grow(0, [json_line(id=f"{at}", at=soon) for at in range(20)])
    with followed(lake, log) as running, pytest.raises(RecordsRefusedError):
        running.future.result(timeout=WAIT_S)
    assert set(dead_of(lake, STREAM)["error_code"].to_pylist()) == {"future_time"}


def test_a_partition_that_becomes_idle_moves_the_watermark_without_records(lake: Lake) -> None:
    stream = make_stream("json", idle_after="300ms", allowed_lateness="0s")
    log = LogSource({0: Log(entries=[], end=0)})
    log.grow(0, [json_line(id="a", at="2019-11-24T08:00:00Z")])
    log.grow(1, [json_line(id="b", at="2019-11-24T12:00:00Z")])
    with followed(lake, log, stream=stream) as running:
        running.until(lambda: len(running.heard.commits) >= 2)
        done = running.end()
    assert done.watermark_us == int(datetime(2019, 11, 24, 12, tzinfo=UTC).timestamp() * 10**6)
    assert (len(running.heard.commits), done.rows) == (2, 2)


def test_a_table_behind_with_maintenance_slows_commits_and_asks_for_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_PRESSURE_COMMITS", 1)
    monkeypatch.setattr("headrace.ingest.cadence.SMALL_FILES_MAX", 2)
    log = LogSource({0: Log(entries=[], end=0)})
    with followed(lake, log, cadence=Cadence(seconds=0.05)) as running:
        for at in range(3):
            log.grow(0, things(at, 1))
            running.until(lambda at=at: count(lake) == at + 1)
        running.until(lambda: running.heard.progress["things"].stretch == 2)
        running.end()
    assert "small files" in running.heard.progress["things"].stretch_reason
    assert MAINTENANCE_ASKED_MS in lake.registry.measures(str(STREAM.table))


def test_pressure_is_judged_by_files_and_snapshots_and_passes(lake: Lake) -> None:
    ingest(lake, STREAM, source=LogSource({0: Log(entries=[Entry(0, json_line())], end=1)}))
    metadata = lake.table(STREAM.table).iceberg().metadata
    assert Pressure.of(metadata, target_bytes=10**9, snapshots_kept=100) == Pressure()
    tight = Pressure.of(metadata, target_bytes=10**9, snapshots_kept=0.25)  # pyright: ignore
    assert (tight.stretch, tight.reason) == (2, "1 snapshots")
    assert Cadence(seconds=1, rows=5, bytes=7).stretched(4) == Cadence(seconds=4, rows=20, bytes=7)


def test_a_report_says_the_lag_of_each_partition_and_is_stale_without_its_service(
    lake: Lake,
) -> None:
    """Row 29: a lag below zero, or one of a service that is gone."""
    log = LogSource({at: Log(entries=[], end=0) for at in range(2)})
    log.grow(1, things(0, 4))
    with followed(lake, log) as running:
        running.until(lambda: count(lake) == 4)
        running.end()
    said = reports.read(lake.settings, "things")
    assert said is not None
    assert (dict(said.lag), said.phase) == ({"things": 0, "things//1": 0}, Phase.STOPPED)
    assert not said.is_live
    live = replace(said, phase=Phase.FOLLOWING)
    assert live.is_live
    vanished = replace(live, updated_ms=live.updated_ms - 100_000)
    assert (vanished.is_live, vanished.phase_now) == (False, "vanished")
    reports.file_of(lake.settings, "things").write_text("{")
    assert reports.read(lake.settings, "things") is None
