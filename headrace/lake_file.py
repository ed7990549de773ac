"""`lake.toml`: where it is, and the values of its profiles with their defaults."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headrace.errors import SettingReason, SettingsError


@dataclass(frozen=True, kw_only=True)
class ProfileKeys:
    """The keys of a profile, with their defaults; `[profiles.NAME]` in `lake.toml`.

    Relative paths start at the lake's root, the folder above that of `lake.toml`. An empty text means
    that nothing is set. Variables go before the file; each that is named here may end in `_FILE`, and
    then names a file with the value.
    """

    state_dir: str = ".headrace"
    """The folder of everything that headrace writes on this host: tables, catalog, registry, online
    store, dataset versions, as far as they are not on servers. HEADRACE_STATE_DIR.
    Example: `".headrace"`"""
    data_dir: str = ""
    """The folder that patterns of file sources start from; by default `data` in the state folder.
    HEADRACE_DATA_DIR. Example: `"data"`"""
    memory_limit_mib: int = 4096
    """What an engine may hold in memory before it uses files. Example: `8192`"""
    threads: int = 2
    """How many threads an engine uses. Example: `8`"""
    target_file_mib: int = 128
    """The size of files that compaction aims at. Example: `256`"""
    compaction_commit_mib: int = 1024
    """About how much compaction rewrites before it commits. Example: `4096`"""
    snapshots_kept: int = 100
    """How many snapshots of a table expiry leaves; tags and leases keep theirs. Example: `500`"""
    cleanup_age_hours: int = 72
    """How old an orphan file has to be before clean-up takes it; longer than any job runs.
    Example: `168`"""
    trash_days: int = 7
    """How long files that clean-up took can be restored. Example: `30`"""
    tables_also_in: list[str] = field(default_factory=list[str])
    """Absolute folders and URLs outside of the warehouse whose tables are this lake's too.
    Example: `["s3://older/tables"]`"""
    catalog: str = ""
    """A catalog that another program runs: a name of PyIceberg's configuration, or a type and an
    address. HEADRACE_CATALOG. Example: `"rest+http://host:8181"`"""
    catalog_uri: str = ""
    """The PostgreSQL database of the catalog; without it, a file in the state folder.
    HEADRACE_CATALOG_URI. Example: `"postgresql://db.internal:5432/lake"`"""
    registry_uri: str = ""
    """The PostgreSQL database of the registry; by default that of the catalog, in the schema
    `headrace`. HEADRACE_REGISTRY_URI. Example: `"postgresql://db.internal:5432/registry"`"""
    warehouse: str = ""
    """Where table files lie: a folder, or a bucket and prefix; by default in the state folder.
    HEADRACE_WAREHOUSE. Example: `"s3://bucket/lake"`"""
    s3_endpoint: str = ""
    """The address of an S3 store that is not AWS; keys come from HEADRACE_S3_ACCESS_KEY and
    HEADRACE_S3_SECRET_KEY. HEADRACE_S3_ENDPOINT. Example: `"http://127.0.0.1:9000"`"""
    s3_region: str = "us-east-1"
    """Its region. Example: `"eu-west-1"`"""
    online_store_uri: str = ""
    """The Redis server of the online store; without it, a file in the state folder.
    HEADRACE_ONLINE_STORE_URI. Example: `"redis://cache.internal:6379/0"`"""
    s3_connect_timeout_s: int = 10
    """How long to wait for a connection to S3. Example: `5`"""
    s3_request_timeout_s: int = 60
    """How long to wait for an answer of S3. Example: `30`"""
    s3_attempts_max: int = 8
    """How often a request to S3 is tried in all. Example: `4`"""
    engine: str = "duckdb"
    """What runs SQL: `duckdb` or `trino`. HEADRACE_ENGINE. Example: `"trino"`"""
    trino_uri: str = ""
    """The address of Trino; user and password come from HEADRACE_TRINO_USER and
    HEADRACE_TRINO_PASSWORD. HEADRACE_TRINO_URI. Example: `"https://trino.internal:8443"`"""
    trino_catalog: str = "lake"
    """What Trino calls the catalog. Example: `"lake"`"""
    trino_ca_file: str = ""
    """The certificates that Trino's is checked by; by default those of the system.
    Example: `"certificates/trino.pem"`"""
    trino_compaction_mib: int = 1024
    """From how much there is to rewrite in a partition maintenance lets Trino merge its files, where
    Trino is the engine. Example: `4096`"""
    kafka_servers: str = ""
    """The brokers of Kafka; user and password come from HEADRACE_KAFKA_USER and
    HEADRACE_KAFKA_PASSWORD. HEADRACE_KAFKA_SERVERS. Example: `"kafka-1:9092,kafka-2:9092"`"""
    kafka_security: str = "plaintext"
    """How to talk to them: `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    Example: `"sasl_ssl"`"""
    kafka_sasl_mechanism: str = "SCRAM-SHA-512"
    """How to prove who one is: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    Example: `"SCRAM-SHA-256"`"""
    kafka_ca_file: str = ""
    """The certificates that the brokers' are checked by; by default those of the system.
    Example: `"certificates/kafka.pem"`"""
    kafka_certificate_file: str = ""
    """The certificate by which the brokers know this client. Example: `"certificates/client.pem"`"""
    kafka_key_file: str = ""
    """Its key; a password comes from HEADRACE_KAFKA_KEY_PASSWORD.
    Example: `"certificates/client.key"`"""
    schema_registry_url: str = ""
    """A registry of schemas with Confluent's API; user and password come from
    HEADRACE_SCHEMA_REGISTRY_USER and HEADRACE_SCHEMA_REGISTRY_PASSWORD. HEADRACE_SCHEMA_REGISTRY_URL.
    Example: `"http://registry.internal:8081"`"""
    paimon_warehouse: str = ""
    """Where tables of Paimon lie. HEADRACE_PAIMON_WAREHOUSE. Example: `"s3://bucket/paimon"`"""
    flink_uri: str = ""
    """The address of Flink's JobManager. HEADRACE_FLINK_URI. Example: `"http://flink.internal:8081"`"""
    flink_gateway_uri: str = ""
    """The address of Flink's SQL gateway. HEADRACE_FLINK_GATEWAY_URI.
    Example: `"http://flink.internal:8083"`"""
    flink_python: str = ""
    """The interpreter on Flink's hosts that has PyFlink and headrace, for window views of many tiles.
    HEADRACE_FLINK_PYTHON. Example: `"/opt/pyflink/bin/python"`"""
    required_environment: list[str] = field(default_factory=list[str])
    """Variables without which the profile is refused, so that it never works on other places than
    meant. Example: `["HEADRACE_CATALOG_URI", "HEADRACE_WAREHOUSE"]`"""


DEFAULTS: dict[str, Any] = asdict(ProfileKeys())


def find(env: Mapping[str, str]) -> Path:
    """Return the file that `HEADRACE_LAKE` names, else the nearest at or above this folder.

    Raises:
        SettingsError: If there is none.

    """
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
    raise SettingsError(msg, setting="HEADRACE_LAKE", reason=SettingReason.MISSING)


def read(file: Path) -> dict[str, Any]:
    """Read the file.

    Raises:
        SettingsError: If it cannot be read, or is not TOML.

    """
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        msg = f"`{file}` cannot be read: {error.strerror}"
        raise SettingsError(msg, setting=str(file), reason=SettingReason.UNREADABLE) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"`{file}` is not valid TOML: {error}"
        raise SettingsError(msg, setting=str(file), reason=SettingReason.UNREADABLE) from error


def profile_values(file: Path, content: dict[str, Any], profile: str) -> dict[str, Any]:
    """Return the values of a profile, with the default of each that it does not set.

    Raises:
        SettingsError: If there is no such profile, or a value is not allowed.

    """
    declared = content.get("profiles")
    profiles: dict[str, Any] = declared if isinstance(declared, dict) else {}
    if not isinstance(profiles.get(profile), dict):
        known = ", ".join(f"`{name}`" for name, each in profiles.items() if isinstance(each, dict))
        known = known or "none; write `[profiles.local]`"
        msg = f"`{file}` has no profile `{profile}`; it declares {known}"
        raise SettingsError(msg, setting=f"profiles.{profile}", reason=SettingReason.MISSING)
    values = dict(DEFAULTS)
    for key, value in profiles[profile].items():
        setting = f"profiles.{profile}.{key}"
        where = f"`{file}`: {setting}"
        if key not in DEFAULTS:
            allowed = ", ".join(f"`{name}`" for name in DEFAULTS)
            msg = f"{where} is not a setting; allowed are {allowed}"
            raise SettingsError(msg, setting=setting, reason=SettingReason.UNKNOWN)
        wanted = type(DEFAULTS[key])
        if not isinstance(value, wanted) or isinstance(value, bool):
            msg = f"{where} is {value!r}, but must be of type {wanted.__name__}"
            raise SettingsError(msg, setting=setting, reason=SettingReason.NOT_ALLOWED)
        if wanted is int and value <= 0:
            msg = f"{where} is {value}, but must be positive"
            raise SettingsError(msg, setting=setting, reason=SettingReason.NOT_ALLOWED)
        values[key] = value
    required = values["required_environment"]
    if not all(isinstance(each, str) for each in required):
        msg = f"`{file}`: profiles.{profile}.required_environment has other than texts"
        raise SettingsError(
            msg,
            setting=f"profiles.{profile}.required_environment",
            reason=SettingReason.NOT_ALLOWED,
        )
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
            raise SettingsError(
                msg, setting=f"profiles.{profile}.tables_also_in", reason=SettingReason.NOT_ALLOWED
            )
        location = f"file://{each}" if each.startswith("/") else each
        found.append(location.rstrip("/"))
    return tuple(found)
