"""Relocate the tables of a copied lake: the same snapshots, with the locations of the copy.

For each table the metadata is rewritten in the copy, beside the copied files; one update of the
catalog row then switches to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.config import Settings
from headrace.crash_points import crash_point
from headrace.iceberg.memo_catalog import MemoCatalog
from headrace.storage.locations import local_path
from headrace.tables.catalogs import open as opening
from headrace.tables.rewritten import Move, Rewriting, point_to

_WAREHOUSE = "/warehouse/"


@dataclass(frozen=True, kw_only=True)
class TableMove:
    """A table whose catalog row has `location`, and which has a copy in this warehouse."""

    table: str
    location: str
    move: Move


@dataclass(frozen=True, kw_only=True)
class Relocation:
    """The tables to relocate; `strangers` are located elsewhere and have no copy here."""

    tables: tuple[TableMove, ...]
    strangers: tuple[str, ...]


def copy_in(warehouse: Path, location: str) -> Move | None:
    """Find the move from a location in another warehouse to a file in this one, if there is one."""
    path = local_path(location)
    at = path.find(_WAREHOUSE)
    while at >= 0:
        end = at + len(_WAREHOUSE)
        if (warehouse / path[end:]).is_file():
            return Move(source=path[: end - 1], target=str(warehouse))
        at = path.find(_WAREHOUSE, at + 1)
    return None


def plan_relocation(settings: Settings) -> Relocation:
    """Find the tables whose catalog rows point elsewhere although the warehouse has a copy.

    Reads only the catalog. Idempotent: after it was applied, a second plan is empty. A warehouse on
    S3 is not copied with the state folder, and nothing is found for it.

    Raises:
        LakeNotFoundError, LakeIncompleteError: If there is no lake.
        LakeOnServersError: If its catalog is on a server.

    """
    opening.refuse_servers(settings, what="relocate")
    opening.refuse_absent(settings)
    if not settings.warehouse_is_local:
        return Relocation(tables=(), strangers=())
    catalog = opening.open_catalog(settings)
    try:
        found = opening.elsewhere(catalog, settings)
    finally:
        catalog.close()
    moves = {table: (at, copy_in(settings.warehouse, at)) for table, at in found.items()}
    return Relocation(
        tables=tuple(
            TableMove(table=table, location=at, move=move)
            for table, (at, move) in moves.items()
            if move is not None
        ),
        strangers=tuple(table for table, (_, move) in moves.items() if move is None),
    )


def apply_relocation(settings: Settings, plan: Relocation) -> Iterator[TableMove]:
    """Relocate the tables one by one, and yield each when it is done.

    Each table is relocated atomically; after a kill, plan again for the rest. Files outside of the
    lake's own warehouse are never written.

    Raises:
        CorruptFileError: If a file was not copied or is damaged; the table is unchanged.
        StorageError: If a file cannot be written; the table is unchanged.
        UnsupportedTableError: If the table has a feature that cannot be relocated; it is unchanged.

    """
    opening.refuse_absent(settings)
    catalog = opening.open_catalog(settings)
    try:
        for each in plan.tables:
            location = _rewritten(catalog, each)
            crash_point("relocate.before_swap")
            if point_to(catalog, each.table, location, before=each.location):
                yield each
    finally:
        catalog.close()


def _rewritten(catalog: MemoCatalog, each: TableMove) -> str:
    """Rewrite a table's metadata beside what was copied of it; return where it is."""
    copied = each.move.of(each.location)
    metadata = catalog.metadata_at(copied)
    io = catalog.io_of(metadata, copied)
    return Rewriting(
        table=each.table,
        move=each.move,
        read=io,
        write=io,
        found_at=each.move.of,
        is_there=lambda location: Path(local_path(location)).is_file(),
        place=lambda moved: catalog.next_location(moved, after=each.location),
    ).run(metadata)
