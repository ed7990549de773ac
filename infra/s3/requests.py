"""Requests to an S3 store that clients of objects cannot make, signed by AWS Signature Version 4."""

import hashlib
import hmac
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

_WAIT_S = 10.0
_SIGNED = "host;x-amz-content-sha256;x-amz-date"


@dataclass(frozen=True)
class Key:
    """An access key and its secret, which is not printed."""

    access: str
    secret: str = field(repr=False)


def request(
    url: str,
    key: Key,
    *,
    method: str,
    query: Mapping[str, str],
    body: bytes,
    region: str,
) -> bytes:
    """Send one request; return the answer's body.

    Raises:
        urllib.error.HTTPError: If the store refuses.
        OSError: If it does not answer in 10 s.

    """
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    parts = urllib.parse.urlsplit(url)
    pairs = sorted(query.items())
    search = urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote, safe="")
    digest = hashlib.sha256(body).hexdigest()
    headers = f"host:{parts.netloc}\nx-amz-content-sha256:{digest}\nx-amz-date:{now}\n"
    canonical = f"{method}\n{parts.path}\n{search}\n{headers}\n{_SIGNED}\n{digest}"
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    signed = "\n".join(
        ("AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest())
    )
    secret = f"AWS4{key.secret}".encode()
    for part in (now[:8], region, "s3", "aws4_request", signed):
        secret = hmac.digest(secret, part.encode(), "sha256")
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={key.access}/{scope}, SignedHeaders={_SIGNED}, "
        f"Signature={secret.hex()}"
    )
    asked = urllib.request.Request(
        f"{url}?{search}" if search else url,
        data=body,
        method=method,
        headers={
            "Authorization": authorization,
            "x-amz-content-sha256": digest,
            "x-amz-date": now,
            "Content-Type": "application/xml",
        },
    )
    with urllib.request.urlopen(asked, timeout=_WAIT_S) as answer:
        return answer.read()
