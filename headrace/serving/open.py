"""Opens the online store that the settings name; the only importer of the implementations."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.errors import NotAFeatureViewError
from headrace.extras import needing
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import Freshness, OnlineStore
from headrace.serving.window_state import windows_of

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


def store_with(view: str, settings: Settings) -> OnlineStore:
    """Open the online store to read a view.

    Raises:
        NotAFeatureViewError: If nothing was ever published.
        OnlineStoreError: If it was written in another format.
        DatabaseUnavailableError: If it is locked, full or damaged, or its server does not answer.

    """
    store = existing_store(settings)
    if store is None:
        raise NotAFeatureViewError.unpublished(view)
    return store


@dataclass(frozen=True, kw_only=True)
class PublishedView:
    """A view of the online store, and the table it is published from."""

    fresh: Freshness
    table: str


def published_views(settings: Settings) -> tuple[PublishedView, ...]:
    """Read how fresh each published view is; none, and nothing created, if nothing was published.

    Raises:
        OnlineStoreError: If the store was written in another format.
        DatabaseUnavailableError: If it is locked, full or damaged, or its server does not answer.

    """
    store = existing_store(settings)
    if store is None:
        return ()
    with store:
        found = [_published(store, view) for view in store.views()]
    return tuple(each for each in found if each is not None)


def _published(store: OnlineStore, view: str) -> PublishedView | None:
    fresh, state = store.freshness(view), store.state(view)
    if fresh is None:
        return None
    windows = None if state is None else windows_of(state)
    return PublishedView(fresh=fresh, table=view if windows is None else windows.events)


def _on_redis(server: "SecretStr") -> OnlineStore:
    with needing("redis"):
        from headrace.serving.redis import RedisOnlineStore
    return RedisOnlineStore(server.get_secret_value())
