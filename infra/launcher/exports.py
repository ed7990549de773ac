"""What tells headrace of a cluster's servers: variables, of which those with secrets name files."""

import shlex

from infra.launcher import flink, kafka, postgres, redis, s3, trino
from infra.launcher.cluster import Cluster, write_private
from infra.launcher.errors import LauncherError
from infra.roles import ROLES
from infra.trino.catalog import WAREHOUSE


def exports(cluster: Cluster, *, role: str = "operator") -> list[str]:
    """Return the `export` lines of a role for the servers that run or are external.

    None shows a secret: those are in files that only their owner can read.

    Raises:
        LauncherError: If there is no such role, or an external store has no key.

    """
    found = environment(cluster, role=role)
    return [f"export {name}={shlex.quote(value)}" for name, value in found.items()]


def use_with(cluster: Cluster) -> str:
    """Say what the lines of `exports` go with: only a lake with a catalog here is of another profile."""
    if "HEADRACE_CATALOG_URI_FILE" in environment(cluster):
        return "use them, as the operator, with HEADRACE_PROFILE=cluster and:"
    return "use them in any profile, with:"


def environment(cluster: Cluster, *, role: str = "operator") -> dict[str, str]:
    """Return the variables behind `exports`; raises what it does."""
    if role not in ROLES:
        msg = f"`{role}` is not a role; there are {', '.join(ROLES)}"
        raise LauncherError(msg)
    found: dict[str, str] = {}
    if _is_there(cluster, "postgres"):
        uri = postgres.url(cluster, role=role).render_as_string(hide_password=False)
        found["HEADRACE_CATALOG_URI_FILE"] = _kept(cluster, f"{role}_catalog_uri", uri)
    if _is_there(cluster, "s3"):
        key = s3.key(cluster, role=role)
        found["HEADRACE_WAREHOUSE"] = WAREHOUSE
        found["HEADRACE_S3_ENDPOINT"] = s3.endpoint(cluster)
        found["HEADRACE_S3_ACCESS_KEY"] = key.access
        found["HEADRACE_S3_SECRET_KEY_FILE"] = _kept(cluster, f"{role}_s3_secret_key", key.secret)
    if _is_there(cluster, "redis"):
        found["HEADRACE_ONLINE_STORE_URI_FILE"] = _kept(cluster, "redis_uri", redis.url(cluster))
    if _is_there(cluster, "trino"):
        user, password = trino.login(cluster, role=role)
        found["HEADRACE_TRINO_URI"] = trino.Trino().address(cluster)
        found["HEADRACE_TRINO_USER"] = user
        if password:
            kept = _kept(cluster, f"{role}_trino_password", password)
            found["HEADRACE_TRINO_PASSWORD_FILE"] = kept
        if cluster.external("trino") is None:
            found["HEADRACE_TRINO_CA_FILE"] = str(trino.certificate(cluster))
    return found | _without_users(cluster)


def _without_users(cluster: Cluster) -> dict[str, str]:
    """Return the addresses of the servers that ask for no password."""
    named = {
        "HEADRACE_KAFKA_SERVERS": kafka.Kafka(),
        "HEADRACE_SCHEMA_REGISTRY_URL": kafka.SchemaRegistry(),
        "HEADRACE_FLINK_URI": flink.JobManager(),
        "HEADRACE_FLINK_GATEWAY_URI": flink.Gateway(),
    }
    found = {
        by: each.address(cluster) for by, each in named.items() if _is_there(cluster, each.name)
    }
    if "HEADRACE_FLINK_GATEWAY_URI" in found and flink.PYTHON.is_file():
        found["HEADRACE_FLINK_PYTHON"] = str(flink.PYTHON)
    return found


def _is_there(cluster: Cluster, server: str) -> bool:
    return cluster.external(server) is not None or cluster.pid(server) is not None


def _kept(cluster: Cluster, name: str, value: str) -> str:
    folder = cluster.of("secrets")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    write_private(path, value)
    return str(path)
