"""Lets DuckDB read the files of a table on S3 with the credentials of the table's catalog.

A secret holds for locations that begin with its scope, as text: each scope ends in `/`, or
`s3://lake` would send the keys of `lake` to the bucket `lake-other`.
"""

from collections.abc import Iterator

import duckdb

from headrace.engines.extensions import load_s3_extension
from headrace.errors import StoreUnavailableError
from headrace.identifiers import quote, quote_text
from headrace.storage.s3_client import Key
from headrace.storage.s3_connection import S3Options
from headrace.tables.version import TableVersion

_FIRST_WAIT_MS = 100


def let_read_stores(connection: duckdb.DuckDBPyConnection, version: TableVersion) -> None:
    """Load what reads S3 and give it the keys, if files of a snapshot are there.

    The keys stay in memory, and in no message.

    Raises:
        StoreUnavailableError: If DuckDB refuses the keys.

    """
    scopes = sorted(set(scopes_of(version)))
    if not scopes:
        return
    load_s3_extension(connection)
    options = S3Options.of(version.io.properties)
    connection.execute(f"set http_timeout = {max(1, round(options.request_timeout_s))}")
    # waits double: 8 tries are 13 s of answers like 503
    connection.execute(f"set http_retries = {options.attempts_max}")
    connection.execute(f"set http_retry_wait_ms = {_FIRST_WAIT_MS}")
    connection.execute("set http_retry_backoff = 2")
    for scope in scopes:
        try:
            connection.execute(_secret(options, scope=scope))
        except duckdb.Error:  # its message may repeat the statement
            msg = "DuckDB does not take the keys of its catalog"
            raise StoreUnavailableError(scope, msg) from None


def scopes_of(version: TableVersion) -> Iterator[str]:
    """Yield the scopes of what a reader opens: the table's folder, and buckets of files elsewhere."""
    folder = Key.of(version.metadata.location)
    own = "" if folder is None else f"{folder.location.rstrip('/')}/"
    if own:
        yield own
    everything = (each for file in version.files() for each in (file.data_file, *file.deletes))
    for location in (version.metadata_location, *(each.file_path for each in everything)):
        key = Key.of(location)
        if key is not None and not (own and key.location.startswith(own)):
            yield f"s3://{key.bucket}/"


def _secret(options: S3Options, *, scope: str) -> str:
    said = {"type": "s3", "scope": scope, "region": options.region}
    if options.endpoint is not None:
        scheme, _, host = options.endpoint.partition("://")
        style = "vhost" if options.virtual_addressing else "path"
        said |= {"endpoint": host, "url_style": style}
        said["use_ssl"] = "true" if scheme == "https" else "false"
    if options.access_key and options.secret_key:
        said |= {"key_id": options.access_key, "secret": options.secret_key}
        said["session_token"] = options.session_token
    else:
        said["provider"] = "credential_chain"
    values = ", ".join(f"{name} {quote_text(value)}" for name, value in said.items() if value)
    return f"create or replace temporary secret {quote(f'headrace {scope}')} ({values})"
