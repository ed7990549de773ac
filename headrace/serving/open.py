"""Opens the online store that the settings name; the only importer of the implementations."""

from headrace.config import Settings
from headrace.serving.sqlite import SQLiteOnlineStore
from headrace.serving.store import OnlineStore


def open_store(settings: Settings) -> OnlineStore:
    """Open the online store, creating it on first use.

    Raises:
        OnlineStoreError: If it was written in another format.
        DatabaseUnavailableError: If it is locked, full or damaged.
        StorageError: If its folder cannot be created.

    """
    return SQLiteOnlineStore(settings.online_store)


def existing_store(settings: Settings) -> OnlineStore | None:
    """Open the online store to read it: None, and nothing created, if nothing was ever published.

    Raises:
        OnlineStoreError: If it was written in another format.
        DatabaseUnavailableError: If it is locked, full or damaged.

    """
    return open_store(settings) if settings.online_store.is_file() else None
