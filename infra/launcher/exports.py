"""What tells headrace of a cluster's servers: variables, of which those with secrets name files."""

import shlex

from infra.launcher import postgres, redis, s3
from infra.launcher.cluster import Cluster, write_private

_WAREHOUSE = f"s3://{s3.BUCKET}/warehouse"


def exports(cluster: Cluster) -> list[str]:
    """Return the `export` lines for the servers that run or are external; none shows a secret."""
    found: dict[str, str] = {}
    if _is_there(cluster, "postgres"):
        uri = postgres.url(cluster).render_as_string(hide_password=False)
        found["HEADRACE_CATALOG_URI_FILE"] = _kept(cluster, "catalog_uri", uri)
    if _is_there(cluster, "s3"):
        found["HEADRACE_WAREHOUSE"] = _WAREHOUSE
        found["HEADRACE_S3_ENDPOINT"] = s3.endpoint(cluster)
        found["HEADRACE_S3_ACCESS_KEY"] = s3.ACCESS_KEY
        secret = _kept(cluster, "s3_secret_key", cluster.secret("s3"))
        found["HEADRACE_S3_SECRET_KEY_FILE"] = secret
    if _is_there(cluster, "redis"):
        found["HEADRACE_ONLINE_STORE_URI_FILE"] = _kept(cluster, "redis_uri", redis.url(cluster))
    if _is_there(cluster, "trino"):
        address = cluster.external("trino") or f"http://127.0.0.1:{cluster.port('trino')}"
        found["HEADRACE_TRINO_URI"] = address
    return [f"export {name}={shlex.quote(value)}" for name, value in found.items()]


def _is_there(cluster: Cluster, server: str) -> bool:
    return cluster.external(server) is not None or cluster.pid(server) is not None


def _kept(cluster: Cluster, name: str, value: str) -> str:
    folder = cluster.of("secrets")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    write_private(path, value)
    return str(path)
