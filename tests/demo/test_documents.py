"""With `--output json`, stdout is one document whatever runs inside of a command, dbt included."""

import json
import sys

import pytest

from headrace.cli.main import run
from tests.conftest import DemoLake


def test_a_build_by_dbt_and_a_status_after_it_are_one_document_each(
    demo_lake: DemoLake, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    demo_lake.enter(monkeypatch)
    told = None
    for words in (("features", "build"), ("status",)):
        monkeypatch.setattr(sys, "argv", ["headrace", *words, "--output", "json"])
        with pytest.raises(SystemExit) as ended:
            run()
        assert not ended.value.code
        told = json.loads(capfd.readouterr().out)  # of all that writes to the descriptor
        assert told
    assert told is not None
    # the logs lack two fields of the contract, which is true and needs nobody
    assert [(each["kind"], each["code"]) for each in told["findings"]] == [
        ("unused", "unused-fields")
    ]
    assert [each["stream"] for each in told["streams"]] == ["clicks", "impressions", "items"]
