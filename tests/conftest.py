"""Fixtures every room shares: a fresh, empty lake per test, and the lake that the demo leaves."""

import fcntl
import functools
import gc
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.api import Lake
from headrace.config import Settings
from tests.golden.golden import Golden
from tests.quick_libraries import quick_libraries
from tests.s3 import S3Place, s3_server

__all__ = ["quick_libraries"]

if TYPE_CHECKING:
    from xdist.remote import Producer

    from tests.by_room import ByRoom

ROOT = Path(__file__).resolve().parent.parent
_MEMORY, _ROOM_BYTES = Path("/dev/shm"), 8 * 1024**3  # a run takes half of it
_ALLOCATIONS = 50_000  # between collections of garbage: what tests make is in few cycles
# they import a framework or torch, start processes, or take 0.2 s of CPU a test and more
_SLOW_ROOMS = (
    "benchmarks",
    "browser",
    "cluster",
    "datasets",
    "dbt",
    "demo",
    "integrations",
    "interop",
    "loading",
    "maintenance/cleanup",
    "orchestration",
    "proofs",
    "protocol",
    "samples",
    "serving",
    "simulate",
    "ui",
)
_NOT_FAST = ("slow", "proof", "browser", "cluster", "flink")
# the demo, which its tests wait for, is ready when the proofs are through; what takes a worker most of
# a minute by itself does not begin when the others have nothing left
_LONGEST_FIRST = tuple(
    ROOT / "tests" / place
    for place in ("proofs", "demo/test_kill.py", "dbt", "demo/test_feed.py", "ui")
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that takes over what users read now into `tests/golden`."""
    parser.addoption("--update-golden", action="store_true", help="Write tests/golden anew.")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The files of what users read."""
    return Golden(update=bool(request.config.getoption("--update-golden")))


def pytest_configure() -> None:
    """Keep what tests write in memory, if there is room: waiting for disks to sync takes long.

    No example has a deadline: how long one takes depends on what else the machine does.
    """
    import hypothesis  # not for the processes that tests start

    hypothesis.settings.register_profile("no deadline", deadline=None)
    hypothesis.settings.load_profile("no deadline")
    if "TMPDIR" not in os.environ and _free_bytes(_MEMORY) >= _ROOM_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "ByRoom | None":
    """Give some rooms to one worker as a whole, where files go to one as a whole."""
    from tests.by_room import ByRoom  # xdist is not for the processes that tests start

    return ByRoom(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while test files import everything, nor ever walk through that again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(_ALLOCATIONS, *gc.get_threshold()[1:])
        gc.enable()


def _free_bytes(folder: Path) -> int:
    """Count the bytes that a folder in memory may still take."""
    try:
        room, about = os.statvfs(folder), Path("/proc/meminfo").read_text()
    except OSError:
        return 0
    available = re.search(r"^MemAvailable: +([0-9]+) kB$", about, re.MULTILINE)
    if available is None or not os.access(folder, os.W_OK):
        return 0
    return min(room.f_bavail * room.f_frsize, int(available[1]) * 1024)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the slow rooms out of a fast run: to import them alone takes seconds."""
    is_fast_run = config.getoption("markexpr") == "fast"
    return True if is_fast_run and is_in_slow_room(collection_path) else None


@functools.cache  # each of the thousands of tests asks, in every worker
def is_in_slow_room(path: Path) -> bool:
    """Whether all tests of a file are slow, because of the room they are in."""
    return any(path.is_relative_to(ROOT / "tests" / room) for room in _SLOW_ROOMS)


@functools.cache
def _is_in_cluster(path: Path) -> bool:
    return path.is_relative_to(ROOT / "tests" / "cluster")


@functools.cache
def _turn(path: Path) -> int:
    """When a file's turn comes: those that take longest are first."""
    places = (at for at, first in enumerate(_LONGEST_FIRST) if path.is_relative_to(first))
    return next(places, len(_LONGEST_FIRST))


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that workers end together; mark what is fast."""
    for item in items:
        if is_in_slow_room(item.path):
            item.add_marker("slow")
        if _is_in_cluster(item.path):
            item.add_marker("cluster")
        if not any(item.get_closest_marker(name) for name in _NOT_FAST):
            item.add_marker("fast")
    items.sort(key=lambda item: _turn(item.path))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of this repository's lake with all state in the test's own folder."""
    env = {"HEADRACE_STATE_DIR": str(tmp_path / "state")}
    return Settings.load(env=env, path=ROOT / "lake" / "lake.toml")


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    """An empty lake."""
    with Lake.open(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[S3Place]:
    """The bucket of a server that all tests of a process share."""
    with s3_server() as bucket:
        yield bucket


@pytest.fixture
def s3(s3_bucket: S3Place) -> S3Place:
    """A place on S3 of the test's own."""
    return s3_bucket.below("test")


@pytest.fixture
def s3_lake(s3: S3Place, tmp_path: Path) -> Iterator[Lake]:
    """An empty lake whose warehouse is on S3."""
    with Lake.open(s3.settings(tmp_path / "state-of-s3")) as opened:
        yield opened


@dataclass(frozen=True)
class DemoLake:
    """What one whole run of the demo left: settings to open it with, and what it printed.

    Tests may read it and run the demo on it again, which changes nothing; `environment` is what a
    process that works on it needs.
    """

    settings: Settings
    environment: Mapping[str, str]
    printed: str

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Let what runs in this process work on it, where a process of its own is not the claim."""
        enter(self.environment, patch)


@pytest.fixture(scope="session")
def demo_lake(tmp_path_factory: pytest.TempPathFactory) -> DemoLake:
    """The lake after `make demo`, built once for all workers of a test run."""
    shared = _shared_folder(tmp_path_factory)
    environment = demo_environment(shared / "demo")
    printed = _run_demo_once(shared)
    settings = Settings.load(env=environment, path=ROOT / "lake" / "lake.toml")
    return DemoLake(settings, environment, printed.read_text())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin the demo in the background: every worker would wait for it at some time."""
    is_wanted = any("demo_lake" in getattr(item, "fixturenames", ()) for item in session.items)
    if is_wanted and os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
        factory: pytest.TempPathFactory = session.config._tmp_path_factory  # pyright: ignore[reportAttributeAccessIssue]  (of a plugin)
        shared = _shared_folder(factory)
        threading.Thread(target=_run_demo_once, args=(shared,), daemon=True).start()


def _shared_folder(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def _run_demo_once(shared: Path) -> Path:
    environment, printed = demo_environment(shared / "demo"), shared / "demo.txt"
    with (shared / "demo.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not printed.exists():
            done = subprocess.run(
                [sys.executable, "-m", "demo.run"],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=900,  # minutes of a busy CPU: this is against hanging
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            printed.write_text(done.stdout)
    return printed


def enter(environment: Mapping[str, str], patch: pytest.MonkeyPatch) -> None:
    """Give this process what `demo_environment` says to another one."""
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        patch.delenv(name)
    for name, value in environment.items():
        if name.startswith("HEADRACE_") or name == "COLUMNS":
            patch.setenv(name, value)
    patch.chdir(ROOT)


def quick_start() -> list[str]:
    """Read the commands of the README's quick start, without their comments."""
    text = (ROOT / "README.md").read_text()
    block = text.split("## Quick start")[1].split("```bash\n")[1].split("```")[0]
    return [line.split("#")[0].strip() for line in block.splitlines()]


def demo_environment(state_dir: Path) -> dict[str, str]:
    """Return this process's environment with the repository's lake and another state folder."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
    # the second act has tests of its own, on fewer impressions
    mine["HEADRACE_FEED_IMPRESSIONS"] = "0"
    return {**mine, "HEADRACE_STATE_DIR": str(state_dir), "COLUMNS": "120"}
