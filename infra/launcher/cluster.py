"""State of a cluster between commands: ports, passwords and process ids, all in one folder."""

import contextlib
import fcntl
import json
import os
import random
import secrets
import socket
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.launcher.errors import ClusterBusyError

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
_START_TICKS = 22 - 3  # in /proc/<pid>/stat behind the command, whose first field is the state
_GONE = frozenset("ZXx")
_PORTS = range(20_000, 32_000)  # connections have 32,768 and up on Linux, 49,152 and up elsewhere


@dataclass(frozen=True)
class Cluster:
    """The servers of one checkout; `folder` holds all that they write."""

    folder: Path

    @classmethod
    def of_checkout(cls) -> "Cluster":
        """Return the cluster of this checkout; `HEADRACE_CLUSTER_DIR` names another folder."""
        said = os.environ.get("HEADRACE_CLUSTER_DIR")
        # absolute: servers start in folders of their own
        return cls(Path(said).absolute() if said else ROOT / ".headrace" / "cluster")

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Keep other launchers out.

        Raises:
            ClusterBusyError: If one is at work.

        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ClusterBusyError(str(self.folder)) from None
            yield

    def of(self, server: str) -> Path:
        """Return the folder of one server."""
        return self.folder / server

    def log(self, server: str) -> Path:
        """Return where a server's output goes."""
        return self.folder / f"{server}.log"

    @staticmethod
    def external(server: str) -> str | None:
        """Return the configured address of an external server, if one is set."""
        return os.environ.get(f"HEADRACE_{server.upper()}_URL") or None

    def port(self, name: str) -> int:
        """Return the loopback port of this name: the same in every command, free when first asked."""
        known = self._read("ports.json")
        if name not in known:
            with self._changing("ports.json") as known:
                if name not in known:  # another process was faster
                    known[name] = free_port(taken=frozenset(known.values()))
        return int(known[name])

    def port_is_free(self, name: str) -> bool:
        """Whether a server could listen on the port of this name now."""
        return _is_free(self.port(name))

    def release_port(self, name: str) -> None:
        """Forget a port, because another program has taken it."""
        with self._changing("ports.json") as ports:
            ports.pop(name, None)

    def secret(self, name: str) -> str:
        """Return the generated password of this name; only its owner can read the file."""
        known = self._read("secrets.json")
        if name not in known:
            with self._changing("secrets.json") as known:
                known.setdefault(name, secrets.token_urlsafe(24))
        return str(known[name])

    def started(self, server: str, pid: int) -> None:
        """Remember the process of a server."""
        found = {"pid": pid, "start_ticks": _start_ticks(pid), "boot_id": _boot_id()}
        with self._changing("processes.json") as processes:
            processes[server] = {**found, "pid_namespace": _pid_namespace()}

    def ended(self, server: str) -> None:
        """Forget the process of a server."""
        with self._changing("processes.json") as processes:
            processes.pop(server, None)

    def pid(self, server: str) -> int | None:
        """Return the process of a server if it still runs; a reused process id does not count."""
        known = self._read("processes.json").get(server)
        if known is None or known.get("boot_id") != _boot_id():
            return None
        if known.get("pid_namespace", _pid_namespace()) != _pid_namespace():
            return None  # of another container, where the same id is another process
        ticks = _start_ticks(known["pid"])  # none was recorded if it ended at once
        return None if ticks is None or ticks != known["start_ticks"] else int(known["pid"])

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / name).read_text()))
        except FileNotFoundError:
            return {}

    @contextlib.contextmanager
    def _changing(self, name: str) -> Generator[dict[str, Any]]:
        """Change a file that others may change too: commands ask for ports and passwords beside `up`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{name}"
        with (self.folder / f".{name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            content = self._read(name)
            yield content
            write_private(draft, json.dumps(content, indent=1))
            draft.replace(self.folder / name)


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner can read, also while it is written."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(os.open(path, flags, 0o600), "w") as opened:
        os.fchmod(opened.fileno(), 0o600)  # it may have been there
        opened.write(content)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # as servers do: connections of one that ended a moment ago do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(*, taken: frozenset[int] = frozenset()) -> int:
    """Return a port on which nobody listens, for a server that will start.

    None that the system gives to connections: it may do so before a server that takes seconds to start
    listens there. One of those if no other is free.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in taken and _is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _boot_id() -> str:
    """Return what tells this boot of the host, in which start times count, from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _pid_namespace() -> str:
    """Return what tells the process ids of this container from those of others on the host."""
    return str(Path("/proc/self/ns/pid").readlink())


def _start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it has ended."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if facts[0] in _GONE else int(facts[_START_TICKS])
