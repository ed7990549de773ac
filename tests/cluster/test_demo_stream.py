"""The streaming demo on a real broker: nothing lost or doubled, nothing left running, and no false praise."""

import subprocess
import sys
from pathlib import Path

import pytest

from demo.stream import STREAMS, judged
from headrace.api import Lake
from headrace.config import Settings
from headrace.dml.delete import delete_where
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Provenance
from infra.launcher.cluster import Cluster
from tests.conftest import ROOT, demo_environment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run of the demo left."""
    state = tmp_path_factory.mktemp("demo_stream")
    done = subprocess.run(
        [sys.executable, "-m", "demo.stream", "--impressions", "20000"],
        cwd=ROOT,
        env=demo_environment(state),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return state / "demo-stream"


def test_every_record_is_there_once_and_no_process_is_left(folder: Path) -> None:
    verdicts = judged(folder / "lake")
    assert [each.stream for each in verdicts] == list(STREAMS)
    assert all(each.exact and each.rows for each in verdicts)
    assert Cluster(folder / "cluster").pid("kafka") is None


def test_a_row_that_is_gone_is_lost(folder: Path) -> None:
    settings = Settings.load(env={}, path=folder / "lake" / "lake" / "lake.toml")
    with Lake.open(settings) as lake:
        table = lake.table(TableName.parse("raw.watches"))
        condition = "_source_partition = 0 and _source_offset = 0"
        delete_where(table, condition, provenance=Provenance(code="test", run_id="test"))
    found = {each.stream: each for each in judged(folder / "lake")}["watches"]
    assert (found.lost, found.doubled, found.audited, found.exact) == (1, 0, False, False)
