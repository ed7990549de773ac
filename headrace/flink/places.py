"""Where a profile's topics and tables are, as the options of Flink's connectors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from headrace.config import Settings
from headrace.errors import (
    FlinkCannotReachError,
    PaimonWarehouseError,
    Remedy,
    SettingReason,
    SettingsError,
)
from headrace.flink_access import FlinkAccess
from headrace.kafka_access import KafkaAccess

HIDDEN = "***"
_TLS = ("sslmode", "sslrootcert")  # Java's driver of PostgreSQL has them too
_SECRET = ("password", "secret", "jaas")


@dataclass(frozen=True, kw_only=True)
class Places:
    """The options of a job's connectors; `shown` leaves out what is secret."""

    topic: Mapping[str, str] = field(repr=False)
    catalog: Mapping[str, str] = field(repr=False)

    def shown(self) -> "Places":
        """Return the same without passwords and keys."""
        return Places(topic=hidden(self.topic), catalog=hidden(self.catalog))


def places_of(settings: Settings, *, stream: str) -> Places:
    """Return where a profile's topics and tables are.

    Raises:
        SettingsError: If nothing says where Kafka is.
        FlinkCannotReachError: If the catalog is none that Flink can share, or a client certificate is needed.

    """
    if settings.kafka is None:
        msg = f"stream `{stream}` reads a topic, and nothing says where it is"
        advice = "set `kafka_servers` in the profile, or HEADRACE_KAFKA_SERVERS"
        raise SettingsError(
            msg,
            setting="kafka_servers",
            reason=SettingReason.MISSING,
            remedy=Remedy(advice=advice),
        )
    return Places(
        topic=_topic(settings.kafka, stream=stream), catalog=catalog_of(settings, stream=stream)
    )


def access_of(settings: Settings) -> FlinkAccess:
    """Return how to reach Flink.

    Raises:
        SettingsError: If nothing says so.

    """
    if settings.flink is None:
        msg = f"the profile `{settings.profile}` does not say where Flink is"
        advice = "start it with `make flink-up`, and run the `export` lines it prints"
        raise SettingsError(
            msg, setting="flink_uri", reason=SettingReason.MISSING, remedy=Remedy(advice=advice)
        )
    return settings.flink


def hidden(options: Mapping[str, str]) -> dict[str, str]:
    """Return options without passwords and keys."""
    return {
        key: HIDDEN if any(each in key for each in _SECRET) else value
        for key, value in options.items()
    }


def _topic(access: KafkaAccess, *, stream: str) -> dict[str, str]:
    if access.certificate_file:
        what = "its brokers ask for a client certificate, which Java reads from a store of its own"
        advice = "name brokers that ask for none, or take the stream with `headrace ingest run`"
        raise FlinkCannotReachError(stream, what, advice=advice)
    found = {"properties.bootstrap.servers": access.servers}
    if access.security != "plaintext":
        found["properties.security.protocol"] = access.security.upper()
    if access.ca_file:
        found |= {
            "properties.ssl.truststore.type": "PEM",
            "properties.ssl.truststore.location": access.ca_file,
        }
    if access.security.startswith("sasl"):
        scram = access.mechanism.startswith("SCRAM")
        module = "scram.ScramLoginModule" if scram else "plain.PlainLoginModule"
        password = "" if access.password is None else access.password.get_secret_value()
        found |= {
            "properties.sasl.mechanism": access.mechanism,
            "properties.sasl.jaas.config": (
                f"org.apache.kafka.common.security.{module} required "
                f'username="{_quoted(access.user)}" password="{_quoted(password)}";'
            ),
        }
    return found


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def catalog_of(settings: Settings, *, stream: str) -> dict[str, str]:
    """Return the options of the lake's catalog.

    Raises:
        FlinkCannotReachError: If it is none that Flink can share.

    """
    if settings.catalog or settings.catalog_server is None:
        what = "its tables are in a catalog that is not on PostgreSQL"
        advice = (
            "use a profile whose catalog is on PostgreSQL (`catalog_uri`), as after `make flink-up`"
        )
        raise FlinkCannotReachError(stream, what, advice=advice)
    parts = urlsplit(settings.catalog_server.get_secret_value())
    query = dict(parse_qsl(parts.query))
    options = query.get("options", "")
    schema = options.rpartition("search_path=")[2].strip() if "search_path=" in options else ""
    if query.keys() & {"sslcert", "sslkey"}:
        what = "its PostgreSQL asks for a client certificate, which Java reads in another form"
        raise FlinkCannotReachError(stream, what, advice="name a catalog that asks for none")
    said = {"currentSchema": schema} | {name: query[name] for name in _TLS if name in query}
    asked = urlencode({name: value for name, value in said.items() if value})
    found = {
        "type": "iceberg",
        "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        "uri": f"jdbc:postgresql://{parts.hostname}:{parts.port or 5432}{parts.path}"
        + (f"?{asked}" if asked else ""),
        "jdbc.user": unquote(parts.username or ""),
        "jdbc.password": unquote(parts.password or ""),
        "jdbc.schema-version": "V1",
        "jdbc.initialize": "false",
        "warehouse": settings.warehouse_uri,
        # the session is short, and the job opens its own
        "cache-enabled": "false",
    }
    s3 = settings.s3
    if not settings.warehouse_is_local and s3 is not None:
        found |= {
            "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
            "client.region": s3.region,
        }
        if s3.endpoint:
            found |= {"s3.endpoint": s3.endpoint, "s3.path-style-access": "true"}
        if s3.access_key is not None and s3.secret_key is not None:
            found["s3.access-key-id"] = s3.access_key.get_secret_value()
            found["s3.secret-access-key"] = s3.secret_key.get_secret_value()
    return found


def paimon_options(settings: Settings) -> dict[str, str]:
    """Return the options of the Paimon catalog.

    Raises:
        PaimonWarehouseError: If nothing says where the warehouse is.

    """
    uri = settings.paimon_warehouse
    if not uri:
        raise PaimonWarehouseError(uri, "nothing says where it is")
    if not urlsplit(uri).scheme:
        uri = f"file://{(settings.root / uri).resolve()}"
    found = {"type": "paimon", "warehouse": uri}
    s3 = settings.s3
    if uri.startswith("s3://") and s3 is not None:
        # as in infra/flink/config.yaml, which the file system of Paimon does not read: a store that keeps
        # files in folders refuses to delete those above a new file, and each is tried for minutes
        found["s3.directory.marker.retention"] = "keep"
        if s3.endpoint:
            found |= {"s3.endpoint": s3.endpoint, "s3.path.style.access": "true"}
        if s3.access_key is not None and s3.secret_key is not None:
            found["s3.access-key"] = s3.access_key.get_secret_value()
            found["s3.secret-key"] = s3.secret_key.get_secret_value()
    return found
