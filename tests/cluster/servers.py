"""The servers of a test run: addresses, clients, and stopping and starting each of them."""

import contextlib
import os
import signal
import uuid
from collections.abc import Generator
from dataclasses import dataclass

import sqlalchemy as sa
from pyarrow.fs import FileSelector, FileType
from pyiceberg.catalog.sql import SqlCatalog
from trino.dbapi import Connection

from infra.launcher import postgres, run, s3, trino
from infra.launcher.cluster import Cluster
from infra.launcher.exports import environment
from infra.trino.catalog import NAME, WAREHOUSE
from tests.conftest import demo_environment


@dataclass(frozen=True)
class Servers:
    """The servers of one cluster; all of them run unless a test stopped one."""

    cluster: Cluster

    @property
    def trino_address(self) -> str:
        """Where Trino listens, as a URL."""
        return trino.Trino().address(self.cluster)

    def catalog_uri(self, role: str = "operator") -> str:
        """Return the database that holds the catalog Trino reads, with the role's password."""
        return postgres.url(self.cluster, role=role).render_as_string(hide_password=False)

    def s3_properties(self, role: str = "operator") -> dict[str, str]:
        """Return what PyIceberg needs to reach the store with the role's key."""
        key = s3.key(self.cluster, role=role)
        return {
            "s3.endpoint": s3.endpoint(self.cluster),
            "s3.access-key-id": key.access,
            "s3.secret-access-key": key.secret,
            "s3.region": s3.REGION,
        }

    def environment(self, role: str = "operator") -> dict[str, str]:
        """Return what a process needs to find these servers: the profile `cluster`, as a role."""
        own = demo_environment(self.cluster.folder.parent / "state")
        folder = {"HEADRACE_CLUSTER_DIR": str(self.cluster.folder)}
        found = environment(self.cluster, role=role)
        return {**own, **folder, **found, "HEADRACE_PROFILE": "cluster"}

    def catalog(self, role: str = "operator") -> SqlCatalog:
        """Open the catalog that Trino reads, by PyIceberg alone; close it afterwards."""
        uri, properties = self.catalog_uri(role), self.s3_properties(role)
        return SqlCatalog(NAME, uri=uri, warehouse=WAREHOUSE, **properties)

    def trino(self, role: str = "operator", *, catalog: str = "lake") -> Connection:
        """Connect to Trino as a role; the operator may do everything."""
        return trino.connect(self.cluster, role=role, catalog=catalog)

    def query(
        self, sql: str, *, role: str = "operator", catalog: str = "lake"
    ) -> list[list[object]]:
        """Run one statement on Trino; return its rows."""
        with self.trino(role, catalog=catalog) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return cursor.fetchall()

    def clear(self) -> None:
        """Remove every table, the registry and all files of the warehouse: an empty lake is next."""
        for table in ("iceberg_tables", "iceberg_namespace_properties"):
            self._administer(f"truncate {table}", database=postgres.DATABASE)
        self._administer("drop schema if exists headrace cascade", database=postgres.DATABASE)
        run.by_name("postgres").set_up(self.cluster)
        store = s3.filesystem(self.cluster)
        below = FileSelector(WAREHOUSE.removeprefix("s3://"), allow_not_found=True, recursive=True)
        # deepest first: the store has no folder removed that is not empty
        for each in sorted(store.get_file_info(below), key=lambda found: -len(found.path)):
            if each.type is FileType.File:
                store.delete_file(each.path)
            else:
                store.delete_dir(each.path)

    @contextlib.contextmanager
    def database(self) -> Generator[str]:
        """Make a database of its own on the same server; yield its URI; drop it afterwards."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._administer(f"create database {name}")
        try:
            yield postgres.url(self.cluster, database=name).render_as_string(hide_password=False)
        finally:
            self._administer(f"drop database {name} with (force)")

    def kill(self, name: str) -> None:
        """End a server by SIGKILL, with all of its processes."""
        pid = self.cluster.pid(name)
        assert pid is not None, f"{name} does not run"
        os.killpg(pid, signal.SIGKILL)
        run.reap(pid)
        run.stop(self.cluster, run.by_name(name))

    def stop(self, name: str) -> None:
        """Stop a server as `make cluster-down` does."""
        run.stop(self.cluster, run.by_name(name))

    def start(self, name: str) -> None:
        """Start a server that was stopped or killed; returns once it is healthy."""
        run.up(self.cluster, [run.by_name(name)], say=lambda _: None)

    def start_all(self) -> list[str]:
        """Start what does not run; return what the launcher says.

        Raises:
            StartFailedError: With the end of the server's log.

        """
        said: list[str] = []
        run.up(self.cluster, run.wanted(("kafka", "schemas")), say=said.append)
        return said

    def _administer(self, sql: str, *, database: str = "postgres") -> None:
        url = postgres.url(self.cluster, database=database)
        engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(sql))
