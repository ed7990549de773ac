"""The embedded catalog: PyIceberg's SQL catalog with checked, durable and cached metadata files."""

# pyright: reportPrivateUsage=false

import uuid
from collections import OrderedDict

import pyarrow as pa
import sqlalchemy as sa
import sqlalchemy.event
from pyiceberg.catalog.sql import ICEBERG_TABLE_TYPE, IcebergTables, SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationError,
)
from pyiceberg.io import FileIO
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile, ToOutputFile
from pyiceberg.table import CommitTableResponse, StagedTable, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.table.update import (
    TableRequirement,
    TableUpdate,
)
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from typing_extensions import override

from headrace.errors import StorageError
from headrace.iceberg import remedy
from headrace.iceberg.applied import not_ahead, refuse_races, updated
from headrace.iceberg.catalog_database import creating, open_database
from headrace.iceberg.standard_properties import metadata_folder
from headrace.registry import ServerClock, name_errors, prepare_sqlite, reading
from headrace.storage.checksums import NamedOutput, checking
from headrace.storage.failures import unreadable
from headrace.storage.locations import remove, sync_file
from headrace.storage.passing_io import PassingIO

CATALOG = "catalog"  # name of its database in errors
_REMEMBERED_MAX = 256


_LOCATION = sa.select(IcebergTables.metadata_location).where(
    IcebergTables.catalog_name == sa.bindparam("of"),
    IcebergTables.table_namespace == sa.bindparam("namespace"),
    IcebergTables.table_name == sa.bindparam("name"),
)
# newer catalogs have a column for it, and may contain views of other programs
_LOCATION_OF_TABLE = _LOCATION.where(
    sa.func.coalesce(IcebergTables.iceberg_type, ICEBERG_TABLE_TYPE) == ICEBERG_TABLE_TYPE
)


class MemoCatalog(SqlCatalog):
    """A `SqlCatalog` that caches parsed metadata by location.

    A metadata file never changes once written, so its location is a safe cache key. Parsing 100
    snapshots costs 4 to 5 ms, and a commit loads its table four times. Files it writes have a
    checksum in their names, which is verified when they are read.
    """

    def __init__(self, name: str, **properties: str) -> None:
        self._remembered: OrderedDict[str, TableMetadata] = OrderedDict()
        try:
            if properties["uri"].startswith("postgresql"):
                self._open_on_server(name, properties)
            else:
                super().__init__(name, **properties)
                name_errors(self.engine, CATALOG)
        except BaseException:
            self.close()  # it connects first, and its pool keeps the connection open
            raise
        self.clock = ServerClock(self.engine)
        if self.engine.dialect.name == "sqlite":
            sqlalchemy.event.listen(self.engine, "connect", prepare_sqlite)
            self.engine.dispose()  # connections made so far were not prepared

    def _open_on_server(self, name: str, properties: dict[str, str]) -> None:
        # past `SqlCatalog.__init__`, which connects with the defaults of SQLAlchemy
        super(SqlCatalog, self).__init__(name, **properties)
        self.engine = open_database(properties["uri"])
        with creating(self.engine):
            self._init_catalog()

    @override
    def load_table(self, identifier: str | Identifier) -> Table:
        """Load a table, with a statement that is built only once: every operation begins here.

        Raises:
            NoSuchTableError: If there is no such table.
            CorruptFileError: If its metadata file is missing or damaged.

        """
        *spaces, name = self.identifier_to_tuple(identifier)
        namespace = self.namespace_to_string(tuple(spaces))
        query = _LOCATION_OF_TABLE if self._schema_version == "v1" else _LOCATION
        with reading(self.engine) as connection:
            location = connection.execute(
                query, {"of": self.name, "namespace": namespace, "name": name}
            ).scalar()
        if not location:
            msg = f"Table does not exist: {namespace}.{name}"
            raise NoSuchTableError(msg)
        metadata = self.metadata_at(location)
        return Table(
            identifier=(*spaces, name),
            metadata=metadata,
            metadata_location=location,
            io=self._load_file_io(metadata.properties, location),
            catalog=self,
        )

    def locations(self) -> dict[Identifier, str]:
        """Return where the metadata of each table is, in one query, without reading any."""
        columns = IcebergTables.table_namespace, IcebergTables.table_name
        query = sa.select(*columns, IcebergTables.metadata_location).where(
            IcebergTables.catalog_name == self.name
        )
        if self._schema_version == "v1":
            kind = sa.func.coalesce(IcebergTables.iceberg_type, ICEBERG_TABLE_TYPE)
            query = query.where(kind == ICEBERG_TABLE_TYPE)
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
        return {(*space.split("."), name): location for space, name, location in rows if location}

    def metadata_at(self, location: str) -> TableMetadata:
        """Return the metadata of a file, from the cache or read and verified.

        Raises:
            CorruptFileError: If the file is missing or damaged; it names an older intact one.

        """
        metadata = self._remembered.get(location)
        if metadata is None:
            io = self._load_file_io(location=location)
            with remedy.advising(lambda path: remedy.of_metadata(path, io)):
                metadata = read_metadata(location, io)
            self._remember(location, metadata)
        return metadata

    @override
    def create_table(
        self,
        identifier: str | Identifier,
        schema: Schema | pa.Schema,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        """Create a table the way a commit does, so that its metadata file gets a checksum.

        Raises:
            TableAlreadyExistsError: If there is one, as PyIceberg's catalogs do.

        """
        transaction = self.create_table_transaction(
            identifier, schema, location, partition_spec, sort_order, properties
        )
        try:
            transaction.commit_transaction()
        except CommitFailedException as error:
            msg = f"table `{identifier}` exists already"
            raise TableAlreadyExistsError(msg) from error
        return self.load_table(identifier)

    @override
    def commit_table(
        self,
        table: Table,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> CommitTableResponse:
        """Commit, and cache the metadata that was written."""
        response = super().commit_table(table, requirements, updates)
        self._remember(response.metadata_location, response.metadata)
        return response

    @override
    def _update_and_stage_table(
        self,
        current_table: Table | None,
        table_identifier: Identifier,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> StagedTable:
        staged = self._stage(current_table, table_identifier, requirements, updates)
        output = NamedOutput()
        ToOutputFile.table_metadata(staged.metadata, output)
        return StagedTable(
            identifier=staged.name(),
            metadata=staged.metadata,
            metadata_location=output.place(staged.metadata_location),
            io=_StagedIO(staged.io, output.content),
            catalog=self,
        )

    def _stage(
        self,
        current_table: Table | None,
        table_identifier: Identifier,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> StagedTable:
        now_ms = self.clock.now_ms()
        if current_table is None:
            staged = super()._update_and_stage_table(None, table_identifier, requirements, updates)
            metadata = not_ahead(staged.metadata, of_ms=now_ms)
            return StagedTable(
                identifier=table_identifier,
                metadata=metadata,
                metadata_location=staged.metadata_location,
                io=staged.io,
                catalog=self,
            )
        refuse_races(current_table.metadata, updates, now_ms=now_ms)
        for requirement in requirements:
            requirement.validate(current_table.metadata)
        metadata = updated(current_table, updates, now_ms=now_ms)
        location = self.next_location(metadata, after=current_table.metadata_location)
        return StagedTable(
            identifier=table_identifier,
            metadata=metadata,
            metadata_location=location,
            io=self._load_file_io(metadata.properties, location),
            catalog=self,
        )

    @staticmethod
    @override
    def _write_metadata(metadata: TableMetadata, io: FileIO, metadata_path: str) -> None:
        """Write the file and fsync it, before the durable database row that names it."""
        try:
            if isinstance(io, _StagedIO):
                with io.new_output(metadata_path).create(overwrite=True) as stream:
                    stream.write(io.content)
            else:
                SqlCatalog._write_metadata(metadata, io, metadata_path)
            sync_file(metadata_path)
        except OSError as error:
            remove(io, metadata_path)
            raise StorageError.of(metadata_path, error) from error

    def next_location(self, metadata: TableMetadata, *, after: str) -> str:
        """Return the location of the metadata file that follows the one at `after`."""
        version = self._parse_metadata_version(after) + 1
        folder = metadata_folder(metadata.location, metadata.properties)
        return f"{folder}/{version:05d}-{uuid.uuid4()}.metadata.json"

    def io_of(self, metadata: TableMetadata, location: str) -> FileIO:
        """Return the FileIO of a table whose metadata file is at `location`."""
        return self._load_file_io(metadata.properties, location)

    def _remember(self, location: str, metadata: TableMetadata) -> None:
        self._remembered[location] = metadata
        while len(self._remembered) > _REMEMBERED_MAX:
            self._remembered.popitem(last=False)


def read_metadata(location: str, io: FileIO) -> TableMetadata:
    """Read a table's metadata file.

    Raises:
        CorruptFileError: If it is missing or damaged.

    """
    try:
        return FromInputFile.table_metadata(checking(io).new_input(location))
    except (OSError, ValidationError, ValueError) as error:
        raise unreadable(location, error) from error


class _StagedIO(PassingIO):
    """Passes the bytes of a metadata file to its writer: its name has its checksum, so they exist."""

    def __init__(self, inner: FileIO, content: bytes) -> None:
        super().__init__(inner)
        self.content = content
