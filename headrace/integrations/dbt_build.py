"""Build the feature tables by running dbt in this process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbt.cli.main import dbtRunner

from headrace.config import Settings
from headrace.definitions.dbt_project import find_project, project_places
from headrace.errors import FeatureBuildError, SettingReason, SettingsError
from headrace.integrations.dbt_duckdb import session
from headrace.shown import rows_html

_BUILT = ("model", "seed")
_GOOD = ("success", "pass", "warn", "no-op")


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """What happened to one model; `code` is `unchanged` if nothing was committed."""

    table: str
    code: str
    message: str
    rows: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """One successful run of dbt: its models and seeds in the order they were built."""

    models: tuple[ModelResult, ...]
    tests_passed: int

    @property
    def changed(self) -> bool:
        """Whether any table was committed."""
        return any(model.code not in {"unchanged", "checked"} for model in self.models)

    def __repr__(self) -> str:
        built = sum(model.code not in {"unchanged", "checked"} for model in self.models)
        return (
            f"BuildResult({len(self.models)} models, {built} with a commit, "
            f"{self.tests_passed} tests passed)"
        )

    def _repr_html_(self) -> str:
        rows = [(each.table, each.message, f"{each.rows:,}") for each in self.models]
        return rows_html(("table", "outcome", "rows"), rows)


def build_features(
    settings: Settings, *, select: str | None = None, full_refresh: bool = False, run_id: str = ""
) -> BuildResult:
    """Run `dbt build` on the lake of `settings`: staging and features, with their tests.

    Idempotent: a second run commits nothing. Everything dbt writes lies under the lake's state
    folder. One call at a time per process.

    Args:
        settings: The lake; its dbt project is `HEADRACE_DBT_PROJECT`, else `dbt_project` beside
            `lake`, else the one of this checkout.
        select: dbt node selection, as after `--select`; everything by default.
        full_refresh: Recompute every partition.
        run_id: Goes into each commit's provenance; dbt's invocation id by default.

    Raises:
        FeatureBuildError: Naming every model and test that failed. What was committed stays; a
            model that a failed test guards has been committed, the models after it have not.

    """
    project = project_dir(settings)
    target = settings.state_dir / "dbt"
    arguments = ["build", "--project-dir", str(project), "--profiles-dir", str(project)]
    arguments += ["--target", target_of(settings), "--target-path", str(target / "target")]
    arguments += ["--log-path", str(target / "logs")]
    arguments += ["--quiet", "--log-level", "none", "--log-level-file", "none"]
    # unit tests do not check the data; `dbt build` runs them while a model is developed
    arguments += ["--exclude-resource-type", "unit_test"]
    arguments += ["--select", *select.split()] if select else []
    arguments += ["--full-refresh"] if full_refresh else []
    with session(settings, run_id=run_id):
        ran = dbtRunner().invoke(arguments)
    results: list[Any] = list(getattr(ran.result, "results", ()))
    failures = [
        f"{found.node.name}: {found.status}: {found.message}"
        for found in results
        if found.status not in (*_GOOD, "skipped")
    ]
    if ran.exception is not None:
        failures.append(str(ran.exception))
    if failures or not ran.success:
        raise FeatureBuildError(tuple(failures) or ("dbt failed without a message",))
    return BuildResult(
        models=tuple(_model(each) for each in results if each.node.resource_type in _BUILT),
        tests_passed=sum(each.node.resource_type not in _BUILT for each in results),
    )


def target_of(settings: Settings) -> str:
    """Name the dbt target whose models the engine of `settings` runs."""
    return "cluster" if settings.engine == "trino" else "local"


def project_dir(settings: Settings) -> Path:
    """Find the dbt project of a lake.

    Raises:
        SettingsError: If there is none; it names the folders searched.

    """
    found = find_project(settings)
    if found is not None:
        return found
    looked = ", ".join(f"`{place}`" for place in project_places(settings))
    msg = f"no `dbt_project.yml` in {looked}; set HEADRACE_DBT_PROJECT=/path/to/dbt_project"
    raise SettingsError(msg, setting="HEADRACE_DBT_PROJECT", reason=SettingReason.MISSING)


def _model(found: Any) -> ModelResult:  # noqa: ANN401 - dbt's RunResult is not typed usefully
    response = found.adapter_response
    return ModelResult(
        table=f"{found.node.schema}.{found.node.alias}",
        code=response.get("code", ""),
        message=found.message,
        rows=response.get("rows_affected") or 0,
        seconds=found.execution_time,
    )
