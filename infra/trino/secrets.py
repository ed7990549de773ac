"""Make Trino's password file and, unless there is a valid one, a certificate; safe to repeat."""

import hashlib
import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

KEY, CERTIFICATE, PASSWORDS = "server.pem", "certificate.pem", "password.db"
_ROUNDS = 100_000
_VALID_DAYS = 825  # the most that some clients accept
_RENEW_S = 30 * 86_400


def write(folder: Path, *, passwords: Mapping[str, str], names: Sequence[str]) -> None:
    """Write `password.db`, `server.pem` (key and certificate) and `certificate.pem` for clients.

    Trino reads a changed password file within seconds; a new certificate needs a restart.

    Args:
        folder: Where they go; must be there.
        passwords: The password of each user.
        names: What the certificate is for: `DNS:name` and `IP:address`.

    Raises:
        CalledProcessError: If `openssl` fails.

    """
    lines = [f"{user}:{_hashed(password)}" for user, password in passwords.items()]
    _replace(folder / PASSWORDS, "\n".join(lines) + "\n", mode=0o600)
    if not _is_valid(folder / CERTIFICATE, folder / KEY):
        _make_certificate(folder, names)


def _hashed(password: str) -> str:
    """Hash a password as Trino reads it: rounds, salt and PBKDF2 hash in hexadecimal digits."""
    salt = secrets.token_bytes(16)
    # the one PBKDF2 that Trino 476 checks; passwords here are random and long
    digest = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, _ROUNDS)
    return f"{_ROUNDS}:{salt.hex()}:{digest.hex()}"


def _is_valid(certificate: Path, key: Path) -> bool:
    if not (certificate.is_file() and key.is_file()):
        return False
    command = ("openssl", "x509", "-noout", "-checkend", str(_RENEW_S), "-in", str(certificate))
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _make_certificate(folder: Path, names: Sequence[str]) -> None:
    key, certificate = folder / "new-key.pem", folder / "new-certificate.pem"
    subject = ("-subj", "/CN=headrace-trino", "-addext", f"subjectAltName={','.join(names)}")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    out = ("-days", str(_VALID_DAYS), "-keyout", str(key), "-out", str(certificate))
    command = ("openssl", "req", "-x509", *curve, *subject, *out)
    try:
        subprocess.run(command, capture_output=True, check=True, umask=0o077)
        text = certificate.read_text()
        _replace(folder / KEY, key.read_text() + text, mode=0o600)
        _replace(folder / CERTIFICATE, text, mode=0o644)
    finally:
        key.unlink(missing_ok=True)
        certificate.unlink(missing_ok=True)


def _replace(path: Path, content: str, *, mode: int) -> None:
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as opened:
        opened.write(content)
    draft.replace(path)
