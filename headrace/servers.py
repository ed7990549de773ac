"""The servers of a profile: their addresses, and their secrets from the environment or from files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from headrace.errors import Remedy, SettingReason, SettingsError

if TYPE_CHECKING:
    from pydantic import SecretStr

REGISTRY_SCHEMA = "headrace"
# loaded by name, as it starts pyarrow's access to S3
S3_FILE_IO = "headrace.storage.s3_io.S3FileIO"
_DATABASES = frozenset({"postgresql", "postgresql+psycopg2"})
_HTTP = frozenset({"http", "https"})
_REDIS = frozenset({"redis", "rediss"})
_TRINO_USER = "headrace"
# what says where a lake is and what computes for it; other variables hold for all profiles
_PLACES = frozenset(
    {
        "HEADRACE_CATALOG",
        "HEADRACE_CATALOG_URI",
        "HEADRACE_ENGINE",
        "HEADRACE_ONLINE_STORE_URI",
        "HEADRACE_REGISTRY_URI",
        "HEADRACE_TRINO_URI",
        "HEADRACE_WAREHOUSE",
    }
)


@dataclass(frozen=True, kw_only=True)
class S3Access:
    """How to reach an S3 store; `endpoint` is empty for AWS, whose own means find missing keys.

    A request is tried `attempts_max` times in all, with pauses that grow.
    """

    endpoint: str
    region: str
    access_key: "SecretStr | None" = None
    secret_key: "SecretStr | None" = None
    connect_timeout_s: int = 10
    request_timeout_s: int = 60
    attempts_max: int = 8

    def file_io(self) -> dict[str, str]:
        """Return the properties that PyIceberg's FileIO takes, secrets in clear text."""
        found = {
            "py-io-impl": S3_FILE_IO,
            "s3.region": self.region,
            "s3.connect-timeout": str(self.connect_timeout_s),
            "s3.request-timeout": str(self.request_timeout_s),
            "headrace.s3.attempts-max": str(self.attempts_max),
        }
        if self.endpoint:
            # one that is no host of AWS has no name for each bucket
            found |= {"s3.endpoint": self.endpoint, "s3.force-virtual-addressing": "false"}
            found["s3.path-style-access"] = "true"
        if self.access_key is not None and self.secret_key is not None:
            found["s3.access-key-id"] = self.access_key.get_secret_value()
            found["s3.secret-access-key"] = self.secret_key.get_secret_value()
        return found


@dataclass(frozen=True, kw_only=True)
class TrinoAccess:
    """How to reach Trino; a password needs an https address. `ca_file` is empty for the system's."""

    uri: str
    user: str
    catalog: str
    password: "SecretStr | None" = None
    ca_file: str = ""


@dataclass(frozen=True, kw_only=True)
class Said:
    """The value of a setting, and what to call the place it came from; `shared` is the file."""

    value: str
    named: str
    shared: bool


@dataclass(frozen=True, kw_only=True)
class Sayings:
    """The settings of a profile: what the environment says comes before what the file says."""

    file: Path
    profile: str
    values: Mapping[str, Any]
    env: Mapping[str, str]

    def of(self, key: str, *, by: str) -> Said:
        """Return what the variable `by` says, else what the profile says under `key`."""
        found = given(self.env, by)
        if found:
            named = by if self.env.get(by) else f"{by}_FILE"
            return Said(value=found, named=named, shared=False)
        named = f"`{self.file}`: profiles.{self.profile}.{key}"
        return Said(value=self.values[key], named=named, shared=True)


def given(env: Mapping[str, str], name: str) -> str:
    """Return what the variable `name` says, or the file that `<name>_FILE` names; "" if neither.

    Raises:
        SettingsError: If both are set, or the file cannot be read.

    """
    path = env.get(f"{name}_FILE")
    if not path:
        return env.get(name) or ""
    if env.get(name):
        msg = f"{name} and {name}_FILE are both set; set one of them"
        raise SettingsError(msg, setting=name, reason=SettingReason.SET_TWICE)
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        msg = f"`{path}`, which {name}_FILE names, cannot be read: {why}"
        raise SettingsError(msg, setting=f"{name}_FILE", reason=SettingReason.UNREADABLE) from None


def without_places(env: Mapping[str, str]) -> dict[str, str]:
    """Leave out the variables that say where a lake is, and those that name files with it."""
    return {key: value for key, value in env.items() if key.removesuffix("_FILE") not in _PLACES}


def refuse_unset(env: Mapping[str, str], names: tuple[str, ...], *, profile: str) -> None:
    """Refuse a profile whose addresses come from the environment where they are not there.

    Raises:
        SettingsError: Naming the variables that are not set.

    """
    missing = [name for name in names if not given(env, name)]
    if missing:
        said = ", ".join(f"{name} or {name}_FILE" for name in missing)
        msg = f"the profile `{profile}` needs {said} in the environment"
        advice = "start servers with `make cluster-up`, and run the `export` lines it prints"
        raise SettingsError(
            msg,
            setting=", ".join(missing),
            reason=SettingReason.MISSING,
            remedy=Remedy(advice=advice),
        )


def database(sayings: Sayings, key: str, *, by: str) -> "SecretStr | None":
    """Read where a database is, if it is on a server; no message repeats what may be a secret.

    Raises:
        SettingsError: If it is not the URL of a PostgreSQL database, or the file has a password.

    """
    said = sayings.of(key, by=by)
    if not said.value:
        return None
    parts = _parts(said.value)
    if parts.scheme not in _DATABASES or not parts.path.strip("/"):
        msg = (
            f"{said.named} is not the URL of a PostgreSQL database; write "
            '"postgresql://user@host:5432/database"'
        )
        raise SettingsError(msg, setting=said.named, reason=SettingReason.NOT_ALLOWED)
    if said.shared and (parts.password is not None or "password=" in parts.query):
        or_else = ", or the password by PGPASSWORD or PGPASSFILE"
        raise _holds_secret(said, by=by, or_else=or_else)
    return secret(said.value)


def _holds_secret(said: Said, *, by: str, or_else: str = "") -> SettingsError:
    msg = (
        f"{said.named} holds a password, and this file is shared; name it without one there and give "
        f"the whole URL by {by} or {by}_FILE{or_else}"
    )
    return SettingsError(msg, setting=said.named, reason=SettingReason.HOLDS_SECRET)


def online_store(sayings: Sayings) -> "SecretStr | None":
    """Read which Redis server keeps the online store; None if it is a file.

    Raises:
        SettingsError: If it is not the URL of one, or the file has a password.

    """
    by = "HEADRACE_ONLINE_STORE_URI"
    said = sayings.of("online_store_uri", by=by)
    if not said.value:
        return None
    parts = _parts(said.value)
    if parts.scheme not in _REDIS or not parts.hostname:
        msg = f'{said.named} is not the URL of a Redis server; write "redis://host:6379/0"'
        raise SettingsError(msg, setting=said.named, reason=SettingReason.NOT_ALLOWED)
    if said.shared and parts.password is not None:
        raise _holds_secret(said, by=by)
    return secret(said.value)


def in_schema(uri: "SecretStr", schema: str) -> "SecretStr":
    """Return the address of one schema of a PostgreSQL database."""
    parts = urlsplit(uri.get_secret_value())
    query = dict(parse_qsl(parts.query))
    query["options"] = f"{query.get('options', '')} -csearch_path={schema}".strip()
    return secret(urlunsplit(parts._replace(query=urlencode(query))))


def warehouse(sayings: Sayings, *, root: Path) -> str:
    """Read where table files lie; "" for the state folder. Raises as `location`."""
    return location(sayings.of("warehouse", by="HEADRACE_WAREHOUSE"), root=root)


def location(said: Said, *, root: Path) -> str:
    """Read a location of files: a URL without a trailing slash, or "" if nothing is said.

    Raises:
        SettingsError: If it is neither a folder nor a location on S3.

    """
    if not said.value:
        return ""
    found = said.value.rstrip("/")
    if said.value.startswith("s3://") and urlsplit(found).netloc:
        return found
    if "://" not in said.value or found.startswith("file:///"):
        return f"file://{root / found.removeprefix('file://')}"
    msg = (
        f"{said.named} is `{found}`, which is neither a folder nor a location on S3; write "
        '"/folder" or "s3://bucket/prefix"'
    )
    raise SettingsError(msg, setting=said.named, reason=SettingReason.NOT_ALLOWED)


def s3_access(sayings: Sayings, *, needed: bool) -> S3Access | None:
    """Read how to reach S3; None if nothing says so and it is not `needed`.

    Raises:
        SettingsError: If the endpoint is no address, or only one of the two keys is set.

    """
    endpoint = http_address(sayings.of("s3_endpoint", by="HEADRACE_S3_ENDPOINT"))
    access = given(sayings.env, "HEADRACE_S3_ACCESS_KEY")
    hidden = given(sayings.env, "HEADRACE_S3_SECRET_KEY")
    if bool(access) != bool(hidden):
        msg = "set both HEADRACE_S3_ACCESS_KEY and HEADRACE_S3_SECRET_KEY, or neither"
        raise SettingsError(
            msg,
            setting="HEADRACE_S3_SECRET_KEY" if access else "HEADRACE_S3_ACCESS_KEY",
            reason=SettingReason.MISSING,
        )
    if not (endpoint or access or needed):
        return None
    return S3Access(
        endpoint=endpoint,
        region=sayings.values["s3_region"],
        access_key=secret(access) if access else None,
        secret_key=secret(hidden) if hidden else None,
        connect_timeout_s=sayings.values["s3_connect_timeout_s"],
        request_timeout_s=sayings.values["s3_request_timeout_s"],
        attempts_max=sayings.values["s3_attempts_max"],
    )


def trino_access(sayings: Sayings, *, root: Path) -> TrinoAccess | None:
    """Read how to reach Trino; None if nothing names it.

    Raises:
        SettingsError: If the address is none, or a password would be sent without TLS.

    """
    said = sayings.of("trino_uri", by="HEADRACE_TRINO_URI")
    uri = http_address(said)
    if not uri:
        return None
    password = given(sayings.env, "HEADRACE_TRINO_PASSWORD")
    if password and not uri.startswith("https:"):
        msg = f"{said.named} is `{uri}`, and a password is only sent to an https address"
        raise SettingsError(msg, setting=said.named, reason=SettingReason.NEEDS_ANOTHER)
    ca_file = sayings.of("trino_ca_file", by="HEADRACE_TRINO_CA_FILE").value
    return TrinoAccess(
        uri=uri,
        user=given(sayings.env, "HEADRACE_TRINO_USER") or _TRINO_USER,
        catalog=sayings.values["trino_catalog"],
        password=secret(password) if password else None,
        ca_file=str(root / ca_file) if ca_file else "",
    )


def secret(value: str) -> "SecretStr":
    """Hide a value from logs, pages and `repr`."""
    from pydantic import SecretStr  # most commands need it not, and importing it takes a while

    return SecretStr(value)


def http_address(said: Said) -> str:
    """Return the address of an HTTP server, which holds neither a path nor a user, or "".

    Raises:
        SettingsError: If it is none.

    """
    address = said.value.rstrip("/")
    unfit = (parts := _parts(address)).path or "@" in parts.netloc or not parts.hostname
    if address and (unfit or parts.scheme not in _HTTP):
        msg = f'{said.named} is not the address of a server; write "http://host:port"'
        raise SettingsError(msg, setting=said.named, reason=SettingReason.NOT_ALLOWED)
    return address


def _parts(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # read only here: it raises where it is no number
    except ValueError:
        return urlsplit("")
    return parts
