"""The asset graph of this repository's lake, on a state folder that tests of the file share."""

from pathlib import Path

import dagster as dg
import pytest

from orchestration.definitions import defs
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """The definitions that the code location loads."""
    state = tmp_path_factory.mktemp("graph") / "state"
    with pytest.MonkeyPatch.context() as patch:
        use_lake(patch, state_dir=state)
        return defs()


def use_lake(patch: pytest.MonkeyPatch, *, state_dir: Path, lake: Path = ROOT / "lake") -> None:
    """Point this process at a lake, as the environment of a code location does."""
    patch.setenv("HEADRACE_LAKE", str(lake / "lake.toml"))
    patch.setenv("HEADRACE_STATE_DIR", str(state_dir))
    patch.delenv("HEADRACE_DATA_DIR", raising=False)
