"""Detects what a run of the demo changed, by comparing one mark per object before and after."""

from collections.abc import Mapping

from headrace.api import Lake
from headrace.datasets.versions import list_datasets
from headrace.serving.open import existing_store


def marks(lake: Lake) -> dict[str, str]:
    """Mark tables by their snapshot, dataset versions by their hash, online views by their rows."""
    found = {str(name): str(lake.table(name).head().snapshot_id) for name in lake.names()}
    found |= {f"{lock.name} v{lock.version}": lock.content_hash for lock in list_datasets(lake)}
    store = existing_store(lake.settings)
    if store is not None:
        with store:
            for view in store.views():
                fresh = store.freshness(view)
                if fresh is not None:
                    newest = (fresh.rows, fresh.newest_event_time, fresh.newest_known_at)
                    found[f"online {view}"] = str(newest)
    return found


def changes_since(before: Mapping[str, str], lake: Lake) -> list[str]:
    """List new and changed objects, tables first."""
    return [name for name, mark in marks(lake).items() if before.get(name) != mark]
