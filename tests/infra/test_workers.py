"""How many TaskManagers of Flink the launcher starts, and how many slots each has."""

import pytest

from infra.launcher import run
from infra.launcher.errors import LauncherError
from infra.launcher.flink import SLOTS, workers_and_slots


@pytest.mark.parametrize(
    ("said", "found"), [("", (1, 4)), ("6", (1, 6)), ("2x4", (2, 4)), ("8x16", (8, 16))]
)
def test_one_setting_says_how_many_workers_and_slots_there_are(
    monkeypatch: pytest.MonkeyPatch, said: str, found: tuple[int, int]
) -> None:
    monkeypatch.setenv(SLOTS, said)
    assert workers_and_slots() == found


@pytest.mark.parametrize("said", ["0", "x4", "2x", "2x0", "0x4", "9x1", "-1", "2 x 4", "four"])
def test_a_setting_that_says_neither_is_named(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(SLOTS, said)
    with pytest.raises(LauncherError, match=f"{SLOTS} is `{said}`: set it to .* as 2x4"):
        run.only(["flink_worker"])


def test_all_workers_are_started_with_the_first_unless_that_one_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SLOTS, "3x2")
    names = [each.name for each in run.only(["flink", "flink_worker", "flink_gateway"])]
    further = ["flink_worker_2", "flink_worker_3"]
    assert names == ["flink", "flink_worker", "flink_gateway", *further]
    assert {run.by_name(name) for name in further} <= set(run.FURTHER)
    ports = [port for each in run.only(["flink_worker"]) for port in each.ports]
    assert len(set(ports)) == len(ports) == 6
    monkeypatch.setenv("HEADRACE_FLINK_WORKER_URL", "host:1")
    assert [each.name for each in run.only(["flink_worker"])] == ["flink_worker"]
