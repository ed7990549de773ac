"""An S3 server for tests: a real one over a folder, and a place of its own for each test."""

import contextlib
import tempfile
import uuid
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.config import Settings
from infra.launcher import run
from infra.launcher.cluster import ROOT, Cluster
from infra.launcher.s3 import ACCESS_KEY, BUCKET, REGION, S3, endpoint


@dataclass(frozen=True, kw_only=True)
class S3Place:
    """A prefix of a bucket, and what a program needs to know to use it."""

    endpoint: str
    secret_key: str
    uri: str
    buckets: Path  # where the server keeps them: a file in here is an object
    access_key: str = ACCESS_KEY
    region: str = REGION

    @property
    def properties(self) -> dict[str, str]:
        """The properties of a catalog, or of a FileIO, that reach it."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.region": self.region,
            "s3.access-key-id": self.access_key,
            "s3.secret-access-key": self.secret_key,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The settings, as environment variables, of a lake whose warehouse is here."""
        return {
            "HEADRACE_WAREHOUSE": f"{self.uri}/warehouse",
            "HEADRACE_S3_ENDPOINT": self.endpoint,
            "HEADRACE_S3_ACCESS_KEY": self.access_key,
            "HEADRACE_S3_SECRET_KEY": self.secret_key,
        }

    def settings(self, state_dir: Path) -> Settings:
        """Return settings of this repository's lake with its warehouse here."""
        env = {"HEADRACE_STATE_DIR": str(state_dir), **self.environment}
        return Settings.load(env=env, path=ROOT / "lake" / "lake.toml")

    def below(self, name: str) -> "S3Place":
        """Return a place below this one that nothing else uses."""
        return replace(self, uri=f"{self.uri}/{name}-{uuid.uuid4().hex[:8]}")

    def at(self, address: str) -> "S3Place":
        """Return the same place behind another address, as a proxy has one."""
        return replace(self, endpoint=address)

    @property
    def folder(self) -> Path:
        """Where the server keeps the objects of this place."""
        return self.buckets / self.uri.removeprefix("s3://")


@contextlib.contextmanager
def s3_server() -> Generator[S3Place]:
    """Run a server on a loopback port of its own; yield its bucket."""
    with tempfile.TemporaryDirectory(prefix="headrace-s3-") as made:
        cluster = Cluster(Path(made) / "cluster")
        server = S3()
        run.up(cluster, [server], say=lambda _: None)
        try:
            yield S3Place(
                endpoint=endpoint(cluster),
                secret_key=cluster.secret("s3"),
                uri=f"s3://{BUCKET}",
                buckets=cluster.of(server.name) / "data",
            )
        finally:
            run.stop(cluster, server)
