"""Keeps how a check ended in the lake's registry too: the pages read that, and not Dagster's."""

import dagster as dg

from headrace.registry.checks import record_check
from headrace.tables.lake import OpenLake


def recorded(
    lake: OpenLake, result: dg.AssetCheckResult, *, key: dg.AssetKey, check: str
) -> dg.AssetCheckResult:
    """Record a result and hand it on."""
    record_check(lake.registry, ".".join(key.path), check, passed=bool(result.passed))
    return result
