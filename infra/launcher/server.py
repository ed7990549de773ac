"""The seam between the launcher and the servers it runs."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.launcher.cluster import Cluster


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a server's process is started; it stays in the foreground of its own session."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None


class Server(Protocol):
    """One server: fetched, prepared, launched, probed, set up and, by its process id, stopped."""

    name: str
    ports: tuple[str, ...]  # names of those it listens on; the first is its own name
    after: tuple[str, ...]  # servers that have to be healthy before
    start_s_max: float
    stop_s_max: float
    stop_signal: signal.Signals

    def check(self) -> None:
        """Look for the programs that it is fetched with, before anything is fetched.

        Raises:
            MissingProgramError: If one is not installed, naming its package.

        """
        ...

    def fetch(self) -> None:
        """Fetch and unpack what is published of it, unless the cache has it.

        Raises:
            LauncherError: If a program is missing, or a package is not to be had or not the pinned one.

        """
        ...

    def prepare(self, cluster: Cluster) -> None:
        """Make its folder and configuration; changes nothing that is there already."""
        ...

    def launch(self, cluster: Cluster) -> Launch:
        """Return how its process is started."""
        ...

    def probe(self, cluster: Cluster) -> None:
        """Do a real operation.

        Raises:
            Exception: Of any kind, if the server does not answer as a healthy one.

        """
        ...

    def set_up(self, cluster: Cluster) -> None:
        """Make what its clients expect, such as accounts, once it answers; safe to repeat.

        Raises:
            Exception: Of any kind, if it refuses.

        """
        ...

    def address(self, cluster: Cluster) -> str:
        """Return the address that clients use, without passwords."""
        ...
