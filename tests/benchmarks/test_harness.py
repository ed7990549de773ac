"""The harness: turns, costs, memory, failures, and the recorded line."""

import json
from pathlib import Path

import pytest

from benchmarks.harness import Contender, ContenderFailedError, Result, measure, record
from benchmarks.run import claims, main

MODULE = "tests.benchmarks.contenders"


def _contender(called: str, function: str, **arguments: object) -> Contender:
    return Contender(name=called, module=MODULE, function=function, arguments=arguments)


def test_contenders_take_turns_and_change_who_goes_first(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    both = [_contender(name, "counts", log=log, name=name) for name in ("a", "b")]
    found = measure(both, rounds=3)
    assert Path(log).read_text().split() == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert found["a"].figure("number") == 2


def test_cpu_and_duration_are_told_apart() -> None:
    found = measure([_contender("burns", "burns", cpu_s=0.1)], rounds=3)["burns"]
    assert 0.1 <= found.cpu_s < 0.2 <= found.wall_s


def test_peak_memory_is_that_of_the_contenders_own_process() -> None:
    both = [_contender("small", "holds", mib=1), _contender("large", "holds", mib=200)]
    found = measure(both, rounds=2)
    assert 150 < found["large"].peak_rss_mib - found["small"].peak_rss_mib < 250


def test_a_contender_that_fails_is_named() -> None:
    with pytest.raises(ContenderFailedError, match="`fails`"):
        measure([_contender("fails", "fails")], rounds=1)


def test_a_result_is_recorded_as_one_line(tmp_path: Path) -> None:
    result = Result(
        claim="speed", value=1.23456, unit="ms", peer="slow", ratio=0.5, target="<= 1", holds=True
    )
    record("speed", [result], folder=tmp_path)
    (line,) = (tmp_path / "speed.json").read_text().splitlines()
    written = json.loads(line)
    assert list(written) == [
        "claim",
        "value",
        "unit",
        "peer",
        "ratio",
        "target",
        "holds",
        "machine",
    ]
    assert written["value"] == 1.235
    assert written["machine"]["cores"] >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]


def test_every_claim_is_a_choice_and_others_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "commit_cost" in claims()
    with pytest.raises(SystemExit):
        main(["no_such_claim"])
    assert "commit_cost" in capsys.readouterr().err
