"""The lake: its catalog, its registry, and handles on its tables."""

import contextlib
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import pyarrow as pa
import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    NoSuchNamespaceError,
    NoSuchTableError,
    ValidationError,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType

from headrace import clock
from headrace.config import Settings
from headrace.errors import (
    CorruptFileError,
    LakeError,
    SnapshotNotFoundError,
    StorageError,
    TableNotFoundError,
    UnsupportedReason,
    UnsupportedTableError,
)
from headrace.errors.known import nearest
from headrace.iceberg import column_metrics, partitions, schema, snapshot_log
from headrace.iceberg import standard_properties as standard
from headrace.iceberg.inspected import InspectedFiles
from headrace.iceberg.memo_catalog import CATALOG, MemoCatalog
from headrace.iceberg.recent_writes import RecentWrites
from headrace.iceberg.standard_properties import FORMAT_RETENTION, Retention
from headrace.identifiers import STAGING_NAMESPACE, TableName, is_plain
from headrace.registry import Registry, in_memory, name_errors
from headrace.shown import facts_html
from headrace.tables.catalogs.open import clock_of, locks_of, open_databases, refuse_absent
from headrace.tables.locks import Locks
from headrace.tables.version import TableVersion

_FORMAT_VERSION = 2
_NAMES_SHOWN = 12
_TABLE_PROPERTIES = {
    "format-version": str(_FORMAT_VERSION),
    standard.METADATA_DELETED: "true",
    # views pin a metadata file while a query runs; this many commits may land in that time
    standard.METADATA_KEPT_MAX: "50",
    standard.METRICS_DEFAULT: "truncate(16)",
}


class OpenLake:
    """One lakehouse: open it, ask it for tables, close it. Safe to open from several processes.

    `foreign` means that other programs own the catalog (`OpenLake.of`): they keep control of their
    tables, including snapshot retention.
    """

    def __init__(
        self, settings: Settings, catalog: Catalog, registry: Registry, *, foreign: bool = False
    ) -> None:
        self.settings, self.catalog, self.registry = settings, catalog, registry
        self.locks: Locks = locks_of(catalog, settings)
        self._clock = clock_of(catalog)
        self.recent = RecentWrites()
        self.foreign = foreign
        self._undo: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.settings.state_dir)!r})"

    def _repr_html_(self) -> str:
        names = [str(name) for name in self.names()]
        listed = ", ".join(names[:_NAMES_SHOWN]) + (", …" if names[_NAMES_SHOWN:] else "")
        return facts_html(
            {"lake": str(self.settings.state_dir), "tables": f"{len(names):,}", "names": listed}
        )

    @classmethod
    def open(cls, settings: Settings | None = None) -> Self:
        """Open the lake of `settings`, creating its state on first use.

        Raises:
            DatabaseUnavailableError: If a database is locked, full, damaged or out of reach.
            LakeIncompleteError: If one is missing beside a warehouse that is not empty.
            StorageError: If the state folder cannot be written.
            TablesElsewhereError: If tables lie outside of the warehouse, as in a copied lake.

        """
        settings = settings or Settings.load()
        catalog, registry = open_databases(settings)
        return cls(settings, catalog, registry)

    @classmethod
    def existing(cls, settings: Settings | None = None) -> Self:
        """Open the existing lake of `settings` to read it; nothing is created.

        Raises:
            LakeNotFoundError: If there is none.
            LakeError: See `open`.

        """
        settings = settings or Settings.load()
        refuse_absent(settings)
        return cls.open(settings)

    @classmethod
    def of(cls, catalog: Catalog, *, settings: Settings | None = None) -> Self:
        """Open a lake over any PyIceberg catalog, which stays the caller's and is not closed.

        Locks and the registry lie in a folder of this catalog's own below `settings.state_dir`, so
        equal table names of two catalogs do not meet. No snapshot is expired unless that is asked
        for, and only its own commits are recorded.

        Raises:
            StorageError: If the state folder cannot be written.

        """
        settings = _beside(catalog, settings)
        try:
            settings.state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError.of(str(settings.state_dir), error) from error
        return cls._over(catalog, settings, registry_uri=settings.registry_uri)

    @classmethod
    def looking_at(cls, catalog: Catalog, *, settings: Settings | None = None) -> Self:
        """Open a lake over any PyIceberg catalog to read it, like `of`; nothing is created.

        If nothing was recorded for this catalog yet, the registry is empty and in memory.
        """
        settings = _beside(catalog, settings)
        uri = settings.registry_uri if settings.registry_file.is_file() else in_memory()
        return cls._over(catalog, settings, registry_uri=uri)

    @classmethod
    def _over(cls, catalog: Catalog, settings: Settings, *, registry_uri: str) -> Self:
        lake = cls(settings, catalog, Registry(registry_uri), foreign=True)
        engine = getattr(catalog, "engine", None)
        if isinstance(engine, sa.Engine):  # lost answers are resolved by what they are called
            lake._undo = name_errors(engine, CATALOG)
        return lake

    def now_ms(self) -> int:
        """Return the time, in milliseconds since the epoch, that hosts of this lake agree on.

        It is that of the catalog's database server, if there is one, else that of this host.

        Raises:
            DatabaseUnavailableError: If the server has never answered.

        """
        return clock.now_ms() if self._clock is None else self._clock.now_ms()

    def now(self) -> dt.datetime:
        """Return the time of `now_ms` in UTC; raises as it does."""
        return clock.time_at(self.now_ms())

    @property
    def default_retention(self) -> Retention:
        """Snapshot retention where table properties set none, besides what `settings` keep."""
        return FORMAT_RETENTION if self.foreign else Retention()

    @property
    def inspected(self) -> InspectedFiles:
        """Known footer inspections of the tables' files, shared by all processes."""
        return InspectedFiles.in_folder(self.settings.state_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the databases."""
        self._undo()
        if not self.foreign:
            self.catalog.close()
        self.registry.close()

    def table(self, name: TableName | str) -> "LakeTable":
        """Return a handle on an existing table.

        Raises:
            TableNotFoundError: Listing the tables there are.

        """
        if isinstance(name, str) and is_plain(name):  # `clicks`, where `raw.clicks` is meant
            known = tuple(str(each) for each in self.names())
            if nearest(name, known):
                raise TableNotFoundError(name, known=known)
        name = TableName.parse(name) if isinstance(name, str) else name
        if not self.exists(name):
            raise TableNotFoundError(str(name), known=tuple(str(n) for n in self.names()))
        return LakeTable(self, name)

    def exists(self, name: TableName | str) -> bool:
        """Whether the catalog has this table."""
        name = TableName.parse(name) if isinstance(name, str) else name
        with _naming_metadata(name):
            return self.catalog.table_exists((name.namespace, name.name))

    def head_of(self, name: TableName | str) -> TableVersion | None:
        """Pin the newest snapshot of a table; None if there is no such table. Asks the catalog once."""
        name = TableName.parse(name) if isinstance(name, str) else name
        return LakeTable(self, name).head_if_any()

    def locations(self) -> dict[TableName, str | None]:
        """Map every table of `names` to its metadata file, which is a new one after each commit.

        One query, and no metadata is read, if the catalog is headrace's own. Of other catalogs the
        file is None if it cannot be told without an error.
        """
        names = self.names()
        if isinstance(self.catalog, MemoCatalog):
            found = self.catalog.locations()
            return {name: found.get((name.namespace, name.name)) for name in names}
        return {name: self._location(name) for name in names}

    def _location(self, name: TableName) -> str | None:
        try:
            return LakeTable(self, name).iceberg().metadata_location
        except LakeError:  # whoever reads the table meets it
            return None

    def names(self) -> list[TableName]:
        """List every table by name, except staging tables and names that headrace cannot use."""
        found: list[tuple[str, ...]] = []
        for namespace in self.catalog.list_namespaces():
            if namespace != (STAGING_NAMESPACE,):
                with contextlib.suppress(NoSuchNamespaceError):  # dropped since it was listed
                    found += self.catalog.list_tables(namespace)
        return sorted(
            TableName(*identifier)
            for identifier in found
            if len(identifier) == 2 and all(is_plain(part) for part in identifier)
        )


@dataclass(frozen=True)
class LakeTable:
    """A table's address in a lake; every reading method reloads it from the catalog."""

    lake: OpenLake
    name: TableName

    def __repr__(self) -> str:
        return f"LakeTable({str(self.name)!r} of {self.lake!r})"

    def _repr_html_(self) -> str:
        try:
            return self.head().html()
        except LakeError as error:  # a notebook shows the handle of a lost or damaged table too
            return facts_html({"table": str(self.name), "cannot be read": str(error)})

    def iceberg(self) -> Table:
        """Load the table as pyiceberg sees it now.

        Raises:
            TableNotFoundError: Listing the tables there are.
            UnsupportedTableError: If it is not of format version 2, has what only newer ones have,
                or is partitioned in a way whose keys are unknown here.

        """
        table = self._iceberg_if_any()
        if table is None:
            known = tuple(str(name) for name in self.lake.names())
            raise TableNotFoundError(str(self.name), known=known)
        return table

    def _iceberg_if_any(self) -> Table | None:
        try:
            with _naming_metadata(self.name):
                table = self.lake.catalog.load_table((self.name.namespace, self.name.name))
        except NoSuchTableError:
            return None
        version = table.metadata.format_version
        if version != _FORMAT_VERSION:
            detail = f"it is of format version {version}, and only {_FORMAT_VERSION} is handled"
            reason = UnsupportedReason.FORMAT_VERSION
            raise UnsupportedTableError(str(self.name), detail, reason=reason)
        partitions.refuse_unknown(table.metadata, table=str(self.name))
        schema.refuse_defaults(table.schema(), table=str(self.name))
        return table

    def terms(self) -> tuple[partitions.Term, ...]:
        """The partition spec."""
        metadata = self.iceberg().metadata
        return partitions.terms_of(metadata.spec(), metadata.schema())

    def target_file_bytes(self) -> int:
        """Target size of data files in bytes: the table's property, else the lake's setting.

        Raises:
            UnsupportedTableError: If its property is not a size.

        """
        said = standard.target_file_bytes(self.iceberg().properties, table=str(self.name))
        return self.lake.settings.target_file_bytes if said is None else said

    def head(self, branch: str = MAIN_BRANCH) -> TableVersion:
        """Pin the newest snapshot; `snapshot_id` is None when nothing was committed yet.

        Raises:
            SnapshotNotFoundError: If there is no such branch.

        """
        if branch != MAIN_BRANCH:
            return self.at(branch=branch)
        return self._newest(self.iceberg())

    def head_if_any(self) -> TableVersion | None:
        """Pin the newest snapshot as `head` does; None if there is no such table."""
        table = self._iceberg_if_any()
        return None if table is None else self._newest(table)

    def _newest(self, table: Table) -> TableVersion:
        snapshot = table.metadata.snapshot_by_name(MAIN_BRANCH)
        return self._version(table, None if snapshot is None else snapshot.snapshot_id)

    def at(
        self,
        *,
        snapshot_id: int | None = None,
        tag: str | None = None,
        branch: str | None = None,
        time: dt.datetime | None = None,
    ) -> TableVersion:
        """Pin a snapshot by id, tag or branch, or the one that was newest on `main` at a UTC time.

        Raises:
            SnapshotNotFoundError: If it does not exist or has expired.
            TimeGapError: If the snapshot of that time may have expired; it says which are known.
            ValueError: If not exactly one of them is given, or the time has no zone.

        """
        if sum(each is not None for each in (snapshot_id, tag, branch, time)) != 1:
            msg = "give one of `snapshot_id`, `tag`, `branch` and `time`"
            raise ValueError(msg)
        table = self.iceberg()
        if tag is not None:
            snapshot_id = self._named(table, tag, SnapshotRefType.TAG)
        elif branch is not None:
            snapshot_id = self._named(table, branch, SnapshotRefType.BRANCH)
        elif time is not None:
            snapshot_id = self._newest_at(table, time)
        if snapshot_id is None or table.metadata.snapshot_by_id(snapshot_id) is None:
            raise SnapshotNotFoundError(str(self.name), f"snapshot {snapshot_id}")
        return self._version(table, snapshot_id)

    def _named(self, table: Table, name: str, kind: SnapshotRefType) -> int:
        ref = table.metadata.refs.get(name)
        if ref is None or ref.snapshot_ref_type != kind:
            raise SnapshotNotFoundError(str(self.name), f"{kind.value} `{name}`")
        return ref.snapshot_id

    def _newest_at(self, table: Table, time: dt.datetime) -> int:
        if time.tzinfo is None:
            msg = f"`time` is {time}, which has no zone; give it in UTC"
            raise ValueError(msg)
        trusted = not self.lake.foreign
        return snapshot_log.snapshot_at(table.metadata, time, table=str(self.name), trusted=trusted)

    def _version(self, table: Table, snapshot_id: int | None) -> TableVersion:
        return TableVersion.of(
            self.name,
            table.metadata,
            table.metadata_location,
            table.io,
            snapshot_id,
            inspected=self.lake.inspected,
        )


def create_arguments(
    name: TableName,
    wanted: pa.Schema,
    *,
    terms: tuple[partitions.Term, ...],
    properties: Mapping[str, str],
) -> tuple[Schema, PartitionSpec, dict[str, str]]:
    """Describe a new table: its schema, its partition spec, its properties. Pure.

    Raises:
        ContractError: If the schema or partitioning cannot be a table's.

    """
    columns = schema.to_iceberg(wanted, table=str(name))
    spec = partitions.spec_of(terms, columns, table=str(name))
    said = {**_TABLE_PROPERTIES, **properties}
    return columns, spec, {**said, **column_metrics.limits(columns, spec, said)}


def _beside(catalog: Catalog, settings: Settings | None) -> Settings:
    """Settings with a state folder of this catalog's own."""
    settings = settings or Settings.without_lake()
    own = settings.state_dir / "catalogs" / _slug(catalog)
    # a registry on a server serves one lake: equal table names of two catalogs would collide
    return replace(settings, state_dir=own, registry_server=None)


@contextlib.contextmanager
def _naming_metadata(name: TableName) -> Generator[None]:
    """Name what a catalog of another program raises for a metadata file that it cannot read."""
    try:
        yield
    except (FileNotFoundError, ValidationError, ValueError) as error:
        what = f"metadata of {name}"
        raise CorruptFileError(what, str(error)) from error


def _slug(catalog: Catalog) -> str:
    """Name a catalog's state folder; the same from every process that opens this catalog."""
    address = "\n".join(catalog.properties.get(key, "") for key in ("uri", "warehouse"))
    digest = hashlib.blake2b(f"{catalog.name}\n{address}".encode(), digest_size=6).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', catalog.name)[:40]}-{digest}"
