"""versitygw: a real S3 server over a folder, for the warehouse of the cluster profile."""

import os
import signal

from pyarrow.fs import FileType, S3FileSystem

from infra.launcher.artifacts import GoProgram
from infra.launcher.cluster import Cluster
from infra.launcher.errors import LauncherError
from infra.launcher.server import Launch
from infra.roles import ROLES
from infra.s3 import accounts
from infra.s3.requests import Key

BUCKET, REGION = accounts.BUCKET, accounts.REGION
ACCESS_KEY = "headrace"
VERSION = "v1.8.0"
_PROGRAM = GoProgram(
    module="github.com/versity/versitygw",
    version=VERSION,
    package="github.com/versity/versitygw/cmd/versitygw",
    sum="h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc=",
    server="s3",
)


class S3:
    """An S3 server with one bucket."""

    name = "s3"
    ports: tuple[str, ...] = ("s3",)
    after: tuple[str, ...] = ()
    start_s_max = 120.0
    stop_s_max = 10.0
    stop_signal = signal.SIGTERM

    def check(self) -> None:
        """Look for Go."""
        _PROGRAM.check()

    def fetch(self) -> None:
        """Build the program, once."""
        _PROGRAM.fetch()

    def prepare(self, cluster: Cluster) -> None:
        """Make the folders of the buckets and of the accounts."""
        (cluster.of(self.name) / "data").mkdir(parents=True, exist_ok=True)
        (cluster.of(self.name) / "accounts").mkdir(mode=0o700, exist_ok=True)

    def launch(self, cluster: Cluster) -> Launch:
        """Start it on its loopback port."""
        folder = cluster.of(self.name)
        port = f"127.0.0.1:{cluster.port(self.name)}"
        return Launch(
            command=[str(_PROGRAM.fetch()), "--port", port, "posix", str(folder / "data")],
            folder=folder,
            environment={
                "VGW_IAM_DIR": str(folder / "accounts"),
                "ROOT_ACCESS_KEY": ACCESS_KEY,
                "ROOT_SECRET_KEY": cluster.secret(self.name),
            },
        )

    def probe(self, cluster: Cluster) -> None:
        """Make the bucket if it is not there; write, list, read and delete an object."""
        store = filesystem(cluster)
        if store.get_file_info(BUCKET).type == FileType.NotFound:
            store.create_dir(BUCKET)
        path = f"{BUCKET}/.probe"
        with store.open_output_stream(path) as stream:
            stream.write(b"probe")
        with store.open_input_stream(path) as stream:
            if stream.read() != b"probe":
                msg = f"{path} does not hold what was written"
                raise OSError(msg)
        store.delete_file(path)

    def set_up(self, cluster: Cluster) -> None:
        """Give each role its key, and the bucket its policy."""
        keys = {role: cluster.secret(f"s3-{role}") for role in ROLES}
        accounts.apply(endpoint(cluster), key(cluster), secrets=keys)

    def address(self, cluster: Cluster) -> str:
        """Return the endpoint."""
        return endpoint(cluster)


def endpoint(cluster: Cluster) -> str:
    """Return the endpoint, of the launcher's server or of one that `HEADRACE_S3_URL` names."""
    return cluster.external("s3") or f"http://127.0.0.1:{cluster.port('s3')}"


def key(cluster: Cluster, *, role: str | None = None) -> Key:
    """Return the key of a role, or of the administrator; that of an external store for all roles.

    Raises:
        LauncherError: If the store is external and the environment has no key for it.

    """
    if cluster.external("s3"):
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        found = [os.environ.get(name, "") for name in names]
        if not all(found):
            msg = f"HEADRACE_S3_URL names a store; set its key too: {' and '.join(names)}"
            raise LauncherError(msg)
        return Key(*found)
    return Key(role or ACCESS_KEY, cluster.secret(f"s3-{role}" if role else "s3"))


def filesystem(cluster: Cluster) -> S3FileSystem:
    """Return access to the store with its administrator's key."""
    used = key(cluster)
    scheme, _, host = endpoint(cluster).partition("://")
    return S3FileSystem(
        access_key=used.access,
        secret_key=used.secret,
        endpoint_override=host,
        scheme=scheme,
        region=REGION,
        allow_bucket_creation=True,
        connect_timeout=2,
        request_timeout=5,
    )
