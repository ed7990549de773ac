"""The guide for production names what is there: servers, roles, files, variables and limits of the code."""

import re

from headrace import lake_file
from infra.launcher import run, trino
from infra.roles import ROLES
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "production.md").read_text()
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
