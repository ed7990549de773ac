"""`lake.toml`: where it is, and the values of its profiles with their defaults."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.errors import SettingReason, SettingsError

DEFAULTS: dict[str, Any] = {
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
    "catalog": "",
    "catalog_uri": "",
    "registry_uri": "",
    "warehouse": "",
    "s3_endpoint": "",
    "s3_region": "us-east-1",
    "online_store_uri": "",
    "s3_connect_timeout_s": 10,
    "s3_request_timeout_s": 60,
    "s3_attempts_max": 8,
    "engine": "duckdb",
    "trino_uri": "",
    "trino_catalog": "lake",
    "trino_ca_file": "",
    "kafka_servers": "",
    "kafka_security": "plaintext",
    "kafka_sasl_mechanism": "SCRAM-SHA-512",
    "kafka_ca_file": "",
    "kafka_certificate_file": "",
    "kafka_key_file": "",
    "schema_registry_url": "",
    "paimon_warehouse": "",
    "flink_uri": "",
    "flink_gateway_uri": "",
    "required_environment": [],
}


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
