"""Addresses of the pages that show an asset; the pages link back with Dagster's own addresses."""

import os
from urllib.parse import urlencode

import dagster as dg

from orchestration.lib.keys import FLINK, MODELS, ONLINE_STORE, PAIMON

PAGE = "page"  # the metadata with the address
_PAGES = "http://127.0.0.1:8501"


def page_of(key: dg.AssetKey) -> str:
    """Return the address of an asset's page: `HEADRACE_PAGES_URL`, or where `make ui` serves it."""
    base = os.environ.get("HEADRACE_PAGES_URL", _PAGES).rstrip("/")
    first, name = key.path[0], key.path[-1]
    if key == ONLINE_STORE:
        return f"{base}/lineage?{urlencode({'node': 'online store'})}"
    if first in {"datasets", MODELS}:
        return f"{base}/versions"
    if first == FLINK:
        return f"{base}/ingest"
    if first == "declarations":
        return base
    if first in {"maintenance", PAIMON}:
        return f"{base}/tables"
    return f"{base}/tables?{urlencode({'table': f'{first}.{name}'})}"
