"""Processes of one command bother Python's garbage collector little."""

import gc
import sys
from collections.abc import Iterator

import pytest

from demo import run as demo
from headrace.cli.main import run
from headrace.collector import many_objects, one_command


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


def test_blocks_of_many_objects_overlap_and_the_last_one_restores() -> None:
    """In threads they end in any order, also by errors; a collector that is off stays off."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    first, second = many_objects(), many_objects()
    try:
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert gc.get_threshold() == (500_000, 10, 10)
        with pytest.raises(KeyError), many_objects():
            raise KeyError
        second.__exit__(None, None, None)
        assert gc.get_threshold() == (700, 10, 10)
        gc.set_threshold(0, 10, 10)
        with many_objects():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
