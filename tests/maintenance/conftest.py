"""One engine for all tests of a module: starting one takes longer than most of them."""

from collections.abc import Iterator

import pytest

from headrace.config import Settings
from headrace.engines.duckdb import DuckDBEngine
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBEngine]:
    """DuckDB, which reads any table by its files: the oracle."""
    env = {"HEADRACE_STATE_DIR": str(tmp_path_factory.mktemp("engine"))}
    with DuckDBEngine.open(Settings.load(env=env, path=ROOT / "lake" / "lake.toml")) as opened:
        yield opened
