"""The tables that a catalog knows now: what they need is what clean-up must leave alone."""

from dataclasses import dataclass, field

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadata

from headrace.errors import CleanupReason, CleanupRefusedError, LakeError
from headrace.storage.folders import Folders


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

    Raises:
        CleanupRefusedError: If one cannot be read: the files it needs are unknown then.

    """
    return tuple(_load(catalog, identifier, asked_for) for identifier in _identifiers(catalog))


def _identifiers(catalog: Catalog) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    pending = list(catalog.list_namespaces())
    seen = set(pending)
    while pending:
        namespace = pending.pop()
        found.extend(catalog.list_tables(namespace))
        below = [each for each in catalog.list_namespaces(namespace) if each not in seen]
        seen.update(below)
        pending.extend(below)
    return found


def _load(catalog: Catalog, identifier: tuple[str, ...], asked_for: str) -> KnownTable:
    name = ".".join(identifier)
    try:
        table = catalog.load_table(identifier)
    except (LakeError, NoSuchTableError, OSError, ValueError) as error:
        detail = f"`{name}` of the same catalog cannot be read, and may need its files: {error}"
        reason = CleanupReason.OTHER_TABLE_UNREADABLE
        raise CleanupRefusedError(asked_for, detail, reason=reason, other=name) from error
    return KnownTable(
        name=name,
        metadata=table.metadata,
        metadata_location=table.metadata_location,
        io=table.io,
    )
