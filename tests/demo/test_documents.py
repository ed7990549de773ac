"""With `--output json`, stdout is one document whatever runs inside of a command, dbt included."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, DemoLake

HEADRACE = str(Path(sys.executable).with_name("headrace"))


def test_a_build_by_dbt_and_a_status_after_it_are_one_document_each(demo_lake: DemoLake) -> None:
    for words in (("features", "build"), ("status",)):
        done = subprocess.run(
            [HEADRACE, *words, "--output", "json"],
            cwd=ROOT,
            env=dict(demo_lake.environment),
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(done.stdout)
        assert told
    # the logs lack two fields of the contract, which is true and needs nobody
    assert [(each["kind"], each["code"]) for each in told["findings"]] == [
        ("unused", "unused-fields")
    ]
    assert [each["stream"] for each in told["streams"]] == ["clicks", "impressions", "items"]
