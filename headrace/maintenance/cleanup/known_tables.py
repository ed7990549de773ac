"""The tables that a catalog knows now: what they need is what clean-up must leave alone."""

import contextlib
from dataclasses import dataclass, field

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadata

from headrace.errors import CleanupReason, CleanupRefusedError, LakeError
from headrace.storage.folders import Folders

_LOOKS_MAX = 8


@dataclass(frozen=True, kw_only=True)
class KnownTable:
    """A table of the catalog as it is now."""

    name: str
    metadata: TableMetadata = field(repr=False, compare=False)
    metadata_location: str
    io: FileIO = field(repr=False, compare=False)

    @property
    def uuid(self) -> str:
        """The table's id."""
        return str(self.metadata.table_uuid)

    def folder(self, store: Folders) -> str | None:
        """Its place in a store, None if it lies elsewhere."""
        return store.place(self.metadata.location)


def known_tables(catalog: Catalog, *, asked_for: str) -> tuple[KnownTable, ...]:
    """Load every table of the catalog, whatever its name.

    Lists again until no name is new: a table that is renamed meanwhile may be missing in one listing
    under both names, and one that was dropped cannot be loaded.

    Raises:
        CleanupRefusedError: If one cannot be read, or names come and go at every look: the files it
            needs are unknown then.

    """
    known: dict[tuple[str, ...], KnownTable] = {}
    new = _identifiers(catalog)
    for _ in range(_LOOKS_MAX):
        for identifier in new:
            with contextlib.suppress(NoSuchTableError):  # then the next look has it no more
                known[identifier] = _load(catalog, identifier, asked_for)
        new = [each for each in _identifiers(catalog) if each not in known]
        if not new:
            return tuple(known.values())
    raise _unreadable(asked_for, ".".join(new[0]), "tables come and go at every look")


def _identifiers(catalog: Catalog) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    pending = list(catalog.list_namespaces())
    seen = set(pending)
    while pending:
        namespace = pending.pop()
        try:
            found.extend(catalog.list_tables(namespace))
            below = [each for each in catalog.list_namespaces(namespace) if each not in seen]
        except NoSuchNamespaceError:  # dropped since it was listed, and so without tables
            continue
        seen.update(below)
        pending.extend(below)
    return found


def _load(catalog: Catalog, identifier: tuple[str, ...], asked_for: str) -> KnownTable:
    name = ".".join(identifier)
    try:
        table = catalog.load_table(identifier)
    except (LakeError, OSError, ValueError) as error:
        raise _unreadable(asked_for, name, str(error)) from error
    return KnownTable(
        name=name,
        metadata=table.metadata,
        metadata_location=table.metadata_location,
        io=table.io,
    )


def _unreadable(asked_for: str, name: str, why: str) -> CleanupRefusedError:
    detail = f"`{name}` of the same catalog cannot be read, and may need its files: {why}"
    reason = CleanupReason.OTHER_TABLE_UNREADABLE
    return CleanupRefusedError(asked_for, detail, reason=reason, other=name)
