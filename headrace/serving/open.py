"""Opens the online store that the settings name; the only importer of the implementations."""

from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.extras import needing
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineStore

if TYPE_CHECKING:
    from pydantic import SecretStr


def open_store(settings: Settings) -> OnlineStore:
    """Open the online store, creating it on first use.

    Raises:
        OnlineStoreError: If it was written in another format.
        DatabaseUnavailableError: If it is locked, full or damaged, or its server does not answer.
        ExtraMissingError: If it is on Redis, and Redis' client is not installed.
        StorageError: If its folder cannot be created.

    """
    if settings.online_store_server is not None:
        return _on_redis(settings.online_store_server)
    return SQLiteOnlineStore(settings.online_store)


def existing_store(settings: Settings) -> OnlineStore | None:
    """Open the online store to read it: None, and nothing created, if nothing was ever published.

    Raises:
        OnlineStoreError: If it was written in another format.
        DatabaseUnavailableError: If it is locked, full or damaged, or its server does not answer.

    """
    if settings.online_store_server is None and not settings.online_store.is_file():
        return None
    return open_store(settings)


def _on_redis(server: "SecretStr") -> OnlineStore:
    with needing("redis"):
        from headrace.serving.redis import RedisOnlineStore
    return RedisOnlineStore(server.get_secret_value())
