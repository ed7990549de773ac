"""How to reach an S3 store: its options, and botocore's client for them.

botocore is imported by the first call, as it takes a third of a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 60.0
# with the pauses of botocore's standard mode, on average 30 s without an answer
ATTEMPTS_MAX = 8
ATTEMPTS_MAX_KEY = "headrace.s3.attempts-max"
_POOL_CONNECTIONS = 32


@dataclass(frozen=True, kw_only=True)
class S3Options:
    """How to reach a store, from the properties of a catalog or a table's FileIO.

    What is not said is found as AWS programs find it: in the environment or by the host's role.
    """

    endpoint: str | None
    region: str | None
    access_key: str | None
    secret_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    request_timeout_s: float = REQUEST_TIMEOUT_S
    attempts_max: int = ATTEMPTS_MAX
    virtual_addressing: bool = False

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> "S3Options":
        """Read the properties that PyIceberg defines, and `headrace.s3.attempts-max`."""
        said = dict(properties)

        def either(name: str) -> str | None:
            return said.get(f"s3.{name}") or said.get(f"client.{name}")

        return cls(
            endpoint=said.get("s3.endpoint"),
            region=either("region"),
            access_key=either("access-key-id"),
            secret_key=either("secret-access-key"),
            session_token=either("session-token"),
            connect_timeout_s=float(said.get("s3.connect-timeout", CONNECT_TIMEOUT_S)),
            request_timeout_s=float(said.get("s3.request-timeout", REQUEST_TIMEOUT_S)),
            attempts_max=int(said.get(ATTEMPTS_MAX_KEY, ATTEMPTS_MAX)),
            virtual_addressing=said.get("s3.force-virtual-addressing", "").lower() == "true",
        )


@lru_cache(maxsize=16)
def connected(options: S3Options, _process: int) -> Any:  # noqa: ANN401  made at run time, untyped
    """Return botocore's client of a store for one process."""
    import botocore.session
    from botocore.config import Config

    style = "virtual" if options.virtual_addressing or options.endpoint is None else "path"
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=options.endpoint,
        region_name=options.region,
        aws_access_key_id=options.access_key,
        aws_secret_access_key=options.secret_key,
        aws_session_token=options.session_token,
        config=Config(
            connect_timeout=options.connect_timeout_s,
            read_timeout=options.request_timeout_s,
            retries={"mode": "standard", "total_max_attempts": options.attempts_max},
            max_pool_connections=_POOL_CONNECTIONS,
            s3={"addressing_style": style},
        ),
    )
