"""Claim: an event's value is online within 2 s where commits are made each second, and stays so for millions.

Files of events come ten times a second; `headrace ingest run --follow --every-s 1` commits them and
`headrace online follow` publishes each commit, as processes of their own on the same cores. Each file has
an event of one entity whose value is a number that counts up; a reader looks it up until it is there. What
is measured is the time from writing the file to the value in the store. The long form adds thousands of
other entities to each file: the lag of its last quarter is compared with that of its first.
"""

import datetime as dt
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.harness import Result, declare_lake, show

if TYPE_CHECKING:
    from headrace.serving.store import OnlineStore

P95_S_MAX = 2.0
GROWTH_S_MAX = 1.0
SECONDS, EVENTS = 60, 50  # of the short form, and events a file
EVENTS_OF_LONG, FILES_PER_S = 10_000_000, 10
RATE = int(os.environ.get("HEADRACE_EVENTS_PER_S", "40000"))  # of the long form
LONG = int(os.environ.get("HEADRACE_EVENTS", str(EVENTS_OF_LONG)))
_ENTITIES = 200_000
_WAIT_S = 90.0
_PROBE = 0  # the entity that is looked up
_VIEW = "raw.seen"
_STREAM = """
stream: seen
table: raw.seen
source: {files: "seen/*.jsonl", complete_files: true}
format: json
event_time: happened_at
known_at: ingested
fields:
  entity: {type: long, required: true}
  happened_at: {type: timestamptz, required: true}
  value: {type: long, required: true}
feature_view: {entity: [entity]}
"""


@dataclass(frozen=True, kw_only=True)
class Lags:
    """How long each value took until it was online, in the order of writing, and how many events came."""

    seconds: tuple[float, ...]
    events: int

    def quarter(self, number: int) -> float:
        """The median lag of a quarter of the time, in seconds."""
        length = len(self.seconds) // 4
        return statistics.median(self.seconds[number * length : (number + 1) * length])

    @property
    def p95(self) -> float:
        """The lag that 95 of 100 values did not exceed, in seconds."""
        return statistics.quantiles(self.seconds, n=20)[18]


def run(*, quick: bool) -> list[Result]:
    """Measure both stores for a minute, and one of them for as many events as `HEADRACE_EVENTS` says."""
    seconds = 8 if quick else SECONDS
    short = {name: measured(name, seconds=seconds, per_file=EVENTS) for name in ("sqlite", "redis")}
    per_file = RATE // FILES_PER_S
    events = 20 * per_file if quick else LONG
    long = measured("redis", seconds=max(1, events // RATE), per_file=per_file)
    rows = [{"": name, **_figures(found)} for name, found in short.items()]
    show(
        "seconds from an event to its value online",
        [*rows, {"": f"redis, {RATE:,} events/s", **_figures(long)}],
    )
    worst = max(found.p95 for found in short.values())
    growth = long.quarter(3) - long.quarter(0)
    return [
        Result(
            claim="online_freshness",
            value=worst,
            unit="s at the 95th percentile from event to online value, the slower of SQLite and Redis",
            peer="a commit each second",
            ratio=worst,
            target=f"value <= {P95_S_MAX}",
            holds=worst <= P95_S_MAX,
        ),
        Result(
            claim="online_lag",
            value=growth,
            unit=f"s of growth of the median lag from the first to the last quarter of {long.events:,} events",
            peer=f"{long.quarter(0):.2f} s in the first quarter, at {RATE:,} events/s",
            ratio=long.quarter(3) / long.quarter(0),
            target=f"value <= {GROWTH_S_MAX}",
            holds=growth <= GROWTH_S_MAX,
        ),
    ]


def _figures(found: Lags) -> dict[str, object]:
    return {
        "events": found.events,
        "p50": statistics.median(found.seconds),
        "p95": found.p95,
        "first quarter": found.quarter(0),
        "last quarter": found.quarter(3),
    }


def measured(store: str, *, seconds: int, per_file: int) -> Lags:
    """Write files for some seconds, each with `per_file` events, and see when each is online.

    Args:
        store: `sqlite` or `redis`.
        seconds: How long files are written.
        per_file: How many events each of the ten files a second has.

    Raises:
        AssertionError: If a value is not online in time, or a service ended.

    """
    with TemporaryDirectory(prefix="headrace-fresh-") as scratch, ExitStack() as stack:
        home = Path(scratch)
        declare_lake(scratch, profile='data_dir = "data"\n')
        (home / "data" / "seen").mkdir(parents=True)
        (home / "lake" / "streams").mkdir()
        (home / "lake" / "streams" / "seen.yaml").write_text(_STREAM)
        environment = {**os.environ, "HEADRACE_LAKE": str(home / "lake" / "lake.toml")}
        if store == "redis":
            environment["HEADRACE_ONLINE_STORE_URI"] = stack.enter_context(_redis(home / "redis"))
        write(home, number=0, per_file=per_file)
        _command(home, environment, "ingest", "run", "seen")
        _command(home, environment, "online", "publish", _VIEW)
        opened = stack.enter_context(_store(home, environment))
        services = [
            stack.enter_context(_service(home, environment, *words))
            for words in (
                ("ingest", "run", "seen", "--follow", "--every-s", "1"),
                ("online", "follow", _VIEW, "--every-ms", "50"),
            )
        ]
        return _watched(home, opened, services, count=seconds * FILES_PER_S, per_file=per_file)


def _watched(
    home: Path,
    store: "OnlineStore",
    services: Sequence["subprocess.Popen[str]"],
    *,
    count: int,
    per_file: int,
) -> Lags:
    written = {1: write(home, number=1, per_file=per_file)}
    ready = (
        threading.Event()
    )  # the first value is online: the start of the services is not measured

    def produce() -> None:
        ready.wait()
        begun = time.perf_counter()
        for number in range(2, count + 1):
            time.sleep(max(0.0, begun + (number - 1) / FILES_PER_S - time.perf_counter()))
            written[number] = write(home, number=number, per_file=per_file)

    producer = threading.Thread(target=produce)
    producer.start()
    lags: dict[int, float] = {}
    seen, deadline = 0, time.monotonic() + count / FILES_PER_S + _WAIT_S
    while seen < count:
        (row,) = store.get(_VIEW, [(_PROBE,)])
        now = time.perf_counter()
        value = 0 if row is None else row.values[0]
        assert isinstance(value, int)
        for number in range(seen + 1, value + 1):
            lags[number] = now - written[number]
        seen = max(seen, value)
        if seen:
            ready.set()
        if time.monotonic() > deadline or any(each.poll() is not None for each in services):
            ready.set()
            msg = f"{seen} of {count} values are online"
            raise AssertionError(msg)
        time.sleep(0.005)
    producer.join()
    return Lags(
        seconds=tuple(lags[number] for number in range(2, count + 1)), events=count * per_file
    )


def write(home: Path, *, number: int, per_file: int) -> float:
    """Let a file of events of now appear; return the moment, of the counter of performance."""
    now = dt.datetime.now(dt.UTC)
    first = number * per_file
    moments = (now - dt.timedelta(microseconds=per_file)).isoformat()
    others = (1 + (first + at) * 7919 % _ENTITIES for at in range(per_file - 1))
    lines = [f'{{"entity":{each},"happened_at":"{moments}","value":{number}}}\n' for each in others]
    lines.append(f'{{"entity":{_PROBE},"happened_at":"{now.isoformat()}","value":{number}}}\n')
    folder = home / "data" / "seen"
    draft = folder / f".{number}"
    draft.write_text("".join(lines))
    moment = time.perf_counter()
    draft.rename(folder / f"{number:08}.jsonl")
    return moment


@contextmanager
def _service(
    home: Path, environment: dict[str, str], *words: str
) -> Generator["subprocess.Popen[str]"]:
    with (home / f"{words[0]}.log").open("a") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("headrace")), *words],
            cwd=home,
            env=environment,
            stdout=log,
            stderr=log,
            text=True,
        )
    try:
        yield process
    except BaseException:
        shutil.copyfileobj((home / f"{words[0]}.log").open(), sys.stderr)
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _command(home: Path, environment: dict[str, str], *words: str) -> None:
    program = str(Path(sys.executable).with_name("headrace"))
    subprocess.run([program, *words], cwd=home, env=environment, check=True, capture_output=True)


def _store(home: Path, environment: dict[str, str]) -> "OnlineStore":
    from headrace.config import Settings
    from headrace.serving.open import open_store

    return open_store(Settings.load(env=environment, path=home / "lake" / "lake.toml"))


@contextmanager
def _redis(folder: Path) -> Generator[str]:
    from infra.launcher.redis import url
    from tests.redis_server import redis_server

    with redis_server(folder) as cluster:
        yield url(cluster)
