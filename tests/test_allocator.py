"""Memory that was freed goes back to the system, where the C library keeps it."""

import pytest

from headrace import allocator


def test_the_c_library_is_asked_to_give_back_all(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    class Library:
        malloc_trim = staticmethod(kept.append)

    monkeypatch.setattr(allocator, "_library", Library)
    allocator.give_back()
    assert kept == [0]


def test_a_c_library_without_that_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_library", object)
    allocator.give_back()


def test_this_process_has_a_c_library_to_ask() -> None:
    allocator.give_back()
