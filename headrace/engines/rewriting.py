"""The seam between compaction and engines whose server rewrites data files."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from pyiceberg.manifest import DataFile

from headrace.tables.lake import LakeTable


class FileRewriter(Protocol):
    """Merges data files of a table on an engine's server; nothing is committed."""

    def rewrite(
        self, files: Sequence[DataFile], *, of: LakeTable, target_bytes: int
    ) -> tuple[DataFile, ...]:
        """Write the rows of some files of one partition to files of about `target_bytes`.

        The files must be of the table's current partition spec, intact, and without deleted rows.
        The order of rows is the engine's. The caller commits the new files, or removes them; if
        this raises, it leaves none.

        Raises:
            CommitConflictError: If what the server wrote is not what it answered.
            CorruptFileError: If a file is missing or damaged.
            EngineUnavailableError: If the server ended, or cannot be reached.
            QueryFailedError: If the server refused or failed the statement.
            RewriteRefusedError: If the new files do not hold the rows of the old ones.
            UnsupportedTableError: If the engine would misread the table.

        """
        ...

    def __enter__(self) -> Self:
        """Return the rewriter itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        ...
