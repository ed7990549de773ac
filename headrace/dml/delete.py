"""Delete rows by a condition: drop a file whose bounds prove that all rows match, rewrite others."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import BooleanExpression
from pyiceberg.table.refs import MAIN_BRANCH

from headrace.dml.condition import Condition
from headrace.dml.copy_on_write import rewrite, until_it_lands, wanted_columns
from headrace.dml.live_rows import live_rows
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Commit, Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.version import FileEntry, TableVersion


@dataclass(frozen=True, kw_only=True)
class DeletePlan:
    """What metadata alone decides: files to drop whole, and files that must be read."""

    table: TableName
    snapshot_id: int | None
    whole: tuple[FileEntry, ...]
    unsure: tuple[FileEntry, ...]
    files_untouched: int


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """What would be deleted from one snapshot, counted; empty if no row matches."""

    table: TableName
    snapshot_id: int | None
    dropped: tuple[FileEntry, ...]
    rewritten: tuple[FileEntry, ...]
    files_read: int  # read in the columns of the condition
    files_untouched: int
    rows: int

    def __bool__(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """What a deletion did; no commit when no row matched."""

    table: TableName
    commit: Commit | None
    rows: int
    files_dropped: int
    files_rewritten: int
    tries: int


def delete_where(
    table: LakeTable,
    condition: str | BooleanExpression,
    *,
    provenance: Provenance,
    branch: str = MAIN_BRANCH,
) -> Deleted:
    """Delete the rows for which `condition` is true; where it is null they stay, as in SQL.

    `condition` is a text like `user_id = 7 and name is not null`, or pyiceberg's expression of
    column names and values. Rows appended concurrently are not deleted. Older snapshots keep the
    deleted rows until they expire; their files stay until clean-up.

    Raises:
        CommitConflictError: If other commits rewrote the files at every attempt; nothing was
            changed.
        ConditionError: If the condition cannot be parsed or does not fit the table.
        CorruptFileError: If a file cannot be read; nothing was changed.
        SnapshotNotFoundError: If there is no such branch.

    """

    def attempt(number: int) -> Deleted:
        version = table.head(branch)
        checked = Condition(
            condition, version.metadata, table=str(table.name), inspector=version.inspector
        )
        found = count_deletion(version, plan_delete(version, checked), checked)
        commit = (
            apply_delete(table, version, found, checked, provenance=provenance, branch=branch)
            if found
            else None
        )
        return Deleted(
            table=table.name,
            commit=commit,
            rows=found.rows,
            files_dropped=len(found.dropped),
            files_rewritten=len(found.rewritten),
            tries=number,
        )

    return until_it_lands(table, attempt)


def plan_delete(version: TableVersion, condition: Condition) -> DeletePlan:
    """Classify the files by their bounds and partitions. Reads manifests, rarely footers."""
    whole: list[FileEntry] = []
    unsure: list[FileEntry] = []
    for entry in version.files_in(condition.may_list):
        if not entry.rows or not condition.may_match(entry.data_file):
            continue
        # only reading the file tells how many of its rows are live
        proven = not entry.deletes and condition.must_match(entry.data_file)
        (whole if proven else unsure).append(entry)
    version.inspector.write()
    known = version.summary.get("total-data-files")
    total = len(version.files()) if known is None else int(known)
    return DeletePlan(
        table=version.name,
        snapshot_id=version.snapshot_id,
        whole=tuple(whole),
        unsure=tuple(unsure),
        files_untouched=total - len(whole) - len(unsure),
    )


def count_deletion(version: TableVersion, plan: DeletePlan, condition: Condition) -> Deletion:
    """Read the condition's columns of the files that metadata cannot decide; count matches."""
    dropped, rewritten, rows = list(plan.whole), list[FileEntry](), sum(e.rows for e in plan.whole)
    wanted = wanted_columns(version, condition.columns)
    for entry in plan.unsure:
        alive = matching = 0
        for batch in live_rows(version, entry, wanted):
            alive += batch.num_rows
            matching += condition.matches(batch).true_count
        rows += matching
        if matching:
            (dropped if matching == alive else rewritten).append(entry)
    return Deletion(
        table=plan.table,
        snapshot_id=plan.snapshot_id,
        dropped=tuple(dropped),
        rewritten=tuple(rewritten),
        files_read=len(plan.unsure),
        files_untouched=plan.files_untouched
        + len(plan.whole)
        + len(plan.unsure)
        - len(dropped)
        - len(rewritten),
        rows=rows,
    )


def apply_delete(
    table: LakeTable,
    version: TableVersion,
    deletion: Deletion,
    condition: Condition,
    *,
    provenance: Provenance,
    branch: str = MAIN_BRANCH,
) -> Commit:
    """Delete the rows counted in a version; rows appended since then stay.

    Raises:
        CommitConflictError: If one of the files was rewritten since; nothing was changed.

    """
    everything, dropped = wanted_columns(version), frozenset(deletion.dropped)

    def kept_rows(entry: FileEntry) -> Iterator[pa.RecordBatch]:
        if entry in dropped:
            return
        for batch in live_rows(version, entry, everything):
            yield batch.filter(pc.invert(condition.matches(batch)))

    return rewrite(
        table,
        version,
        files=(*deletion.dropped, *deletion.rewritten),
        kept_rows=kept_rows,
        provenance=provenance,
        branch=branch,
    )
