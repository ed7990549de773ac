"""Errors of reading and changing tables."""

import datetime as dt

from headrace.errors.base import NOTHING_CHANGED, NOTHING_COMMITTED, RUN_AGAIN, LakeError
from headrace.errors.known import said_of
from headrace.errors.reasons import (
    ColumnReason,
    ConditionReason,
    ConflictReason,
    MergeKeyReason,
    UnsupportedReason,
)
from headrace.errors.remedy import Remedy


class TableNotFoundError(LakeError):
    """The catalog has no such table."""

    def __init__(self, name: str, *, known: tuple[str, ...] = ()) -> None:
        self.name, self.known = name, known
        said = said_of(name, known, title="tables of this lake")
        super().__init__(f"there is no table `{name}`; {said}")


class SnapshotNotFoundError(LakeError):
    """The table has no such snapshot, tag or branch."""

    def __init__(self, table: str, wanted: str) -> None:
        self.table, self.wanted = table, wanted
        super().__init__(
            f"`{table}` has no {wanted}; it may have expired",
            remedy=Remedy.run_on_catalog("tables", "show", table, advice="see which there are"),
        )


class TimeGapError(SnapshotNotFoundError):
    """It is unknown which snapshot the table showed at a time: some of that time have expired.

    `before` and `after` are the ids and times, in epoch milliseconds, of the snapshots that are known
    to have been current before and after; `after` is None if none is.
    """

    def __init__(
        self,
        table: str,
        *,
        at_ms: int,
        before: tuple[int, int],
        after: tuple[int, int] | None,
    ) -> None:
        self.at_ms, self.before, self.after = at_ms, before, after
        then = "the table has no later one"
        if after is not None:
            then = f"the next that is known is {after[0]}, from {_utc(after[1])} on"
        super().__init__(
            table,
            f"snapshot that is known to be of {_utc(at_ms)}: snapshot {before[0]} became current at "
            f"{_utc(before[1])}, {then}, and others may have been current in between",
        )


class CommitConflictError(LakeError):
    """Another commit removed a file or partition this commit builds on.

    `path` names the file that is in the way and `ref` the branch or tag, where it is one.
    """

    retryable = True

    def __init__(
        self,
        table: str,
        detail: str,
        *,
        reason: ConflictReason,
        path: str | None = None,
        ref: str | None = None,
        remedy: Remedy | None = RUN_AGAIN,
    ) -> None:
        self.table, self.detail, self.reason, self.path, self.ref = table, detail, reason, path, ref
        super().__init__(
            f"commit to `{table}` refused: {detail}", state=NOTHING_CHANGED, remedy=remedy
        )


class WriteLapsedError(CommitConflictError):
    """The writer of a file was silent for so long that clean-up may have taken it for dead."""

    def __init__(self, table: str, write_id: str) -> None:
        self.write_id = write_id
        super().__init__(
            table,
            f"the lease of its write `{write_id}` lapsed before the commit, as of a host that was "
            "suspended or cut off: clean-up may take its files",
            reason=ConflictReason.WRITE_LAPSED,
        )


class FencedError(LakeError):
    """Another writer of the same stream has committed further than this one believes."""

    def __init__(self, table: str, *, expected: str, found: str) -> None:
        self.table, self.expected, self.found = table, expected, found
        super().__init__(
            f"another writer advanced `{table}`: offsets are {found}, this writer expected "
            f"{expected}",
            state=NOTHING_COMMITTED,
            remedy=Remedy(
                advice="leave it to the other writer, or end that one and start again to resume "
                "from the table"
            ),
        )


class CommitOutcomeUnknownError(LakeError):
    """The catalog did not say whether the commit landed, and could not be asked."""

    retryable = True

    def __init__(self, table: str, snapshot_id: int) -> None:
        self.table, self.snapshot_id = table, snapshot_id
        super().__init__(
            f"it is unknown whether snapshot {snapshot_id} of `{table}` was committed",
            state="its files are kept",
            remedy=Remedy(advice="run the same command again: it looks for that snapshot first"),
        )


class CatalogBusyError(LakeError):
    """The catalog stayed locked longer than the retry budget."""

    retryable = True

    def __init__(self, table: str, *, attempts: int) -> None:
        self.table, self.attempts = table, attempts
        super().__init__(
            f"the catalog was busy through {attempts} attempts to commit to `{table}`",
            state=NOTHING_CHANGED,
            remedy=RUN_AGAIN,
        )


class UnsupportedTableError(LakeError):
    """The table uses a feature of the format that this operation does not handle.

    `path` names the file that has it, and `column` the column, where it is one.
    """

    def __init__(
        self,
        table: str,
        detail: str,
        *,
        reason: UnsupportedReason,
        path: str | None = None,
        column: str | None = None,
        remedy: Remedy | None = None,
    ) -> None:
        self.table, self.detail, self.reason = table, detail, reason
        self.path, self.column = path, column
        super().__init__(
            f"`{table}` is not supported here: {detail}", state=NOTHING_CHANGED, remedy=remedy
        )


class AlterRefusedError(LakeError):
    """A change of columns or partitioning would lose or misread rows, or does not fit the table.

    `column` names the column that stays as it is; None if the change is not about one.
    """

    def __init__(
        self,
        table: str,
        detail: str,
        *,
        reason: ColumnReason,
        column: str | None = None,
        remedy: Remedy | None = None,
    ) -> None:
        self.table, self.detail, self.reason, self.column = table, detail, reason, column
        super().__init__(
            f"`{table}` cannot be altered: {detail}", state=NOTHING_CHANGED, remedy=remedy
        )


class MergeKeyError(LakeError, ValueError):
    """Rows cannot be matched with those of the table by the key that was given.

    `column` names the column that is no key; None if it is not one column.
    """

    def __init__(
        self,
        table: str,
        detail: str,
        *,
        reason: MergeKeyReason,
        column: str | None = None,
        remedy: Remedy | None = None,
    ) -> None:
        self.table, self.detail, self.reason, self.column = table, detail, reason, column
        super().__init__(
            f"rows cannot be merged into `{table}`: {detail}", state=NOTHING_CHANGED, remedy=remedy
        )


class DuplicateKeyError(MergeKeyError):
    """Several of the rows to merge have the same key, so which of them to keep is undefined."""

    def __init__(self, table: str, *, example: str, keys: int) -> None:
        self.example, self.keys = example, keys
        super().__init__(
            table,
            f"{keys} keys occur more than once, for example {example}",
            reason=MergeKeyReason.DUPLICATE_ROWS,
            remedy=Remedy(advice="keep one row of each key"),
        )


class ConditionError(LakeError, ValueError):
    """A condition on rows cannot be read, or does not fit the table.

    `column` names the column that the condition does not fit; None if it cannot be read.
    """

    def __init__(
        self,
        table: str,
        detail: str,
        *,
        reason: ConditionReason,
        column: str | None = None,
        remedy: Remedy | None = None,
    ) -> None:
        self.table, self.detail, self.reason, self.column = table, detail, reason, column
        super().__init__(
            f"the condition on rows of `{table}` cannot be used: {detail}", remedy=remedy
        )


class OffsetsUnknownError(LakeError):
    """It is unknown which source offsets belong to the rows of a snapshot.

    `table_property` names the table property that holds the offsets, where it is known which.
    """

    def __init__(self, table: str, detail: str, *, table_property: str | None = None) -> None:
        self.table, self.detail, self.table_property = table, detail, table_property
        super().__init__(
            f"`{table}` cannot be moved to another snapshot: {detail}, and offsets that do not match "
            "the rows would lose or repeat records",
            state=NOTHING_CHANGED,
            remedy=Remedy(
                advice="read that snapshot under a tag, or write its rows to another table"
            ),
        )


class CatalogUnavailableError(LakeError):
    """A catalog of another program cannot be reached or refuses."""

    retryable = True

    def __init__(self, catalog: str, detail: str) -> None:
        self.catalog, self.detail = catalog, detail
        super().__init__(
            f"the catalog `{catalog}` cannot be used now: {detail}",
            state="what was committed before is intact",
            remedy=Remedy(
                advice="check that it runs and accepts your credentials, then run the same command "
                "again"
            ),
        )


def _utc(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
