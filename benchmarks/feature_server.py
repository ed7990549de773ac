"""A feature server of its own process with a small model, which the benchmarks of serving ask."""

import http.client
import random
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import declare_lake, process_cpu_s, status_mib
from infra.launcher.cluster import Cluster

USERS, ITEMS = 2_000, 5_000
_WAIT_S = 60


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    port: int
    pid: int

    @property
    def cpu_s(self) -> float:
        """The CPU time that its process has used."""
        return process_cpu_s(self.pid)

    @property
    def rss_mib(self) -> float:
        """The memory that its process has now."""
        return status_mib(self.pid, "VmRSS")


def prepare(home: Path) -> None:
    """Make a lake with two published views and an exported model that reads them."""
    from headrace.loading.export import export_model
    from headrace.serving.sqlite import SQLiteOnlineStore
    from tests.serving import ranked

    declare_lake(str(home))
    with SQLiteOnlineStore(home / ".headrace" / "online.db") as store:
        store.replace(ranked.USERS, (ranked.user(number) for number in range(USERS)))
        store.replace(ranked.ITEMS, (ranked.item(number) for number in range(ITEMS)))
    export_model(
        ranked.Model(),
        spec=ranked.SPEC,
        types=ranked.TYPES,
        lock=ranked.lockfile(),
        folder=home / "model",
    )


def ranking(number: int, *, candidates: int) -> dict[str, object]:
    """Return the body of a request for a ranking; equal numbers ask the same."""
    draw = random.Random(number)
    return {
        "context": {"user_id": draw.randrange(USERS), "position": 1},
        "candidates": [{"item_id": draw.randrange(ITEMS)} for _ in range(candidates)],
        "top": 20,
    }


@contextmanager
def served(
    command: Sequence[str], *, home: Path, alive: str, environment: dict[str, str] | None = None
) -> Generator[Served]:
    """Run a server until the block ends; `command` gets its port in place of `PORT`.

    Args:
        command: The server's.
        home: Its working directory.
        alive: The path that answers with 200 once it serves.
        environment: Of its process; this one's by default.

    """
    port = Cluster(home / "ports").port("serve")
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [part.replace("PORT", str(port)) for part in command],
            cwd=home,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(port, alive, process)
        yield Served(port, process.pid)
    except BaseException:
        print((home / "server.log").read_text()[-2_000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait()


def headrace_serve(*options: str) -> list[str]:
    """Return the command of headrace's own server."""
    program = str(Path(sys.executable).with_name("headrace"))
    return [program, "serve", "--port", "PORT", *options]


def _wait(port: int, alive: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", alive)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        if time.monotonic() > deadline or process.poll() is not None:
            msg = "the server does not answer"
            raise AssertionError(msg)
        time.sleep(0.1)
