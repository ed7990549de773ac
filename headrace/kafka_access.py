"""How a profile reaches Kafka and its schema registry; secrets come from the environment or from files."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headrace.errors import SettingReason, SettingsError
from headrace.servers import Sayings, given, secret

if TYPE_CHECKING:
    from pydantic import SecretStr

SECURITY = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_SERVERS = re.compile(
    r"[^\s,:/@]+:[0-9]{1,5}(,[^\s,:/@]+:[0-9]{1,5})*|\[[0-9a-fA-F:]+\]:[0-9]{1,5}"
)


@dataclass(frozen=True, kw_only=True)
class KafkaAccess:
    """How to reach the brokers; files are absolute, and empty for the system's certificates."""

    servers: str
    security: str = "plaintext"
    mechanism: str = "SCRAM-SHA-512"
    user: str = ""
    password: "SecretStr | None" = None
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: "SecretStr | None" = None

    def client_settings(self) -> dict[str, object]:
        """Return the settings in the Kafka client's own keys, secrets in clear text."""
        found: dict[str, object] = {
            "bootstrap.servers": self.servers,
            "security.protocol": self.security,
        }
        if self.security.startswith("sasl"):
            found |= {"sasl.mechanism": self.mechanism, "sasl.username": self.user}
            if self.password is not None:
                found["sasl.password"] = self.password.get_secret_value()
        named = {
            "ssl.ca.location": self.ca_file,
            "ssl.certificate.location": self.certificate_file,
            "ssl.key.location": self.key_file,
        }
        found |= {key: file for key, file in named.items() if file}
        if self.key_password is not None:
            found["ssl.key.password"] = self.key_password.get_secret_value()
        return found


def tls_problems(access: KafkaAccess) -> tuple[str, ...]:
    """Say what is wrong with the files and the user of a profile, as far as this host can tell.

    Looks whether the files are there, and connects to nothing.
    """
    named = {
        "kafka_ca_file": access.ca_file,
        "kafka_certificate_file": access.certificate_file,
        "kafka_key_file": access.key_file,
    }
    found = [
        f"`{name}` names `{file}`, which cannot be read"
        for name, file in named.items()
        if file and not (Path(file).is_file() and os.access(file, os.R_OK))
    ]
    pair = ("kafka_certificate_file", "kafka_key_file")
    for name, other in (pair, pair[::-1]):
        if named[name] and not named[other]:
            found.append(f"`{name}` is set without `{other}`; set both, or neither")
    if access.key_password is not None and not access.key_file:
        found.append("HEADRACE_KAFKA_KEY_PASSWORD is set without `kafka_key_file`")
    unused = [f"`{name}`" for name, file in named.items() if file and "ssl" not in access.security]
    if access.user and not access.security.startswith("sasl"):
        unused.append("HEADRACE_KAFKA_USER")
    if unused:
        found.append(
            f"`kafka_security` is `{access.security}`, which does not use {', '.join(unused)}"
        )
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class RegistryAccess:
    """How to reach a schema registry that speaks Confluent's API."""

    url: str
    user: str = ""
    password: "SecretStr | None" = None


def kafka_access(sayings: Sayings, *, root: Path) -> KafkaAccess | None:
    """Read how to reach the brokers; None if nothing names them.

    Raises:
        SettingsError: If a value is not allowed, or a password would be sent without TLS to another
            host than this one.

    """
    said = sayings.of("kafka_servers", by="HEADRACE_KAFKA_SERVERS")
    if not said.value:
        return None
    if not _SERVERS.fullmatch(said.value):
        msg = f'{said.named} is not a list of brokers; write "host:9092,other:9092"'
        raise SettingsError(msg, setting=said.named, reason=SettingReason.NOT_ALLOWED)
    security = _one_of(sayings, "kafka_security", SECURITY)
    user = given(sayings.env, "HEADRACE_KAFKA_USER")
    password = given(sayings.env, "HEADRACE_KAFKA_PASSWORD")
    key_password = given(sayings.env, "HEADRACE_KAFKA_KEY_PASSWORD")
    if security.startswith("sasl") and not (user and password):
        msg = (
            f"kafka_security is `{security}`, so set HEADRACE_KAFKA_USER and HEADRACE_KAFKA_PASSWORD, "
            "or the files that HEADRACE_KAFKA_USER_FILE and HEADRACE_KAFKA_PASSWORD_FILE name"
        )
        raise SettingsError(msg, setting="kafka_security", reason=SettingReason.NEEDS_ANOTHER)
    files = {
        name: str(root / sayings.values[name]) if sayings.values[name] else ""
        for name in ("kafka_ca_file", "kafka_certificate_file", "kafka_key_file")
    }
    return KafkaAccess(
        servers=said.value,
        security=security,
        mechanism=_one_of(sayings, "kafka_sasl_mechanism", MECHANISMS),
        user=user,
        password=secret(password) if password else None,
        ca_file=files["kafka_ca_file"],
        certificate_file=files["kafka_certificate_file"],
        key_file=files["kafka_key_file"],
        key_password=secret(key_password) if key_password else None,
    )


def registry_access(sayings: Sayings) -> RegistryAccess | None:
    """Read how to reach the schema registry; None if nothing names it.

    Raises:
        SettingsError: If it is no address, or the file holds a password.

    """
    said = sayings.of("schema_registry_url", by="HEADRACE_SCHEMA_REGISTRY_URL")
    if not said.value:
        return None
    parts = urlsplit(said.value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        msg = (
            f'{said.named} is not the address of a registry; write "http://host:port/path", and give '
            "user and password by HEADRACE_SCHEMA_REGISTRY_USER and HEADRACE_SCHEMA_REGISTRY_PASSWORD"
        )
        raise SettingsError(msg, setting=said.named, reason=SettingReason.NOT_ALLOWED)
    password = given(sayings.env, "HEADRACE_SCHEMA_REGISTRY_PASSWORD")
    return RegistryAccess(
        url=said.value.rstrip("/"),
        user=given(sayings.env, "HEADRACE_SCHEMA_REGISTRY_USER"),
        password=secret(password) if password else None,
    )


def _one_of(sayings: Sayings, key: str, allowed: tuple[str, ...]) -> str:
    value = str(sayings.values[key])
    if value not in allowed:
        listed = ", ".join(f"`{each}`" for each in allowed)
        msg = (
            f"`{sayings.file}`: profiles.{sayings.profile}.{key} is `{value}`; allowed are {listed}"
        )
        raise SettingsError(
            msg, setting=f"profiles.{sayings.profile}.{key}", reason=SettingReason.NOT_ALLOWED
        )
    return value
