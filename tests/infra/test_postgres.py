"""PostgreSQL as the launcher runs it: the rights of roles, and passwords that change while data stay."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError, ProgrammingError

from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.postgres import Postgres, url
from infra.roles import ROLES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A running server; not in pytest's folder, which its user may not enter."""
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-") as made:
        cluster = Cluster(Path(made) / "cluster")
        start(cluster)
        yield cluster
        run.stop(cluster, Postgres())


def start(cluster: Cluster) -> None:
    run.up(cluster, [Postgres({"fsync": "off"})], say=lambda _: None)


def execute(cluster: Cluster, role: str | None, sql: str, *, password: str = "") -> None:
    address = url(cluster, role=role)
    engine = sa.create_engine(
        address.set(password=password) if password else address, poolclass=sa.NullPool
    )
    with engine.begin() as connection:
        connection.execute(sa.text(sql))


@pytest.mark.parametrize("schema", ["public", "headrace"])
def test_writers_write_rows_readers_read_and_the_operator_alone_makes_tables(
    cluster: Cluster, schema: str
) -> None:
    for role in (each for each in ROLES if each != "operator"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            execute(cluster, role, f"create table {schema}.made_by_{role} (a int)")
    execute(cluster, "operator", f"create table {schema}.kept (a int)")
    for role in ROLES:
        execute(cluster, role, f"select * from {schema}.kept")
    for role in ("ingest", "transform", "operator"):
        execute(cluster, role, f"insert into {schema}.kept values (1)")
    for role in ("trainer", "page"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            execute(cluster, role, f"insert into {schema}.kept values (1)")


def test_a_table_that_the_owner_made_becomes_the_operators_at_the_next_start(
    cluster: Cluster,
) -> None:
    execute(cluster, None, "create table old (a int)")
    execute(cluster, "operator", "insert into old values (1)")  # at once: by default privileges
    Postgres().set_up(cluster)
    execute(cluster, "operator", "alter table old add column b int")


def test_a_new_password_replaces_the_old_one_in_data_that_stay(cluster: Cluster) -> None:
    execute(cluster, "operator", "create table stays (a int)")
    before = {role: cluster.secret(f"postgres-{role}") for role in ROLES}
    owner = cluster.secret("postgres")
    run.stop(cluster, Postgres())
    (cluster.folder / "secrets.json").unlink()
    start(cluster)
    assert cluster.secret("postgres") != owner
    execute(cluster, None, "select * from stays")
    for role, password in before.items():
        execute(cluster, role, "select * from stays")
        with pytest.raises(OperationalError, match="password authentication failed"):
            execute(cluster, role, "select 1", password=password)
    with pytest.raises(OperationalError, match="password authentication failed"):
        execute(cluster, None, "select 1", password=owner)


def test_a_role_without_a_password_in_the_environment_gets_none(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.launcher.postgres.ROLES", ROLES[1:])  # one is not handed over
    with pytest.raises(OSError, match="ingest_password"):
        Postgres().set_up(cluster)
    execute(cluster, "ingest", "select 1")  # the last one stays valid
