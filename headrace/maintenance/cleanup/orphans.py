"""What a clean-up last found that nothing needs: known afterwards without looking again."""

import contextlib
from collections.abc import Mapping

from headrace.errors import DatabaseUnavailableError
from headrace.registry import Measure
from headrace.storage.locations import local_path
from headrace.tables.lake import LakeTable

ORPHAN_BYTES, ORPHAN_FILES = "orphan_bytes", "orphan_files"
LOOK_EVERY_S = 86_400.0  # looking lists the folder and reads every manifest of every snapshot


def remember(table: LakeTable, *, files: int, bytes: int, now_ms: int) -> None:
    """Note what was found; a registry that cannot be written to is no reason to fail."""
    name, registry = str(table.name), table.lake.registry
    with contextlib.suppress(DatabaseUnavailableError):
        registry.record_measure(name, ORPHAN_FILES, files, measured_at_ms=now_ms)
        registry.record_measure(name, ORPHAN_BYTES, bytes, measured_at_ms=now_ms)


def look_is_due(
    table: LakeTable, *, location: str, measures: Mapping[str, Measure], now_ms: int
) -> bool:
    """Whether it is time to look: there may be something to find, and nobody looked for a day.

    A table whose first commit is younger than the least age of what clean-up takes has nothing.
    """
    if not local_path(location).startswith("/"):
        return False
    looked = measures.get(ORPHAN_BYTES)
    if looked is not None:
        return looked.measured_at_ms + LOOK_EVERY_S * 1000 <= now_ms
    first_ms = table.lake.registry.first_commit_ms(str(table.name))
    return first_ms is not None and first_ms + table.lake.settings.cleanup_age_s * 1000 <= now_ms
