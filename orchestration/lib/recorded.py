"""Records check results in the lake's registry, from which the pages of `ui` read them."""

import dagster as dg

from headrace.registry.checks import record_check
from headrace.tables.lake import OpenLake
from orchestration.lib.links import PAGE, page_of


def recorded(
    lake: OpenLake, result: dg.AssetCheckResult, *, key: dg.AssetKey, check: str
) -> dg.AssetCheckResult:
    """Record a result, and return it with a link to the page of its table."""
    record_check(lake.registry, ".".join(key.path), check, passed=bool(result.passed))
    linked = {**result.metadata, PAGE: dg.MetadataValue.url(page_of(key))}
    return result._replace(metadata=linked)
