"""Which small files a minor compaction merges: size tiers that have enough files."""

from collections.abc import Iterable

from headrace.maintenance.compaction.plan import is_small
from headrace.tables.version import FileEntry

FILES_PER_TIER = 8


def full_tiers(files: Iterable[FileEntry], *, target_bytes: int) -> frozenset[str]:
    """Return the paths of small files in tiers of at least `FILES_PER_TIER` files.

    Pure. Files are tiered by row count, in powers of eight, so that a row is rewritten once per
    power between the file it arrived in and a file that is large enough, never once per arriving
    file. Tiers by bytes do not work: a file of few rows is as large as eight of them merged. Files
    with deletes are left to major compaction.
    """
    tiers: dict[int, list[str]] = {}
    for file in files:
        if is_small(file, target_bytes=target_bytes) and not file.deletes:
            tiers.setdefault((max(file.rows, 1).bit_length() - 1) // 3, []).append(file.path)
    return frozenset(
        path for members in tiers.values() if len(members) >= FILES_PER_TIER for path in members
    )
