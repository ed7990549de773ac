"""A check in Dagster replays the serving log, and says what differs."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from headrace.dml.delete import delete_where
from headrace.tables.commits.operations import Provenance
from orchestration.defs.ingest.assets import streams
from orchestration.defs.resources import resources
from orchestration.defs.serving.checks import skew_checks
from tests.orchestration.test_checks import checks_of, run
from tests.serving.test_skew import Served, ago, served

__all__ = ["served"]  # a fixture


def test_values_that_were_not_served_as_trained_are_told_with_cause_and_command(
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
    parsed: Path,
) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", str(served.declare()))
    shutil.copytree(parsed, served.lake.settings.state_dir / "dbt")
    graph = dg.Definitions.merge(streams(), skew_checks(), resources())
    served.rate(1, 0.5, happened=ago(10))
    served.publish()
    served.ask(1)
    served.logged()
    (fine,) = run(graph, checks_of("raw", "served")).get_asset_check_evaluations()
    assert (fine.check_name, fine.passed) == ("served_as_trained_taps", True)
    assert fine.metadata["requests"].value == 1
    delete_where(served.rates, "item = 1", provenance=Provenance())
    (worse,) = run(graph, checks_of("raw", "served")).get_asset_check_evaluations()
    assert (worse.passed, worse.blocking) == (False, False)
    assert worse.metadata["cause/removed"].value == 1
    assert "headrace skew taps served" in (worse.description or "")
    assert "table=raw.served" in str(worse.metadata["page"].value)
