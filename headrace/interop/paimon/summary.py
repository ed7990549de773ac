"""What is worth knowing of each table of a warehouse: snapshots, tags, files, and how it can be read."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from headrace.errors import LakeError, PaimonUnsupportedError, Remedy
from headrace.interop.paimon.client import PaimonWarehouse
from headrace.interop.paimon.expiry import retention_of
from headrace.interop.paimon.facts import PaimonFiles, PaimonRetention, PaimonSnapshot
from headrace.interop.paimon.support import changes_of, refuse_unknown
from headrace.interop.paimon.table import PaimonTable

# from so many on, Paimon's own writers wait for a compaction (`num-sorted-run.stop-trigger`)
UNMERGED_MAX = 8


@dataclass(frozen=True, kw_only=True)
class PaimonSummary:
    """One table at its newest snapshot.

    `records` counts rows before a merge. `history` has its snapshots, oldest first, and `retention` how long
    they stay; `created_ms` is when the table was created. `tags` maps names to snapshot ids. `health` says how it can be
    read, and `remedy` what makes more possible. `error` is the code of what keeps it from being read at
    all, and `message` says more; the rest is empty then.
    """

    table: str
    keys: tuple[str, ...] = ()
    records: int | None = None
    files: PaimonFiles = field(default_factory=PaimonFiles)
    snapshots: int = 0
    history: tuple[PaimonSnapshot, ...] = ()
    retention: PaimonRetention | None = None
    created_ms: int = 0
    oldest_snapshot_id: int | None = None
    snapshot_id: int | None = None
    committed_at: dt.datetime | None = None
    tags: Mapping[str, int] = field(default_factory=dict[str, int])
    health: str = ""
    remedy: Remedy | None = None
    error: str = ""
    message: str = ""

    @property
    def is_unmerged(self) -> bool:
        """Whether nobody compacts it: each read merges many files."""
        return self.files.unmerged_per_bucket_max > UNMERGED_MAX


def summaries(
    warehouse: PaimonWarehouse, *, only: str | None = None, known: Iterable[PaimonSummary] = ()
) -> tuple[PaimonSummary, ...]:
    """Look at every table; one that cannot be read has its error, and hides no other.

    Args:
        warehouse: Where they are.
        only: The table to look at, if it is there; all by default.
        known: What was read before: the files of a snapshot that is still the newest are not counted
            again.

    Raises:
        PaimonWarehouseError: If the warehouse cannot be read.

    """
    return tuple(
        found if isinstance(found, PaimonSummary) else _of_error(name, found)
        for name, found in look_at_each(warehouse, only=only, known=known).items()
    )


def look_at_each(
    warehouse: PaimonWarehouse, *, only: str | None = None, known: Iterable[PaimonSummary] = ()
) -> dict[str, PaimonSummary | LakeError]:
    """Look at every table as `summaries` does: its facts, or why it cannot be read, in order of names.

    Raises:
        PaimonWarehouseError: If the warehouse cannot be read.

    """
    names = [name for name in warehouse.names() if only in (None, name)]
    before = {each.table: each for each in known}
    return {name: _looked_at(warehouse, name, before.get(name)) for name in names}


def summary(table: PaimonTable) -> PaimonSummary:
    """Look at one table; one that cannot be read has its error."""
    try:
        return _summary(table, None)
    except LakeError as error:
        return _of_error(table.name, error)


def _looked_at(
    warehouse: PaimonWarehouse, name: str, known: PaimonSummary | None
) -> PaimonSummary | LakeError:
    try:
        return _summary(warehouse.listed(name), known)
    except LakeError as error:
        return error


def _of_error(name: str, error: LakeError) -> PaimonSummary:
    return PaimonSummary(
        table=name,
        health=error.code,
        error=error.code,
        message=error.message,
        remedy=error.remedy,
    )


def _summary(table: PaimonTable, known: PaimonSummary | None) -> PaimonSummary:
    snapshots, tags = table.snapshots(), table.tags()
    newest = next(reversed(snapshots), None)
    health, remedy = _health(table)
    return PaimonSummary(
        table=table.name,
        keys=table.definition.keys,
        records=None if newest is None else newest.rows,
        files=PaimonFiles() if newest is None else _files(table, newest, known),
        snapshots=len(snapshots),
        history=snapshots,
        retention=retention_of(table.definition, table.consumers()),
        created_ms=table.created_ms(),
        oldest_snapshot_id=snapshots[0].id if snapshots else None,
        snapshot_id=None if newest is None else newest.id,
        committed_at=None if newest is None else newest.committed_at,
        tags={name: each.id for name, each in tags.items()},
        health=health,
        remedy=remedy,
    )


def _files(table: PaimonTable, newest: PaimonSnapshot, known: PaimonSummary | None) -> PaimonFiles:
    """Count the live files, unless that is known; a table made anew begins with snapshot 1 again."""
    of = None if known is None else (known.snapshot_id, known.committed_at)
    if known is not None and of == (newest.id, newest.committed_at):
        return known.files
    return table.statistics(newest.id)


def _health(table: PaimonTable) -> tuple[str, Remedy | None]:
    """Say whether a table can be imported: by changes, by state alone, or not at all."""
    try:
        refuse_unknown(table.definition, version=table.version)
    except PaimonUnsupportedError as error:
        return f"cannot be read: {error.reason}", error.remedy
    try:
        return f"reads {changes_of(table.definition)}", None
    except PaimonUnsupportedError as error:
        return f"reads state only: {error.reason}", error.remedy
