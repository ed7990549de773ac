"""The guide for production names what is there: servers, roles, files, variables and limits of the code."""

import json
import re

import pytest

from headrace import lake_file
from infra.launcher import run, trino
from infra.roles import ROLES
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "production.md").read_text()
RECORDED = ROOT / "benchmarks" / "results"
A_DAY = 2e11  # impressions
QUOTED = set(re.findall(r"`([^`\n]+)`", TEXT))


def test_files_that_the_guide_names_are_there() -> None:
    named = {each for each in QUOTED if re.fullmatch(r"[a-z_./-]+/[\w./-]+|[\w-]+\.(yml|md)", each)}
    assert len(named) > 6
    assert {each for each in named if not (ROOT / each).exists()} == set()


def test_every_role_and_every_server_is_in_the_guide() -> None:
    assert {each for each in ROLES if f"`{each}`" not in TEXT} == set()
    said = TEXT.lower()
    assert {each.name for each in run.SERVERS if each.name not in said} == set()
    assert f"Trino {trino.VERSION}" in TEXT


def test_settings_and_properties_that_the_guide_names_are_those_of_the_code() -> None:
    settings = {"trash_days", "cleanup_age_hours", "snapshots_kept"}
    assert settings <= QUOTED
    assert settings <= set(lake_file.DEFAULTS)
    assert "retry-policy=NONE" in QUOTED
    assert "retry-policy=NONE" in (ROOT / "infra/trino/config.properties").read_text().splitlines()


def test_costs_of_the_guide_are_those_that_benchmarks_recorded_and_their_products() -> None:
    join = recorded("point_in_time")  # CPU s for a million exposures, as are those of the river
    compaction, epoch = recorded("river_compaction"), recorded("river_epoch")
    assert numbers(
        "point-in-time join",
        r"([\d.]+) µs.* ([\d.]+) cores for each.*; 50 views ≈ (\d+) cores. Trino took (\d+) times",
    ) == [
        pytest.approx(join, rel=0.2),
        pytest.approx(join * A_DAY / 1e6 / 86_400, rel=0.2),
        pytest.approx(50 * join * A_DAY / 1e6 / 86_400, rel=0.2),
        pytest.approx(recorded("samples_on_trino", "ratio"), rel=0.2),
    ]
    assert numbers("compaction of all tables", r"([\d.]+) µs.* ([\d.]+) cores") == [
        pytest.approx(compaction, rel=0.2),
        pytest.approx(2 * compaction * A_DAY / 1e6 / 86_400, rel=0.2),
    ]
    hours = epoch * A_DAY / 1e6 / 3600
    assert numbers(
        "one epoch of training on a day",
        r"(\d+) ns.* (\d+) core-hours \| (\d+) cores.* ([\d,]+) core-hours",
    ) == [pytest.approx(each, rel=0.2) for each in (epoch * 1000, hours, hours, 90 * hours)]


def recorded(claim: str, figure: str = "value") -> float:
    lines = (line for path in RECORDED.glob("*.json") for line in path.read_text().splitlines())
    return next(found[figure] for line in lines if (found := json.loads(line))["claim"] == claim)


def numbers(quantity: str, pattern: str) -> list[float]:
    """Return the numbers that a pattern finds in the row of the table that begins so."""
    (row,) = re.findall(rf"^\| {quantity}\b.*$", TEXT, re.MULTILINE)
    found = re.search(pattern, row)
    assert found is not None, row
    return [float(each.replace(",", "")) for each in found.groups()]
