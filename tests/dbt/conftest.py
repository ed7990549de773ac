"""Fixtures of the dbt project's tests: dbt run in this process on lakes of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult

from headrace.config import Settings
from headrace.integrations.dbt_build import build_features, project_dir
from headrace.integrations.dbt_duckdb import session
from tests.dbt.raw_lake import RawLake


@pytest.fixture
def raw(tmp_path: Path) -> RawLake:
    return RawLake(tmp_path / "state")


@pytest.fixture
def dbt(tmp_path: Path) -> Callable[..., dbtRunnerResult]:
    """Run a dbt command on the lake of `settings`, with nothing written outside `tmp_path`."""

    def run(settings: Settings, *arguments: str, project: Path | None = None) -> dbtRunnerResult:
        where = str(project or project_dir(settings))
        common = ["--project-dir", where, "--profiles-dir", where]
        common += ["--target-path", str(tmp_path / "target"), "--log-path", str(tmp_path / "logs")]
        common += ["--quiet", "--log-level", "none", "--log-level-file", "none"]
        with session(settings, run_id="test"):
            return dbtRunner().invoke([arguments[0], *common, *arguments[1:]])

    return run


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The SQL of a model as a first build on DuckDB renders it."""
    raw = RawLake(tmp_path_factory.mktemp("compiled") / "state")
    build_features(raw.settings)
    folder = raw.settings.state_dir / "dbt" / "target" / "compiled" / "headrace" / "models"
    return lambda model: (folder / f"{model}.sql").read_text()
