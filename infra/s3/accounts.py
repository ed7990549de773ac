"""Make the bucket, a key for each role, and the policy that says what each may do; safe to repeat.

The launcher calls `apply`; docker-compose runs this module, with addresses and keys in the environment.
"""

import os
import sys
import urllib.error
import uuid
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from infra.roles import ROLES
from infra.s3.requests import Key, request

BUCKET = "lake"
REGION = "us-east-1"
_POLICY = Path(__file__).with_name("policy.json")
_EXISTS = 409


def apply(endpoint: str, root: Key, *, secrets: Mapping[str, str]) -> None:
    """Bring the store to what is declared: an account with a new secret gets that secret.

    Args:
        endpoint: The address of the store, as `http://host:port`.
        root: The key of its administrator.
        secrets: The secret key of each role; its access key is the role's name.

    Raises:
        OSError: If the store does not answer, or refuses.

    """
    _make_unless_there(endpoint, root, "PUT", f"/{BUCKET}")
    for role in ROLES:
        secret = f"<Secret>{escape(secrets[role])}</Secret>"
        account = f"<Account><Access>{role}</Access>{secret}<Role>user</Role></Account>"
        if not _make_unless_there(endpoint, root, "PATCH", "/create-user", account.encode()):
            changed = f"<MutableProps>{secret}<Role>user</Role></MutableProps>"
            _do(endpoint, root, "PATCH", "/update-user", changed.encode(), access=role)
    _do(endpoint, root, "PUT", f"/{BUCKET}", _POLICY.read_bytes(), policy="")


def probe(endpoint: str, key: Key) -> None:
    """Write, read and delete an object.

    Raises:
        OSError: If the store does not answer, refuses, or answers with something else.

    """
    path, body = f"/{BUCKET}/.probe-{uuid.uuid4().hex}", b"probe"
    _do(endpoint, key, "PUT", path, body)
    found = _do(endpoint, key, "GET", path)
    _do(endpoint, key, "DELETE", path)
    if found != body:
        msg = f"{path} does not hold what was written"
        raise OSError(msg)


def _make_unless_there(endpoint: str, root: Key, method: str, path: str, body: bytes = b"") -> bool:
    try:
        _do(endpoint, root, method, path, body)
    except urllib.error.HTTPError as error:
        if error.code != _EXISTS:
            raise
        return False
    return True


def _do(endpoint: str, root: Key, method: str, path: str, body: bytes = b"", **query: str) -> bytes:
    return request(f"{endpoint}{path}", root, method=method, query=query, body=body, region=REGION)


def main() -> None:
    """Apply what the environment says; a missing variable is named."""
    names = {role: f"S3_{role.upper()}_SECRET_KEY" for role in ROLES}
    wanted = ("S3_ENDPOINT", "ROOT_ACCESS_KEY", "ROOT_SECRET_KEY", *names.values())
    missing = [name for name in wanted if not os.environ.get(name)]
    if missing:
        sys.exit(f"error: {missing[0]} is not set")
    root = Key(os.environ["ROOT_ACCESS_KEY"], os.environ["ROOT_SECRET_KEY"])
    secrets = {role: os.environ[name] for role, name in names.items()}
    apply(os.environ["S3_ENDPOINT"], root, secrets=secrets)
    probe(os.environ["S3_ENDPOINT"], Key("operator", secrets["operator"]))


if __name__ == "__main__":
    main()
