"""The accounts of the S3 store are made, and made again, by what docker-compose runs."""

import os
import subprocess
import sys

from infra.launcher import s3
from infra.roles import ROLES
from tests.cluster.servers import Servers
from tests.conftest import ROOT


def test_accounts_that_are_there_are_brought_to_the_secrets_of_the_environment(
    servers: Servers,
) -> None:
    root = s3.key(servers.cluster)
    keys = {f"S3_{r.upper()}_SECRET_KEY": s3.key(servers.cluster, role=r).secret for r in ROLES}
    said = {
        "PATH": os.environ["PATH"],
        "S3_ENDPOINT": s3.endpoint(servers.cluster),
        "ROOT_ACCESS_KEY": root.access,
        "ROOT_SECRET_KEY": root.secret,
        **keys,
    }
    assert ran(said) == (0, "")
    assert ran({**said, "S3_PAGE_SECRET_KEY": ""}) == (1, "error: S3_PAGE_SECRET_KEY is not set\n")
    status, error = ran({**said, "ROOT_SECRET_KEY": "wrong"})
    assert status == 1
    assert "403" in error
    assert not [secret for secret in (root.secret, *keys.values()) if secret in error]


def ran(environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "infra.s3.accounts"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr
