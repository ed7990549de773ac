"""Whether a store answers at all, asked once and quickly, before somebody waits for it."""

from collections.abc import Mapping
from dataclasses import replace

from headrace.errors import StoreUnavailableError
from headrace.storage.s3_client import Key, S3Client
from headrace.storage.s3_connection import S3Options

_CONNECT_S_MAX, _ANSWER_S_MAX = 3.0, 10.0


def refuse_silent(location: str, properties: Mapping[str, str]) -> None:
    """Refuse a store that does not answer; one that is not S3, or refuses what it is asked, is there.

    Each access tries for half a minute: a store may start again while a service runs. A command that was
    given a wrong address says so at once.

    Args:
        location: A place in the store.
        properties: Those of a FileIO.

    Raises:
        StoreUnavailableError: If it does not answer; its detail has the address.

    """
    key = Key.of(location)
    if key is None:
        return
    options = S3Options.of(properties)
    options = replace(
        options,
        attempts_max=1,
        connect_timeout_s=min(options.connect_timeout_s, _CONNECT_S_MAX),
        request_timeout_s=min(options.request_timeout_s, _ANSWER_S_MAX),
    )
    try:
        S3Client(options).head(key)
    except OSError as error:
        from botocore.exceptions import ConnectionError, HTTPClientError

        if isinstance(error.__cause__, (ConnectionError, HTTPClientError)):
            raise StoreUnavailableError(location, str(error)) from error
