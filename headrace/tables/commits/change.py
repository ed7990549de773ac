"""The parts of a commit: its provenance, its change, and its result."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation

from headrace.definitions.properties import CODE, INPUTS, RUN_ID
from headrace.iceberg.partitions import PartitionKey
from headrace.identifiers import TableName
from headrace.tables.evolution.plan import AlterPlan


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The inputs, code and run that a commit was computed from; kept in summary and registry."""

    inputs: Mapping[str, int] = field(default_factory=dict)
    code: str = ""
    run_id: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, str]:
        """The summary entries of this provenance."""
        entries = dict(self.notes)
        if self.inputs:
            entries[INPUTS] = json.dumps(dict(self.inputs), sort_keys=True)
        if self.code:
            entries[CODE] = self.code
        if self.run_id:
            entries[RUN_ID] = self.run_id
        return entries


@dataclass(frozen=True, kw_only=True)
class Fence:
    """Source offsets committed with the data: the next offset to read, per source.

    The commit lands only if the table property `key` still holds `expected`.
    """

    key: str
    expected: Mapping[str, int]
    offsets: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Commit:
    """What one commit changed."""

    table: TableName
    snapshot_id: int
    parent_id: int | None
    operation: str
    files_added: int
    files_removed: int
    rows_added: int
    rows_removed: int
    bytes_added: int
    bytes_removed: int
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Change:
    """A commit, independent of the table state that it will be applied to.

    Args:
        is_removed: Selects the live data and delete files to remove.
        touched: Partitions of spec `spec_id` that hold what `is_removed` selects, besides files of
            other specs; None if any partition may.
        removed_paths: Files that must still be live when the commit lands.
        base_snapshot_id: The snapshot the change was computed from. If given, the commit is refused
            when rows it read were deleted since, or when files that `may_conflict` were added. With
            `may_conflict`, None means a table without commits.
        may_conflict: Whether a data file added since the base may hold rows the change should have
            seen; other files do not conflict.
        guard: Called with the base table of each attempt; raises to refuse the commit.
        properties: Set with the rows; None removes one.
        alter: Columns committed with the rows; refused if they were changed concurrently.
        entries_max: If given, only the manifests are rewritten, with at most this many entries each.

    """

    operation: Operation
    provenance: Provenance
    added: tuple[DataFile, ...] = ()
    is_removed: Callable[[DataFile], bool] | None = None
    touched: frozenset[PartitionKey] | None = None
    spec_id: int | None = None
    removed_paths: frozenset[str] = frozenset()
    base_snapshot_id: int | None = None
    may_conflict: Callable[[DataFile], bool] | None = None
    fence: Fence | None = None
    properties: Mapping[str, str | None] = field(default_factory=dict)
    entries_max: int | None = None
    branch: str = MAIN_BRANCH
    guard: Callable[[Table], None] | None = None
    alter: AlterPlan | None = None
