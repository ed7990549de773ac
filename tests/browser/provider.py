"""A small provider of OpenID Connect on loopback: it asks who it is, and signs what it says."""

import base64
import contextlib
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

PEOPLE = ("ann@example.com", "bob@example.com", "eve@elsewhere.org")


@dataclass
class Provider:
    """What it knows: its key, its only client, and for whom each code was given out."""

    client_id: str = "headrace"
    client_secret: str = field(default_factory=secrets.token_hex)
    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "1"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    @property
    def metadata(self) -> str:
        """The address that describes it."""
        return f"{self.issuer}/.well-known/openid-configuration"

    def described(self) -> Mapping[str, object]:
        """Say where its parts are."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def asks(self, query: Mapping[str, str]) -> str:
        """Give the page on which a person says who they are."""
        links = ""
        for person in PEOPLE:
            code = secrets.token_hex()
            self.codes[code] = {**query, "email": person}
            back = urlencode({"code": code, "state": query["state"]})
            links += f'<p><a href="{query["redirect_uri"]}?{back}">{person}</a></p>'
        return f"<!doctype html><title>Provider</title><p>Who are you?</p>{links}"

    def answers(self, said: Mapping[str, str], authorization: str) -> Mapping[str, object] | None:
        """Give the token for a code, once; None to who is not the client that asked for it."""
        asked = self.codes.pop(said.get("code", ""), None)
        own = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        challenge = hashlib.sha256(said.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(challenge).decode().rstrip("=")
        if (
            asked is None
            or authorization != f"Basic {own}"
            or (asked["client_id"], asked["redirect_uri"]) != (self.client_id, said["redirect_uri"])
            or asked["code_challenge"] != proof
        ):
            return None
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.client_id,
            "sub": asked["email"],
            "email": asked["email"],
            "email_verified": True,
            "nonce": asked["nonce"],
            "iat": now,
            "exp": now + 600,
        }
        token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key)
        return {"access_token": secrets.token_hex(), "token_type": "Bearer", "id_token": token}


@contextlib.contextmanager
def providing() -> Generator[Provider]:
    """Serve a provider until the block ends."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            at = urlsplit(self.path)
            if at.path == "/authorize":
                query = {name: each[0] for name, each in parse_qs(at.query).items()}
                self._send(provider.asks(query), "text/html")
            elif at.path == "/keys":
                self._send(json.dumps({"keys": [provider.key.as_dict(private=False)]}))
            elif at.path == urlsplit(provider.metadata).path:
                self._send(json.dumps(provider.described()))
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            said = {
                name: each[0] for name, each in parse_qs(self.rfile.read(length).decode()).items()
            }
            answer = provider.answers(said, self.headers.get("Authorization", ""))
            if answer is None:
                self.send_error(401)
            else:
                self._send(json.dumps(answer))

        def _send(self, body: str, kind: str = "application/json") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.issuer = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield provider
        server.shutdown()
