"""A Redis server for tests, through the launcher."""

import contextlib
from collections.abc import Generator
from pathlib import Path

from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.redis import Redis


@contextlib.contextmanager
def redis_server(folder: Path, **settings: str) -> Generator[Cluster]:
    """Run a server on a loopback port of its own; `infra.launcher.redis.url` tells its address.

    Args:
        folder: Where it keeps its files.
        settings: Of its configuration, by name with underscores.

    """
    cluster = Cluster(folder / "cluster")
    server = Redis({name.replace("_", "-"): value for name, value in settings.items()})
    run.up(cluster, [server], say=lambda _: None)
    try:
        yield cluster
    finally:
        run.stop(cluster, server)
