"""The feature server of the checkout, with the identity of the role `page`."""

import os
import signal
import sys
from pathlib import Path

from infra.launcher.cluster import ROOT, Cluster
from infra.launcher.exports import environment
from infra.launcher.http import text_of
from infra.launcher.server import Launch

_ROLE = "page"  # reads, as in the compose file


class Serve:
    """`headrace serve` on the online store of the cluster, for the lake that `HEADRACE_LAKE` names."""

    name = "serve"
    ports: tuple[str, ...] = ("serve",)
    after: tuple[str, ...] = ("postgres", "s3", "redis")
    start_s_max = 60.0
    stop_s_max = 40.0
    stop_signal = signal.SIGTERM

    def check(self) -> None:
        """Nothing to look for: it is of the environment."""

    def fetch(self) -> None:
        """Nothing to fetch."""

    def prepare(self, cluster: Cluster) -> None:
        """Make the folder of its state."""
        cluster.of(self.name).mkdir(parents=True, exist_ok=True)

    def launch(self, cluster: Cluster) -> Launch:
        """Start it on its loopback port."""
        lake = os.environ.get("HEADRACE_LAKE") or ROOT / "lake" / "lake.toml"
        program = Path(sys.executable).with_name("headrace")
        return Launch(
            command=[str(program), "serve", "--port", str(cluster.port(self.name))],
            folder=cluster.of(self.name),
            environment={
                "HEADRACE_PROFILE": "cluster",
                "HEADRACE_ENGINE": "duckdb",  # it runs no query, and needs no address of Trino
                "HEADRACE_LAKE": str(Path(lake).absolute()),
                "HEADRACE_STATE_DIR": str(cluster.of(self.name) / "state"),
                **environment(cluster, role=_ROLE),
            },
        )

    def probe(self, cluster: Cluster) -> None:
        """Read the metrics, for which it asks the online store; before a publication it is not ready."""
        if "\nheadrace_serve_store_bytes{" not in text_of(f"{self.address(cluster)}/metrics"):
            msg = "its metrics say nothing of the online store"
            raise OSError(msg)

    def set_up(self, cluster: Cluster) -> None:
        """Nothing to do: on loopback it wants no token."""

    def address(self, cluster: Cluster) -> str:
        """Return its address."""
        return cluster.external(self.name) or f"http://127.0.0.1:{cluster.port(self.name)}"
