"""Settings: the profile, the location of its state, and its limits."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headrace.errors import SettingsError

if TYPE_CHECKING:
    from pydantic import SecretStr

MIB = 1024 * 1024
# some readers, such as SQLite, take locations as URLs, and others as quoted names
_UNSAFE = frozenset('#?%"\\')
ENGINES = ("duckdb",)
_DEFAULTS: dict[str, Any] = {
    "state_dir": ".headrace",
    "data_dir": "",
    "memory_limit_mib": 4096,
    "threads": 2,
    "target_file_mib": 128,
    "compaction_commit_mib": 1024,
    "snapshots_kept": 100,
    "cleanup_age_hours": 72,
    "trash_days": 7,
    "tables_also_in": [],
    "registry_uri": "",
    "engine": "duckdb",
}
_SERVERS = frozenset({"postgresql", "postgresql+psycopg2"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one lake for one process.

    `declarations` is the folder of the settings file, with streams, sample sets and `lake.toml`;
    it may have any name. `root` is its parent folder, which relative paths start from. headrace
    writes files only below `state_dir`; file sources are relative to `data_dir`. Tables outside of
    `state_dir` and of the locations in `tables_also_in` are treated as tables of another lake.
    `registry_server` is the PostgreSQL database of the registry, None if it is a file.
    `engine`, one of `ENGINES`, runs SQL.
    """

    root: Path
    declarations: Path
    profile: str
    state_dir: Path
    data_dir: Path
    memory_limit_mib: int
    threads: int
    target_file_mib: int
    compaction_commit_mib: int
    snapshots_kept: int
    cleanup_age_hours: int
    trash_days: int
    tables_also_in: tuple[str, ...] = ()
    registry_server: "SecretStr | None" = None
    engine: str = "duckdb"

    @property
    def warehouse(self) -> Path:
        """The folder of table files."""
        return self.state_dir / "warehouse"

    @property
    def catalog_file(self) -> Path:
        """The database file of the Iceberg catalog."""
        return self.state_dir / "catalog.db"

    @property
    def catalog_uri(self) -> str:
        """The database URI of the Iceberg catalog."""
        return f"sqlite:///{self.catalog_file}"

    @property
    def registry_file(self) -> Path:
        """The database file of the registry, if it is not on a server."""
        return self.state_dir / "registry.db"

    @property
    def registry_uri(self) -> str:
        """The database URI of the registry: lineage, builds, versions. May contain a password."""
        if self.registry_server is not None:
            return self.registry_server.get_secret_value()
        return f"sqlite:///{self.registry_file}"

    @property
    def online_store(self) -> Path:
        """The database file of the embedded online store."""
        return self.state_dir / "online.db"

    @property
    def datasets_dir(self) -> Path:
        """The folder of lockfiles and their file plans."""
        return self.state_dir / "datasets"

    @property
    def target_file_bytes(self) -> int:
        """The target file size of compaction."""
        return self.target_file_mib * MIB

    @property
    def cleanup_age_s(self) -> int:
        """The minimum age of an orphan file before clean-up removes it."""
        return self.cleanup_age_hours * 3600

    @property
    def trash_age_s(self) -> int:
        """How long files removed by clean-up can be restored."""
        return self.trash_days * 86_400

    @property
    def compaction_commit_bytes(self) -> int:
        """About how many bytes compaction rewrites per commit."""
        return self.compaction_commit_mib * MIB

    @classmethod
    def load(cls, *, env: Mapping[str, str] | None = None, path: Path | None = None) -> "Settings":
        """Read `lake/lake.toml`, then the environment.

        The file is `path`, else `HEADRACE_LAKE`, else the nearest `lake/lake.toml` at or above the
        working directory. `HEADRACE_PROFILE` selects the profile, `HEADRACE_STATE_DIR` sets the
        state folder and `HEADRACE_DATA_DIR` the folder of input files. Relative paths start at the
        lake's root; by default input files are in `data` below the state folder.
        `HEADRACE_REGISTRY_URI` names the PostgreSQL database of the registry, with its password if
        it needs one.

        Raises:
            SettingsError: If a setting is invalid; it names the file, the key and what is allowed.

        """
        env = os.environ if env is None else env
        file = path or _find(env)
        try:
            content = tomllib.loads(file.read_text())
        except OSError as error:
            msg = f"`{file}` cannot be read: {error.strerror}"
            raise SettingsError(msg) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            msg = f"`{file}` is not valid TOML: {error}"
            raise SettingsError(msg) from error
        declarations = file.resolve().parent
        root = declarations.parent
        profile = env.get("HEADRACE_PROFILE") or str(content.get("profile", "local"))
        values = _profile_values(file, content, profile)
        declared_state, declared_data = values.pop("state_dir"), values.pop("data_dir")
        state_dir = _safe(root / (env.get("HEADRACE_STATE_DIR") or declared_state))
        data: str = env.get("HEADRACE_DATA_DIR") or declared_data
        data_dir = root / data if data else state_dir / "data"
        server = _server(file, profile, values.pop("registry_uri"), env)
        return cls(
            root=root,
            declarations=declarations,
            profile=profile,
            state_dir=state_dir,
            data_dir=data_dir,
            registry_server=server,
            **values,
        )

    @classmethod
    def without_lake(cls, *, env: Mapping[str, str] | None = None) -> "Settings":
        """Return the default settings, for tables of a catalog without a lake.

        Locks and the registry for such tables are kept in `.headrace` of the working directory, or
        in `HEADRACE_STATE_DIR` if that is set.

        Raises:
            SettingsError: If the path of the state folder is not allowed.

        """
        env = os.environ if env is None else env
        root, values = Path.cwd(), dict(_DEFAULTS)
        del values["data_dir"], values["tables_also_in"], values["registry_uri"]
        state_dir = _safe(root / (env.get("HEADRACE_STATE_DIR") or values.pop("state_dir")))
        values.pop("state_dir", None)
        return cls(
            root=root,
            declarations=root / "lake",
            profile="local",
            state_dir=state_dir,
            data_dir=state_dir / "data",
            **values,
        )


def _safe(state_dir: Path) -> Path:
    found = sorted(set(str(state_dir)) & _UNSAFE)
    if found:
        msg = (
            f"the state folder `{state_dir}` has `{found[0]}` in its path, which table locations "
            "cannot have; set `state_dir` or HEADRACE_STATE_DIR to a folder without it"
        )
        raise SettingsError(msg)
    return state_dir


def _server(file: Path, profile: str, declared: str, env: Mapping[str, str]) -> "SecretStr | None":
    """Read where the registry is, if it is on a server; no message repeats what may be a secret."""
    uri = env.get("HEADRACE_REGISTRY_URI") or declared
    if not uri:
        return None
    named = "HEADRACE_REGISTRY_URI"
    if uri is declared:
        named = f"`{file}`: profiles.{profile}.registry_uri"
    try:
        parts = urlsplit(uri)
        _ = parts.port  # read only here: it raises where it is no number
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in _SERVERS or not parts.path.strip("/"):
        msg = (
            f"{named} is not the URL of a PostgreSQL database; write "
            '"postgresql://user@host:5432/database"'
        )
        raise SettingsError(msg)
    if uri is declared and (parts.password is not None or "password=" in parts.query):
        msg = (
            f"{named} holds a password, and this file is shared; name it without one there and "
            "give the whole URL by HEADRACE_REGISTRY_URI, or the password by PGPASSWORD or "
            "PGPASSFILE"
        )
        raise SettingsError(msg)
    from pydantic import SecretStr  # most commands need it not, and importing it takes a while

    return SecretStr(uri)


def _find(env: Mapping[str, str]) -> Path:
    if env.get("HEADRACE_LAKE"):
        return Path(env["HEADRACE_LAKE"])
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "lake" / "lake.toml").is_file():
            return folder / "lake" / "lake.toml"
    msg = (
        f"no `lake/lake.toml` in `{here}` or above it; run inside a lakehouse folder "
        "or set HEADRACE_LAKE=/path/to/lake/lake.toml"
    )
    raise SettingsError(msg)


def _profile_values(file: Path, content: dict[str, Any], profile: str) -> dict[str, Any]:
    declared = content.get("profiles")
    profiles: dict[str, Any] = declared if isinstance(declared, dict) else {}
    if not isinstance(profiles.get(profile), dict):
        known = ", ".join(f"`{name}`" for name, each in profiles.items() if isinstance(each, dict))
        known = known or "none; write `[profiles.local]`"
        msg = f"`{file}` has no profile `{profile}`; it declares {known}"
        raise SettingsError(msg)
    values = dict(_DEFAULTS)
    for key, value in profiles[profile].items():
        where = f"`{file}`: profiles.{profile}.{key}"
        if key not in _DEFAULTS:
            allowed = ", ".join(f"`{name}`" for name in _DEFAULTS)
            msg = f"{where} is not a setting; allowed are {allowed}"
            raise SettingsError(msg)
        wanted = type(_DEFAULTS[key])
        if not isinstance(value, wanted) or isinstance(value, bool):
            msg = f"{where} is {value!r}, but must be of type {wanted.__name__}"
            raise SettingsError(msg)
        if wanted is int and value <= 0:
            msg = f"{where} is {value}, but must be positive"
            raise SettingsError(msg)
        values[key] = value
    if values["engine"] not in ENGINES:
        allowed = ", ".join(f"`{name}`" for name in ENGINES)
        msg = f"`{file}`: profiles.{profile}.engine is `{values['engine']}`; allowed are {allowed}"
        raise SettingsError(msg)
    values["tables_also_in"] = _locations(file, profile, values["tables_also_in"])
    return values


def _locations(file: Path, profile: str, declared: list[object]) -> tuple[str, ...]:
    """Convert folders to the form of table locations: URLs without a trailing slash."""
    found: list[str] = []
    for each in declared:
        if not isinstance(each, str) or not (each.startswith("/") or "://" in each):
            msg = (
                f"`{file}`: profiles.{profile}.tables_also_in has {each!r}; it lists absolute "
                'folders and URLs, as in ["/mnt/tables", "s3://bucket/tables"]'
            )
            raise SettingsError(msg)
        location = f"file://{each}" if each.startswith("/") else each
        found.append(location.rstrip("/"))
    return tuple(found)
