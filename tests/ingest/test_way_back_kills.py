"""Retry, reset and skip, killed at each boundary beside an ingester that runs: each record is there once."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.errors import LakeError
from headrace.ingest.audit import plan_audit, run_audit
from headrace.ingest.reset import apply_reset
from headrace.ingest.retry import apply_retry, apply_skip
from headrace.ingest.run import ingest
from headrace.ingest.status import status
from tests.ingest.factories import audit, make_stream, write_things
from tests.processes import exit_code, start

pytestmark = pytest.mark.proof

A = "things/a.csv"
KINDS = ["good", "missing", "good", "good", "yes"]
_COMMIT = ("commit.after_data_files", "commit.after_manifests", "commit.after_swap")
_UPDATES = tuple(
    f"updates.{where}_swap:{number}" for number in (1, 2) for where in ("before", "after")
)
RETRY = (
    *("retry.after_mark", "retry.after_rows", "retry.after_letters"),
    *_COMMIT,
    *(f"{point}:2" for point in _COMMIT),  # of the dead letters
    *_UPDATES,
)
RESET = (
    *("reset.after_mark", "reset.after_rows", "reset.after_letters"),
    *_COMMIT[1:],
    *(f"{point}:2" for point in _COMMIT[1:]),
    *_UPDATES,
)
SKIP = _UPDATES[:2]


def ingest_until(settings: Settings, stream: Stream, stop: Path) -> None:
    """Ingest again and again, as a scheduler does that goes on after errors."""
    with Lake.open(settings) as lake:
        while not stop.exists():
            try:
                ingest(lake, stream)
            except LakeError:
                time.sleep(0.01)


def retry(settings: Settings, stream: Stream) -> None:
    with Lake.open(settings) as lake:
        apply_retry(lake, stream, A)


def reset(settings: Settings, stream: Stream) -> None:
    with Lake.open(settings) as lake:
        apply_reset(lake, stream)


def skip(settings: Settings, stream: Stream) -> None:
    with Lake.open(settings) as lake:
        apply_skip(lake, stream, A)


def land(lake: Lake, name: str) -> None:
    """Put a file where ingesters see it whole: its name is another one while it is written."""
    write_things(lake.settings.data_dir, f"_{name}", KINDS, format_="csv")
    folder = lake.settings.data_dir / "things"
    (folder / f"_{name}.csv").rename(folder / f"{name}.csv")


@contextmanager
def ingester(lake: Lake, stream: Stream, stop: Path) -> Iterator[None]:
    process = start(ingest_until, lake.settings, stream, stop)
    try:
        yield
    finally:
        stop.touch()
        assert exit_code(process) == 0


def until_done(act: Callable[[Settings, Stream], None], settings: Settings, stream: Stream) -> None:
    """Do it again until it is done: an ingester may be faster a few times."""
    for _ in range(10):
        try:
            act(settings, stream)
        except LakeError:
            time.sleep(0.05)
        else:
            return
    act(settings, stream)


def play(
    lake: Lake, act: Callable[[Settings, Stream], None], *, stop: Path, point: str
) -> dict[str, int]:
    """Kill an act at a point while files land and are ingested; do it twice more, and count all records."""
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    with ingester(lake, stream, stop):
        for name in "bc":
            land(lake, name)
        killed = start(act, lake.settings, stream, crash_at=point)
        for name in "de":
            land(lake, name)
        assert exit_code(killed) == -9, "the crash point was never passed"
        land(lake, "f")
        for _ in range(2):
            until_done(act, lake.settings, stream)
        land(lake, "g")
    if A in status(lake, stream).sources_skipped:
        assert audit(lake, stream).get(A, 5) == 5
        apply_retry(lake, stream, A)
    ingest(lake, stream)
    assert not run_audit(lake, plan_audit(lake, stream)).wrong
    return audit(lake, stream)


ALL = {f"things/{name}.csv": 5 for name in "abcdefg"}


@pytest.mark.parametrize("point", RETRY)
def test_a_killed_retry_beside_an_ingester(lake: Lake, tmp_path: Path, point: str) -> None:
    assert play(lake, retry, stop=tmp_path / "stop", point=point) == ALL


@pytest.mark.parametrize("point", RESET)
def test_a_killed_reset_beside_an_ingester(lake: Lake, tmp_path: Path, point: str) -> None:
    assert play(lake, reset, stop=tmp_path / "stop", point=point) == ALL


@pytest.mark.parametrize("point", SKIP)
def test_a_killed_skip_beside_an_ingester(lake: Lake, tmp_path: Path, point: str) -> None:
    assert play(lake, skip, stop=tmp_path / "stop", point=point) == ALL
