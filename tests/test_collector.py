"""Processes of one command bother Python's garbage collector little."""

import gc
import sys
from collections.abc import Iterator

import pytest

from demo import run as demo
from headrace.cli.main import run
from headrace.collector import one_command


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    """Begin with nothing permanent, and leave all of it so, as the other tests find it."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_a_command_collects_seldom_and_leaves_nothing_to_look_through() -> None:
    before = gc.get_threshold()
    with one_command():
        assert gc.isenabled()
        assert gc.get_threshold() == (10_000, *before[1:])
        assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() > 10_000


def test_the_command_line_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["headrace", "--help"])
    with pytest.raises(SystemExit, match="0"):
        run()
    assert gc.get_freeze_count() > 10_000


def test_the_demo_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", "/nowhere/lake.toml")  # it ends at once
    assert demo.main() == 1
    assert gc.get_freeze_count() > 10_000
