"""The demo on PostgreSQL, S3 and Trino ends with the same dataset version as on one disk with DuckDB."""

import re
import subprocess
import sys

import pytest

from tests.cluster.servers import Servers
from tests.conftest import ROOT

HASH = re.compile(r"^content hash  ([0-9a-f]{32})$", re.MULTILINE)
DEMO_S_MAX = 1_200


@pytest.mark.timeout(DEMO_S_MAX + 120)
def test_the_demo_computed_by_trino_has_the_content_hash_of_the_local_one(servers: Servers) -> None:
    servers.clear()
    done = subprocess.run(
        [sys.executable, "-m", "demo.run"],
        cwd=ROOT,
        env={**servers.environment(), "HEADRACE_ENGINE": "trino", "HEADRACE_DBT_TARGET": "cluster"},
        capture_output=True,
        text=True,
        timeout=DEMO_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    local = HASH.search(
        (ROOT / "README.md").read_text()
    )  # that `make test` compares with its own run
    assert local is not None
    assert HASH.findall(done.stdout) == [local[1]]
    rows = servers.query("select count(*), sum(click) from samples.ctr", catalog="lake_read")
    assert rows == [[30_168, 287]]
    servers.clear()
