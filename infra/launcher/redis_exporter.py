"""The exporter of Redis: what the online store says of itself, as metrics for Prometheus.

No package index has its program: it is looked for on the system.
"""

import shutil
import signal
from pathlib import Path

from infra.launcher import redis
from infra.launcher.cluster import Cluster
from infra.launcher.errors import MissingProgramError
from infra.launcher.http import text_of
from infra.launcher.server import Launch

_PROGRAMS = ("prometheus-redis-exporter", "redis_exporter")  # Debian's name, and its makers'


class RedisExporter:
    """Memory, keys, clients and commands of Redis."""

    name = "redis_exporter"
    ports: tuple[str, ...] = ("redis_exporter",)
    after: tuple[str, ...] = ("redis",)
    start_s_max = 60.0
    stop_s_max = 10.0
    stop_signal = signal.SIGTERM

    def check(self) -> None:
        """Look for the program."""
        program()

    def fetch(self) -> None:
        """Nothing to fetch: it is of the system."""

    def prepare(self, cluster: Cluster) -> None:
        """Make its folder; it keeps nothing."""
        cluster.of(self.name).mkdir(parents=True, exist_ok=True)

    def launch(self, cluster: Cluster) -> Launch:
        """Start it on its loopback port."""
        listen = f"-web.listen-address=127.0.0.1:{cluster.port(self.name)}"
        return Launch(
            command=[str(program()), listen],
            folder=cluster.of(self.name),
            environment={"REDIS_ADDR": redis.url(cluster)},  # lists of processes show options
        )

    def probe(self, cluster: Cluster) -> None:
        """Read the metrics, for which it asks Redis."""
        if "\nredis_up 1\n" not in text_of(f"{self.address(cluster)}/metrics"):
            msg = "it does not reach Redis"
            raise OSError(msg)

    def set_up(self, cluster: Cluster) -> None:
        """Nothing to do: it has no users."""

    def address(self, cluster: Cluster) -> str:
        """Return its address."""
        return cluster.external(self.name) or f"http://127.0.0.1:{cluster.port(self.name)}"


def program() -> Path:
    """Find the exporter on the system.

    Raises:
        MissingProgramError: If it is not installed.

    """
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    package = "Debian's prometheus-redis-exporter"
    raise MissingProgramError(_PROGRAMS[0], package=package, server=RedisExporter.name)
