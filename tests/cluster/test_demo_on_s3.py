"""The whole demo with its catalog on PostgreSQL and its files on S3 ends with the content of a local one."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.datasets.verify import verify
from headrace.datasets.versions import find_lockfile
from tests.conftest import ROOT, demo_environment
from tests.postgres import postgres
from tests.s3 import s3_server

DEMO_S_MAX = 1_200


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("demo_on_s3")
    with postgres() as uri, s3_server() as bucket:
        yield {
            **demo_environment(folder / "state"),
            **bucket.below("demo").environment,
            "HEADRACE_CATALOG_URI": uri,
        }


def demo(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "demo.run"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEMO_S_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2_000:]}{done.stderr[-2_000:]}"
    return done.stdout


@pytest.mark.timeout(DEMO_S_MAX + 120)  # `test_move.py` runs one again where there is all it makes
def test_the_demo_ends_with_the_content_hash_of_a_local_lake(environment: dict[str, str]) -> None:
    # the README shows what the local demo prints, which `tests/test_readme.py` holds it to
    said = re.search(r"content hash +([0-9a-f]{32})", (ROOT / "README.md").read_text())
    assert said is not None
    assert f"content hash  {said[1]}" in demo(environment)
    settings = Settings.load(env=environment, path=ROOT / "lake" / "lake.toml")
    assert settings.warehouse_uri.startswith("s3://")
    assert settings.catalog_server is not None
    with Lake.open(settings) as lake:
        lock = find_lockfile(lake, "ctr")
        assert verify(lake, "ctr").rows == lock.rows
        for name in lake.names():
            files = lake.table(name).head().files()
            assert all(file.path.startswith(settings.warehouse_uri) for file in files), name
    assert not list(Path(settings.state_dir).rglob("*.lock.json"))
