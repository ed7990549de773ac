"""Rooms whose fixtures or imports take seconds are run by one worker."""

from tests.by_room import WHOLE, room_of
from tests.conftest import ROOT


def test_files_of_a_room_that_is_slow_to_load_go_to_one_worker() -> None:
    assert all((ROOT / room).is_dir() for room in WHOLE)
    assert {room_of(f"tests/dbt/{file}.py::test_it") for file in "ab"} == {"tests/dbt"}
    assert room_of("tests/dbt_else/test_a.py::test_it") is None
