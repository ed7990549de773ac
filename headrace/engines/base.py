"""The seam between rooms that need SQL and the engines that run it.

A new engine is one file that implements `Engine`, a `Dialect` beside it, and one line in `open.py`.
`tests/contract/test_engine.py` states what every engine does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa
from pyiceberg.manifest import DataFile

from headrace.engines.dialect import Dialect
from headrace.tables.lake import LakeTable
from headrace.tables.version import TableVersion


@dataclass(frozen=True, kw_only=True)
class SortBy:
    """A column to sort by, named by its position."""

    column: int
    descending: bool = False
    nulls_first: bool = False


class Engine(Protocol):
    """Runs SQL over bound relations, in UTC, within the memory that its settings allow.

    One thread uses an engine at a time; only `cancel` may be called from another one. Several
    engines may be open at once, in one process or in several, and share nothing.
    """

    @property
    def dialect(self) -> Dialect:
        """How SQL for this engine is written."""
        ...

    @property
    def is_embedded(self) -> bool:
        """Whether it runs in this process, so that rows of a query cost nothing to look at.

        If not, let it `write` what is large, and read what was written.
        """
        ...

    def bind(self, name: str, version: TableVersion) -> None:
        """Make a pinned snapshot readable as `name` (`relation` or `namespace.relation`).

        The relation has the columns of `version.schema` and the rows of that snapshot without
        deleted rows, whatever is committed later. An existing relation of this name is replaced.

        Raises:
            CorruptFileError: If a file of the snapshot is missing or damaged.
            UnsupportedTableError: If the engine cannot read the snapshot or would misread it.

        """
        ...

    def bind_arrow(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table readable as `name`, any number of times.

        An existing relation of this name is replaced.

        Raises:
            UnsupportedTableError: If names of the table differ only in case.

        """
        ...

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Run one query and stream its rows; times are UTC.

        Read the result to its end before the next statement begins.

        Raises:
            CorruptFileError: If a file of a bound snapshot turns out to be damaged, also while rows
                are read.
            QueryCancelledError: If `cancel` was called, also while rows are read.
            StorageFullError: If there is no room for what does not fit into memory, also while rows
                are read.

        """
        ...

    def write(self, sql: str, *, into: LakeTable) -> tuple[DataFile, ...]:
        """Write a query's rows as data files of a table, each in the query's order.

        Nothing is committed: the caller commits the files. If it raises, no file is left.

        Raises:
            ContractError: If the rows do not fit the table, as when a required column is null.
            Otherwise as `query`.

        """
        ...

    def sort(
        self, batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, by: Sequence[SortBy]
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows in the order of some columns; equal rows keep their order.

        All of `batches` is read before the first row is yielded. Values do not change, and there
        may be more rows than memory holds. What `batches` raises passes through.

        Raises:
            QueryCancelledError: If `cancel` was called.
            StorageError: If rows that do not fit into memory cannot be written to disk.

        """
        ...

    def cancel(self) -> None:
        """Interrupt the running statement, from any thread.

        The thread that runs it gets `QueryCancelledError`. The engine stays usable. Without a
        running statement, or after `close`, nothing happens.
        """
        ...

    def close(self) -> None:
        """Release memory and temporary files; closing again does nothing."""
        ...

    def __enter__(self) -> Self:
        """Return the engine itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the engine."""
        ...
