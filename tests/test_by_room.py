"""Rooms and files whose fixtures or imports take seconds are run by one worker."""

from tests.by_room import TOGETHER, together
from tests.conftest import ROOT


def test_what_is_slow_to_load_goes_to_one_worker() -> None:
    assert all((ROOT / place).exists() for places in TOGETHER.values() for place in places)
    assert {together(f"tests/{room}/test_it.py::test_it") for room in ("dbt", "orchestration")} == {
        "dbt"
    }
    assert together("tests/serving/test_server.py::test_it") == "exporter"
    assert together("tests/dbt_else/test_a.py::test_it") is None
