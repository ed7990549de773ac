"""Fixtures of the dbt project's tests: dbt run in this process on lakes of their own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult

from headrace.config import Settings
from headrace.integrations.dbt_build import project_dir
from headrace.integrations.dbt_duckdb import session
from tests.dbt.raw_lake import RawLake
from tests.quick_dbt import quick_dbt

__all__ = ["quick_dbt"]


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[RawLake]:
    with RawLake(tmp_path / "state") as raw:
        yield raw


@pytest.fixture(scope="session")
def dbt_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where dbt keeps what it parsed; one for all tests, parsing takes seconds."""
    return tmp_path_factory.mktemp("target")


@pytest.fixture(scope="session")
def dbt(dbt_target: Path) -> Callable[..., dbtRunnerResult]:
    """Run a dbt command on the lake of `settings`, with nothing written outside `target`."""

    def run(settings: Settings, *arguments: str, target: Path = dbt_target) -> dbtRunnerResult:
        where = str(project_dir(settings))
        common = ["--project-dir", where, "--profiles-dir", where]
        common += [
            "--target",
            "local",
            "--target-path",
            str(target),
            "--log-path",
            str(target / "logs"),
        ]
        common += ["--quiet", "--log-level", "none", "--log-level-file", "none", "--no-write-json"]
        with session(settings, run_id="test"):
            return dbtRunner().invoke([arguments[0], *common, *arguments[1:]])

    return run


@pytest.fixture(scope="session")
def parsed(dbt: Callable[..., dbtRunnerResult], dbt_target: Path) -> Callable[[Settings], None]:
    """Let a lake's own builds start from what was parsed: dbt parses its macros for seconds."""

    def take(settings: Settings) -> None:
        kept = dbt_target / "partial_parse.msgpack"
        if not kept.exists():
            assert dbt(settings, "parse").success
        (own := settings.state_dir / "dbt" / "target").mkdir(parents=True)
        shutil.copy(kept, own)

    return take


@pytest.fixture(scope="session")
def compiled(
    tmp_path_factory: pytest.TempPathFactory, dbt: Callable[..., dbtRunnerResult], dbt_target: Path
) -> Callable[[str], str]:
    """The SQL of a model as a first build on DuckDB renders it."""
    with RawLake(tmp_path_factory.mktemp("compiled") / "state") as raw:
        assert dbt(raw.settings, "run").success
    folder = dbt_target / "compiled" / "headrace" / "models"
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.sql")}
    return lambda model: found[f"{model}.sql"]
