"""Settings: the profile, the location of its state, and its limits."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import lake_file, servers
from headrace.errors import SettingReason, SettingsError
from headrace.flink_access import FlinkAccess, flink_access
from headrace.kafka_access import KafkaAccess, RegistryAccess, kafka_access, registry_access
from headrace.servers import S3Access, Sayings, TrinoAccess

if TYPE_CHECKING:
    from pydantic import SecretStr

MIB = 1024 * 1024
# some readers, such as SQLite, take locations as URLs, and others as quoted names
_UNSAFE = frozenset('#?%"\\')
ENGINES = ("duckdb", "trino")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one lake for one process.

    `declarations` is the folder of the settings file, with streams, sample sets and `lake.toml`;
    it may have any name. `root` is its parent folder, which relative paths start from. headrace
    writes files only below `state_dir` and the warehouse; file sources are relative to `data_dir`.
    Tables outside of the warehouse and of the locations in `tables_also_in` are treated as tables
    of another lake. `declared_warehouse` is its location where it is not below `state_dir`.
    `catalog` is one that another program runs: a name that PyIceberg's configuration declares, or
    a type and an address as in `rest+http://host:8181`; "" where headrace keeps the catalog itself.
    `catalog_server` and `registry_server` are PostgreSQL databases and `online_store_server` is a
    Redis one, None if they are files; `s3`, `trino`, `kafka`, `schema_registry` and `flink` are None
    where nothing names them. `engine`, one of `ENGINES`, runs SQL. `paimon_warehouse` is where tables of
    Paimon lie, `file:///folder` or `s3://bucket/prefix`, and "" where nothing names it.
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
    catalog: str = ""
    catalog_server: "SecretStr | None" = None
    registry_server: "SecretStr | None" = None
    online_store_server: "SecretStr | None" = None
    declared_warehouse: str = ""
    s3: S3Access | None = None
    engine: str = "duckdb"
    trino: TrinoAccess | None = None
    trino_compaction_mib: int = 1024
    kafka: KafkaAccess | None = None
    schema_registry: RegistryAccess | None = None
    paimon_warehouse: str = ""
    flink: FlinkAccess | None = None

    @property
    def warehouse_uri(self) -> str:
        """The location of table files, `file:///folder` or `s3://bucket/prefix`."""
        return self.declared_warehouse or f"file://{self.state_dir / 'warehouse'}"

    @property
    def warehouse_is_local(self) -> bool:
        """Whether table files lie in a folder of this host."""
        return self.warehouse_uri.startswith("file://")

    @property
    def warehouse(self) -> Path:
        """The folder of table files, if `warehouse_is_local`.

        Raises:
            ValueError: If they lie on S3: a caller that does not need a folder has `warehouse_uri`.

        """
        return _folder(self.warehouse_uri)

    @property
    def catalog_file(self) -> Path:
        """The database file of the Iceberg catalog."""
        return self.state_dir / "catalog.db"

    @property
    def catalog_uri(self) -> str:
        """The database URI of the Iceberg catalog. May contain a password."""
        if self.catalog_server is not None:
            return self.catalog_server.get_secret_value()
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
    def datasets_uri(self) -> str:
        """The location of lockfiles and their file plans: in the warehouse, where that is shared."""
        if self.declared_warehouse:
            return f"{self.declared_warehouse}/.datasets"
        return f"file://{self.state_dir / 'datasets'}"

    @property
    def datasets_dir(self) -> Path:
        """The folder of lockfiles and their file plans, if `warehouse_is_local`.

        Raises:
            ValueError: If they lie on S3, at `datasets_uri`.

        """
        return _folder(self.datasets_uri)

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
    def trino_compaction_bytes(self) -> int | None:
        """From how many bytes to rewrite Trino compacts a partition; None if it is not the engine."""
        return self.trino_compaction_mib * MIB if self.engine == "trino" else None

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
        The addresses of servers, their users and passwords, the warehouse and the engine come from
        `HEADRACE_CATALOG`, `HEADRACE_CATALOG_URI`, `HEADRACE_REGISTRY_URI`, `HEADRACE_ONLINE_STORE_URI`,
        `HEADRACE_WAREHOUSE`, `HEADRACE_PAIMON_WAREHOUSE`, `HEADRACE_ENGINE`,
        `HEADRACE_S3_ENDPOINT`, `HEADRACE_S3_ACCESS_KEY`, `HEADRACE_S3_SECRET_KEY`,
        `HEADRACE_TRINO_URI`, `HEADRACE_TRINO_USER` and `HEADRACE_TRINO_PASSWORD`,
        `HEADRACE_KAFKA_SERVERS`, `HEADRACE_KAFKA_USER`, `HEADRACE_KAFKA_PASSWORD`,
        `HEADRACE_KAFKA_KEY_PASSWORD`, `HEADRACE_FLINK_URI`, `HEADRACE_FLINK_GATEWAY_URI`, and
        `HEADRACE_SCHEMA_REGISTRY_URL`, `_USER` and `_PASSWORD`, or from the files
        that these names with `_FILE` at their end name. A catalog on a server has the registry in
        its database, in the schema `headrace`, unless a registry is named.

        Raises:
            SettingsError: If a setting is invalid; it names the file, the key and what is allowed.

        """
        env = os.environ if env is None else env
        file = path or lake_file.find(env)
        content = lake_file.read(file)
        declarations = file.resolve().parent
        root = declarations.parent
        profile = env.get("HEADRACE_PROFILE") or str(content.get("profile", "local"))
        values = lake_file.profile_values(file, content, profile)
        declared_state, declared_data = values.pop("state_dir"), values.pop("data_dir")
        state_dir = _safe(root / (env.get("HEADRACE_STATE_DIR") or declared_state))
        data: str = env.get("HEADRACE_DATA_DIR") or declared_data
        data_dir = root / data if data else state_dir / "data"
        return cls(
            root=root,
            declarations=declarations,
            profile=profile,
            state_dir=state_dir,
            data_dir=data_dir,
            **_with_servers(Sayings(file=file, profile=profile, values=values, env=env), root),
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
        root, values = Path.cwd(), dict(lake_file.DEFAULTS)
        limits: dict[str, Any] = {
            k: v for k, v in values.items() if isinstance(v, int) and k in cls.__dataclass_fields__
        }
        state_dir = _safe(root / (env.get("HEADRACE_STATE_DIR") or values["state_dir"]))
        return cls(
            root=root,
            declarations=root / "lake",
            profile="local",
            state_dir=state_dir,
            data_dir=state_dir / "data",
            **limits,
        )


def _safe(state_dir: Path) -> Path:
    _refuse_unsafe(str(state_dir), "state folder", key="state_dir", by="HEADRACE_STATE_DIR")
    return state_dir


def _refuse_unsafe(location: str, what: str, *, key: str, by: str) -> None:
    found = sorted(set(location) & _UNSAFE)
    if found:
        msg = (
            f"the {what} `{location}` has `{found[0]}` in its path, which table locations cannot "
            f"have; set `{key}` or {by} to a folder without it"
        )
        raise SettingsError(msg, setting=by, reason=SettingReason.NOT_ALLOWED)


def _folder(location: str) -> Path:
    if not location.startswith("file://"):
        msg = f"`{location}` is not a folder of this host"
        raise ValueError(msg)
    return Path(location.removeprefix("file://"))


def _with_servers(sayings: Sayings, root: Path) -> dict[str, Any]:
    """Turn the addresses among the values of a profile into what `Settings` hold."""
    known = set(Settings.__dataclass_fields__)
    found = {name: value for name, value in sayings.values.items() if name in known}
    engine = sayings.of("engine", by="HEADRACE_ENGINE")
    if engine.value not in ENGINES:
        allowed = ", ".join(f"`{name}`" for name in ENGINES)
        msg = f"{engine.named} is `{engine.value}`; allowed are {allowed}"
        raise SettingsError(msg, setting=engine.named, reason=SettingReason.NOT_ALLOWED)
    required = tuple(sayings.values["required_environment"])
    servers.refuse_unset(sayings.env, required, profile=sayings.profile)
    warehouse = servers.warehouse(sayings, root=root)
    _refuse_unsafe(warehouse, "warehouse", key="warehouse", by="HEADRACE_WAREHOUSE")
    catalog = servers.database(sayings, "catalog_uri", by="HEADRACE_CATALOG_URI")
    other = sayings.of("catalog", by="HEADRACE_CATALOG")
    if other.value and catalog is not None:
        msg = f"{other.named} and a catalog on PostgreSQL are both set; set one of them"
        raise SettingsError(msg, setting=other.named, reason=SettingReason.SET_TWICE)
    registry = servers.database(sayings, "registry_uri", by="HEADRACE_REGISTRY_URI")
    if registry is None and catalog is not None:
        registry = servers.in_schema(catalog, servers.REGISTRY_SCHEMA)
    trino = servers.trino_access(sayings, root=root)
    said_paimon = sayings.of("paimon_warehouse", by="HEADRACE_PAIMON_WAREHOUSE")
    paimon = servers.location(said_paimon, root=root)
    needs_s3 = any(each.startswith("s3://") for each in (warehouse, paimon))
    if engine.value == "trino" and trino is None:
        msg = f"{engine.named} is `trino`, and nothing says where it is; set HEADRACE_TRINO_URI"
        raise SettingsError(msg, setting="HEADRACE_TRINO_URI", reason=SettingReason.MISSING)
    return {
        **found,
        "catalog": other.value,
        "catalog_server": catalog,
        "registry_server": registry,
        "online_store_server": servers.online_store(sayings),
        "declared_warehouse": warehouse,
        "s3": servers.s3_access(sayings, needed=needs_s3),
        "engine": engine.value,
        "trino": trino,
        "kafka": kafka_access(sayings, root=root),
        "schema_registry": registry_access(sayings),
        "paimon_warehouse": paimon,
        "flink": flink_access(sayings),
    }
