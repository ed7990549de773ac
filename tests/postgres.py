"""A PostgreSQL server for tests, from a wheel: nothing of the system is needed."""

import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path

from infra.launcher import run
from infra.launcher.cluster import Cluster
from infra.launcher.postgres import Postgres, url


@contextlib.contextmanager
def postgres() -> Generator[str]:
    """Run a server on a loopback port of its own; yield the URI of its database."""
    # not pytest's folder: other users may not enter that one
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-") as made:
        cluster = Cluster(Path(made) / "cluster")
        server = Postgres({"fsync": "off"})
        run.up(cluster, [server], say=lambda _: None)
        try:
            yield url(cluster).render_as_string(hide_password=False)
        finally:
            run.stop(cluster, server)
