"""The seam between rooms that need SQL and the engines that run it."""

from typing import Protocol

import pyarrow as pa
from pyiceberg.manifest import DataFile

from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion


class Engine(Protocol):
    """Runs SQL over bound relations, in UTC, within the memory its settings allow."""

    def bind(self, name: str, version: TableVersion) -> None:
        """Make a pinned snapshot readable as `name` (`relation` or `namespace.relation`)."""
        ...

    def bind_arrow(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable as `name`, as often as wanted."""
        ...

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Run one query and stream its rows."""
        ...

    def write(self, sql: str, *, into: LakeTable) -> tuple[DataFile, ...]:
        """Write a query's rows as data files of a table, in the query's order, uncommitted."""
        ...

    def close(self) -> None:
        """Release memory and temporary files."""
        ...
