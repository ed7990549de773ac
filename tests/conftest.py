"""Fixtures every room shares: a fresh, empty lake per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.config import Settings
from headrace.tables.lake import Lake

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of this repository's lake with all state in the test's own folder."""
    env = {"HEADRACE_STATE_DIR": str(tmp_path / "state")}
    return Settings.load(env=env, path=ROOT / "lake" / "lake.toml")


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    """An empty lake."""
    with Lake.open(settings) as opened:
        yield opened
