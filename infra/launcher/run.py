"""Starting servers in order until each is healthy, and stopping them in reverse."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from infra.launcher.cluster import Cluster
from infra.launcher.errors import LauncherError, StartFailedError
from infra.launcher.flink import WORKERS_MAX, Gateway, JobManager, TaskManager, workers_and_slots
from infra.launcher.kafka import Kafka, SchemaRegistry
from infra.launcher.postgres import Postgres
from infra.launcher.redis import Redis
from infra.launcher.redis_exporter import RedisExporter
from infra.launcher.s3 import S3
from infra.launcher.serve import Serve
from infra.launcher.server import Server
from infra.launcher.trino import Trino

SERVERS: tuple[Server, ...] = (
    *(Postgres(), S3(), Redis(), Trino(), Kafka(), SchemaRegistry()),
    *(JobManager(), TaskManager(), Gateway()),
    *(RedisExporter(), Serve()),
)
FURTHER = tuple(TaskManager(number) for number in range(2, WORKERS_MAX + 1))  # beside the first
OF_FLINK = frozenset({"flink", "flink_worker", "flink_gateway"})  # 3 GB that few need
ON_DEMAND = OF_FLINK | {"redis_exporter", "serve"}
_POLL_S = 0.25
_LOG_LINES = 25

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a server does now: `running` says whether its process lives, `healthy` whether it answers."""

    server: str
    address: str
    pid: int | None
    running: bool
    healthy: bool
    detail: str


def by_name(name: str) -> Server:
    """Return the server of this name.

    Raises:
        LauncherError: If there is none.

    """
    for each in (*SERVERS, *FURTHER):
        if each.name == name:
            return each
    known = ", ".join(sorted(each.name for each in SERVERS))
    msg = f"`{name}` is not a server; there are {known}"
    raise LauncherError(msg)


def wanted(without: Iterable[str]) -> tuple[Server, ...]:
    """Return the servers to run; those on demand are started by `only`.

    Raises:
        LauncherError: If a name is no server's, or a server is left out that another one needs.

    """
    left_out = {by_name(name).name for name in without} | ON_DEMAND
    kept = tuple(each for each in SERVERS if each.name not in left_out)
    for each in kept:
        needed = [name for name in each.after if name in left_out]
        missing = [name for name in needed if not os.environ.get(f"HEADRACE_{name.upper()}_URL")]
        if missing:
            msg = f"`{each.name}` needs `{missing[0]}`: leave both out, or set HEADRACE_{missing[0].upper()}_URL"
            raise LauncherError(msg)
    return kept


def only(names: Iterable[str]) -> tuple[Server, ...]:
    """Return these servers alone, in the order of starting: with a TaskManager as many as are set.

    Raises:
        LauncherError: If a name is no server's, or the setting is no number of TaskManagers.

    """
    kept = {by_name(name).name for name in names}
    if TaskManager().name in kept and Cluster.external(TaskManager().name) is None:
        kept |= {each.name for each in FURTHER[: workers_and_slots()[0] - 1]}
    return tuple(each for each in (*SERVERS, *FURTHER) if each.name in kept)


def fetch(servers: Iterable[Server], *, say: Say) -> None:
    """Fetch what these servers need and the cache does not hold; external servers need nothing.

    Programs are looked for first, so that a missing one is named before the others are fetched.

    Raises:
        LauncherError: Saying what is missing or could not be fetched.

    """
    needed = [each for each in servers if Cluster.external(each.name) is None]
    for each in needed:
        each.check()
    for each in needed:
        say(f"{each.name}: fetching what is not in the cache yet")
        each.fetch()


def up(cluster: Cluster, servers: Sequence[Server], *, say: Say) -> None:
    """Start every server that does not run yet, and return once all are healthy.

    External servers (`HEADRACE_<NAME>_URL`) are only probed. A server whose port was
    taken by another program gets a new one, and those that know it by the old one start again. If
    one fails, those that this call started are stopped again; those that ran before go on.

    Raises:
        LauncherError: Saying which server failed and what to do.

    """
    begun: list[Server] = []
    try:
        fetch((each for each in servers if cluster.pid(each.name) is None), say=say)
        for each in servers:
            if cluster.external(each.name) is None and cluster.pid(each.name) is None:
                begun.append(each)
                _settle_ports(cluster, each, servers, say=say)
                say(f"{each.name}: starting")
                _start(cluster, each)
            _wait(cluster, each, say=say)
            if cluster.external(each.name) is None:
                _set_up(cluster, each)
            say(f"{each.name}: healthy at {each.address(cluster)}")
    except BaseException:
        for each in reversed(begun):
            stop(cluster, each)
        raise


def _set_up(cluster: Cluster, server: Server) -> None:
    try:
        server.set_up(cluster)
    except Exception as error:
        raise StartFailedError(
            server.name,
            detail=f"it could not be set up ({_first_line(error)})",
            log=str(cluster.log(server.name)),
        ) from error


def _settle_ports(cluster: Cluster, server: Server, servers: Sequence[Server], *, say: Say) -> None:
    """Give a server other ports for those that were taken while it did not run."""
    taken = [name for name in server.ports if not cluster.port_is_free(name)]
    for name in taken:
        say(f"{server.name}: another program uses port {cluster.port(name)}; taking a new one")
        cluster.release_port(name)
    for each in servers if server.name in taken else ():
        if server.name in each.after and cluster.pid(each.name) is not None:
            say(f"{each.name}: stopping, because `{server.name}` moves")
            stop(cluster, each)


def down(cluster: Cluster, *, say: Say) -> None:
    """Stop every server of this cluster that runs, the last started first."""
    for each in reversed((*SERVERS, *FURTHER)):
        if cluster.pid(each.name) is not None:
            stop(cluster, each)
            say(f"{each.name}: stopped")


def status(cluster: Cluster) -> list[Status]:
    """Look at each server once, and at each further TaskManager that runs."""
    further = (each for each in FURTHER if cluster.pid(each.name) is not None)
    return [_status(cluster, each) for each in (*SERVERS, *further)]


def _status(cluster: Cluster, server: Server) -> Status:
    pid, external = cluster.pid(server.name), cluster.external(server.name)
    detail = "not running"
    healthy = False
    if pid is not None or external:
        failure = _failure(cluster, server)
        if failure is not None:
            detail = _first_line(failure)
        else:
            healthy, detail = True, "elsewhere" if external else "healthy"
    return Status(
        server=server.name,
        address=server.address(cluster) if pid is not None or external else "",
        pid=pid,
        running=pid is not None,
        healthy=healthy,
        detail=detail,
    )


def stop(cluster: Cluster, server: Server) -> None:
    """Stop a server by its process id, and every process of its session if it does not end."""
    pid = cluster.pid(server.name)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):  # it ended a moment ago
            os.kill(pid, server.stop_signal)
        deadline = time.monotonic() + server.stop_s_max
        while cluster.pid(server.name) is not None and time.monotonic() < deadline:
            time.sleep(_POLL_S / 5)
        if cluster.pid(server.name) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        reap(pid)
    cluster.ended(server.name)


def _start(cluster: Cluster, server: Server) -> None:
    server.prepare(cluster)
    launch = server.launch(cluster)
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "TZ")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    with cluster.log(server.name).open("ab") as log:
        process = subprocess.Popen(
            launch.command,
            cwd=launch.folder,
            env={**environment, **launch.environment},
            user=launch.user,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt of the launcher's terminal is not theirs
        )
    try:
        cluster.started(server.name, process.pid)
    except BaseException:  # no later command would find it
        process.kill()
        process.wait()
        raise
    process.returncode = 0  # it outlives the launcher, of which `Popen` would warn


def _wait(cluster: Cluster, server: Server, *, say: Say) -> None:
    deadline = time.monotonic() + server.start_s_max
    while True:
        failure = _failure(cluster, server)
        # looked at last: another program may answer on the port of a server that ended
        ended = cluster.external(server.name) is None and _has_ended(cluster, server)
        if failure is None and not ended:
            return
        if ended or time.monotonic() > deadline:
            _show_log(cluster, server, say=say)
            why = "its process ended" if ended else f"not healthy in {server.start_s_max:.0f} s"
            said = "another program answers" if failure is None else _first_line(failure)
            raise StartFailedError(
                server.name, detail=f"{why} ({said})", log=str(cluster.log(server.name))
            ) from failure
        time.sleep(_POLL_S)


def _failure(cluster: Cluster, server: Server) -> Exception | None:
    try:
        server.probe(cluster)
    except Exception as error:  # noqa: BLE001 - clients raise errors of many kinds
        return error
    return None


def _has_ended(cluster: Cluster, server: Server) -> bool:
    return cluster.pid(server.name) is None


def _show_log(cluster: Cluster, server: Server, *, say: Say) -> None:
    for line in last_lines(cluster, server.name, count=_LOG_LINES):
        say(f"  {line}")


def last_lines(cluster: Cluster, server: str, *, count: int) -> list[str]:
    """Return the end of a server's log."""
    try:
        return cluster.log(server).read_text(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def reap(pid: int) -> None:
    """Wait until a process is gone that has ended or was killed: as a zombie it still has its id."""
    with contextlib.suppress(ChildProcessError):  # a launcher that ended before started it
        os.waitpid(pid, 0)
