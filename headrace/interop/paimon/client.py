"""A warehouse of Paimon tables, by the library pypaimon.

Importing it takes seconds, so it is imported when a warehouse is opened.
"""

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.config import Settings
from headrace.errors import PaimonMissingError, PaimonTableNotFoundError, PaimonWarehouseError
from headrace.interop.paimon.facts import PaimonDefinition
from headrace.interop.paimon.naming import naming, naming_warehouse
from headrace.interop.paimon.table import PaimonTable, definition_of
from headrace.servers import S3Access

_PACKAGE = "pypaimon"


class PaimonWarehouse:
    """Tables of Paimon in one folder, found by Paimon's own layout of files.

    Raises:
        PaimonMissingError: If the client is not installed.
        PaimonWarehouseError: If the folder is not there, or cannot be read.

    """

    def __init__(self, uri: str, *, s3: S3Access | None = None) -> None:
        self.uri = uri
        self.version = _version()
        if uri.startswith("file://") and not Path(uri.removeprefix("file://")).is_dir():
            raise PaimonWarehouseError(uri, "there is no such folder")  # it would look empty
        from pypaimon import CatalogFactory

        with naming_warehouse(uri):
            options = {"warehouse": uri.removeprefix("file://"), **_s3_options(s3)}
            self._catalog: Any = CatalogFactory.create(options)
            self._catalog.list_databases()

    @classmethod
    def open(cls, settings: Settings, *, warehouse: str | None = None) -> "PaimonWarehouse":
        """Open `warehouse`, a folder or an `s3://` location, or the one of the settings.

        Raises:
            PaimonMissingError: If the client is not installed.
            PaimonWarehouseError: If none is named, or it cannot be read.

        """
        uri = settings.paimon_warehouse if warehouse is None else warehouse
        if not uri:
            raise PaimonWarehouseError(uri, "nothing says where it is")
        if "://" not in uri:
            uri = f"file://{(settings.root / uri).resolve()}"
        return cls(uri, s3=settings.s3 if uri.startswith("s3://") else None)

    def names(self) -> list[str]:
        """List every table as `database.table`."""
        with naming_warehouse(self.uri):
            return sorted(
                f"{database}.{table}"
                for database in self._catalog.list_databases()
                for table in self._catalog.list_tables(database)
            )

    def table(self, name: str) -> PaimonTable:
        """Open a table, whatever it holds.

        Raises:
            PaimonTableNotFoundError: Listing the tables there are.
            PaimonReadError: If its newest schema cannot be read.

        """
        known = self.names()
        if name not in known:
            raise PaimonTableNotFoundError(name, known=tuple(known))
        return self.listed(name)

    def listed(self, name: str) -> PaimonTable:
        """Open a table that is among the `names`, without listing all again; raises as `table` does."""
        with naming(name):
            return PaimonTable(name, self._catalog.get_table(name), version=self.version)

    def describe(
        self, name: str, schema: pa.Schema, *, keys: Sequence[str], options: Mapping[str, str]
    ) -> PaimonDefinition:
        """Describe a table of these columns, as `create` makes it.

        Raises:
            PaimonReadError: If a column has a type that Paimon does not have.

        """
        from pypaimon.schema.data_types import PyarrowFieldParser

        with naming(name):
            fields = PyarrowFieldParser.to_paimon_schema(schema)
            return definition_of(name, fields, keys=keys, partition_keys=(), options=options)

    def create(self, described: PaimonDefinition) -> PaimonTable:
        """Create a table, with its database; the caller made sure that there is none."""
        from pypaimon import Schema

        name = described.name
        with naming(name):
            self._catalog.create_database(name.partition(".")[0], True)
            said = Schema.from_pyarrow_schema(
                described.schema,
                primary_keys=list(described.keys) or None,
                options=dict(described.options),
            )
            self._catalog.create_table(name, said, False)
        return self.table(name)


def _version() -> str:
    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        raise PaimonMissingError(_PACKAGE) from None


def _s3_options(s3: S3Access | None) -> dict[str, str]:
    if s3 is None:
        return {}
    found = {"fs.s3.region": s3.region}
    if s3.endpoint:
        found["fs.s3.endpoint"] = s3.endpoint
    if s3.access_key is not None and s3.secret_key is not None:
        found["fs.s3.accessKeyId"] = s3.access_key.get_secret_value()
        found["fs.s3.accessKeySecret"] = s3.secret_key.get_secret_value()
    return found
