"""The asset graph of this repository's lake, on a state folder that tests of the file share."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from headrace.config import Settings
from headrace.integrations.dbt_manifest import load_manifest
from orchestration.definitions import defs
from tests.conftest import ROOT
from tests.quick_dbt import quick_dbt

__all__ = ["quick_dbt"]


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What dbt keeps of this repository's project once it has parsed it, which takes seconds."""
    state = tmp_path_factory.mktemp("parsed") / "state"
    env = {"HEADRACE_STATE_DIR": str(state)}
    load_manifest(Settings.load(env=env, path=ROOT / "lake" / "lake.toml"))
    return state / "dbt"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, parsed: Path) -> dg.Definitions:
    """The definitions that the code location loads."""
    state = tmp_path_factory.mktemp("graph") / "state"
    shutil.copytree(parsed, state / "dbt")
    with pytest.MonkeyPatch.context() as patch:
        use_lake(patch, state_dir=state)
        return defs()


def use_lake(patch: pytest.MonkeyPatch, *, state_dir: Path, lake: Path = ROOT / "lake") -> None:
    """Point this process at a lake, as the environment of a code location does."""
    patch.setenv("HEADRACE_LAKE", str(lake / "lake.toml"))
    patch.setenv("HEADRACE_STATE_DIR", str(state_dir))
    patch.delenv("HEADRACE_DATA_DIR", raising=False)
