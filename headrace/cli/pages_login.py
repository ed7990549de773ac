"""What `headrace ui` checks before pages are reachable from other machines: a login, whole and safe."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headrace.errors import Remedy, SettingReason, SettingsError
from headrace.extras import need
from headrace.loopback import is_loopback

_KEYS = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
_COOKIE_SECRET_MIN = 32  # characters: it signs who is logged in
_OPTION = "--login"


def refuse_open_pages(
    address: str, *, operators: Collection[str], readers: Collection[str] = ()
) -> None:
    """Allow pages without a login on this machine only, and only `local` as their operator.

    Raises:
        SettingsError: If other machines would reach them, or an operator or reader could never log in.

    """
    if not is_loopback(address):
        msg = f"pages at `{address}` are reachable from other machines, and would have no login"
        remedy = Remedy(advice=f"give `{_OPTION} FILE`, or listen at 127.0.0.1")
        raise SettingsError(msg, setting=_OPTION, reason=SettingReason.MISSING, remedy=remedy)
    named = [("--operator", each) for each in operators if each != "local"]
    named += [("--reader", each) for each in readers]
    for option, name in named:
        msg = f"`{option} {name}` never applies: without a login nobody has an e-mail address"
        remedy = Remedy(advice=f"give `{_OPTION} FILE`, or `--operator local` alone")
        raise SettingsError(msg, setting=option, reason=SettingReason.NEEDS_ANOTHER, remedy=remedy)


def read_login(file: Path) -> str:
    """Check the file of a login, and return the host that browsers know the pages by.

    Raises:
        SettingsError: If it cannot be read, lacks a key, or would send secrets in the clear.
        ExtraMissingError: If the package that logs in is not installed.

    """
    need("login", "authlib", "httpx")
    said = _auth(file)
    for key in _KEYS:
        if not isinstance(said.get(key), str) or not said[key]:
            msg = f"`{file}` lacks `{key}` of `[auth]`"
            raise _wrong(msg, key, SettingReason.MISSING)
    if len(said["cookie_secret"]) < _COOKIE_SECRET_MIN:
        msg = f"`cookie_secret` of `{file}` is shorter than {_COOKIE_SECRET_MIN} characters"
        raise _wrong(msg, "cookie_secret", SettingReason.NOT_ALLOWED)
    for key in ("redirect_uri", "server_metadata_url"):
        url = urlsplit(said[key])
        if url.scheme != "https" and not is_loopback(url.hostname):
            msg = f"`{key}` of `{file}` is not an address of https"
            raise _wrong(msg, key, SettingReason.NOT_ALLOWED)
    return urlsplit(said["redirect_uri"]).hostname or ""


def _auth(file: Path) -> Mapping[str, Any]:
    try:
        content = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        # the text of the file is not repeated: it holds secrets
        why = error.strerror if isinstance(error, OSError) else "it is not TOML"
        msg = f"`{file}` cannot be read: {why}"
        raise _wrong(msg, _OPTION, SettingReason.UNREADABLE) from None
    found = content.get("auth")
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _wrong(msg: str, setting: str, reason: SettingReason) -> SettingsError:
    remedy = Remedy(advice="`docs/pages.md` has an example")
    return SettingsError(msg, setting=setting, reason=reason, remedy=remedy)
