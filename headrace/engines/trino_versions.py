"""Refuses Trino servers whose version is known to give wrong results."""

import re

from headrace.errors import Remedy, UnsupportedEngineError

OLDEST = 476  # the tests run on it
_FAULTS = {
    477: "its `merge` doubles rows (trinodb/trino#26968)",
    **dict.fromkeys(range(478, 483), "its `merge` claims double matches (trinodb/trino#29604)"),
    483: "it misses rows under a filter that casts times (trinodb/trino#30496)",
}


def refuse_version(version: str) -> None:
    """Refuse versions with known faults, and those before the oldest that is tested.

    Raises:
        UnsupportedEngineError: Naming the version and its fault.

    """
    number = re.match(r"\d+", version)
    found = int(number[0]) if number else 0
    fault = _FAULTS.get(found)
    if found < OLDEST:
        fault = f"the oldest version that works is {OLDEST}"
    if fault is not None:
        remedy = Remedy(advice=f"use Trino {OLDEST}, or a version after {max(_FAULTS)}")
        raise UnsupportedEngineError(fault, engine=f"Trino {version}", remedy=remedy)
