"""How many orphan files the last clean-up plan found, recorded in the registry."""

import contextlib
from collections.abc import Mapping

from headrace.errors import DatabaseUnavailableError
from headrace.registry import Measure
from headrace.storage.open import has_folders
from headrace.tables.lake import LakeTable

ORPHAN_BYTES, ORPHAN_FILES = "orphan_bytes", "orphan_files"
LOOK_EVERY_S = 86_400.0  # a plan lists the folder and reads every manifest of every snapshot


def remember(table: LakeTable, *, files: int, bytes: int, now_ms: int) -> None:
    """Record the result; a registry that is unavailable does not fail the clean-up."""
    name, registry = str(table.name), table.lake.registry
    with contextlib.suppress(DatabaseUnavailableError):
        registry.record_measure(name, ORPHAN_FILES, files, measured_at_ms=now_ms)
        registry.record_measure(name, ORPHAN_BYTES, bytes, measured_at_ms=now_ms)


def look_is_due(
    table: LakeTable, *, location: str, measures: Mapping[str, Measure], now_ms: int
) -> bool:
    """Whether to look for orphan files: there may be some, and the last look was a day ago.

    A table whose first commit is younger than the least age of an orphan file has none.
    """
    if not has_folders(location):
        return False
    looked = measures.get(ORPHAN_BYTES)
    if looked is not None:
        return looked.measured_at_ms + LOOK_EVERY_S * 1000 <= now_ms
    first_ms = table.lake.registry.first_commit_ms(str(table.name))
    return first_ms is not None and first_ms + table.lake.settings.cleanup_age_s * 1000 <= now_ms
