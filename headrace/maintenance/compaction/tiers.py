"""Which small files of a partition that is still written to are worth putting together now."""

from collections.abc import Iterable

from headrace.maintenance.compaction.plan import is_small
from headrace.tables.version import FileEntry

FILES_PER_TIER = 8


def full_tiers(files: Iterable[FileEntry], *, target_bytes: int) -> frozenset[str]:
    """Pick the paths of small files of which there are `FILES_PER_TIER` of like many rows.

    Pure. Row counts are told apart by powers of eight, so that a row is written anew once for each
    power between the file it arrived in and one that is large enough, and never for every file that
    arrives. Bytes would not do: a file of few rows is as large as eight of them put together. Files
    whose rows are deleted wait for the full run.
    """
    tiers: dict[int, list[str]] = {}
    for file in files:
        if is_small(file, target_bytes=target_bytes) and not file.deletes:
            tiers.setdefault((max(file.rows, 1).bit_length() - 1) // 3, []).append(file.path)
    return frozenset(
        path for members in tiers.values() if len(members) >= FILES_PER_TIER for path in members
    )
