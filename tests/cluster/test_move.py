"""The demo's lake moved from one disk to PostgreSQL and S3: the same hash there, and nothing left to do."""

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.datasets.verify import verify
from headrace.datasets.versions import find_lockfile
from tests.cluster.test_demo_on_s3 import DEMO_S_MAX, demo
from tests.conftest import ROOT, demo_environment
from tests.postgres import postgres
from tests.s3 import s3_server


@pytest.mark.timeout(2 * DEMO_S_MAX)
def test_a_local_lake_goes_on_where_it_was_moved_to(tmp_path: Path) -> None:
    local = demo_environment(tmp_path / "state")
    printed = demo(local)
    with postgres() as uri, s3_server() as bucket:
        shared = {
            **local,
            **bucket.below("moved").environment,
            "HEADRACE_CATALOG_URI": uri,
            "HEADRACE_ENGINE": "duckdb",
        }
        words = ["lake", "move", "--to", "cluster", "--apply"]
        done = CliRunner().invoke(make_app(), words, env=shared)
        assert done.exit_code == 0, done.output
        shared["HEADRACE_PROFILE"] = "cluster"
        settings = Settings.load(env=shared, path=ROOT / "lake" / "lake.toml")
        assert settings.catalog_server is not None
        shutil.rmtree(Settings.load(env=local, path=ROOT / "lake" / "lake.toml").warehouse)
        with Lake.existing(settings) as lake:
            lock = find_lockfile(lake, "ctr")
            assert verify(lake, "ctr").rows == lock.rows
            for name in lake.names():
                files = lake.table(name).head().files()
                assert all(file.path.startswith(settings.warehouse_uri) for file in files), name
        # every file is on record as taken, every day as built
        again = demo(shared)
    hashes = [re.search(r"content hash +([0-9a-f]+)", text) for text in (printed, again)]
    assert hashes[0] is not None
    assert hashes[1] is not None
    assert hashes[0][1] == hashes[1][1]
    assert "nothing changed" in again
