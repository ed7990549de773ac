"""Merge rows into a table by key: rows with an existing key replace its rows, others are added."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH

from headrace.dml.copy_on_write import rewrite, until_it_lands, wanted_columns
from headrace.dml.live_rows import live_rows
from headrace.errors import DuplicateKeyError, MergeKeyError, MergeKeyReason, Remedy
from headrace.iceberg.keys import NONE, KeyFilter, KeySet
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Commit, Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.version import FileEntry, TableVersion
from headrace.tables.writer import fit


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What a merge did; no commit when the table held exactly these rows already."""

    table: TableName
    commit: Commit | None
    rows_replaced: int  # rows of the table that had one of the keys
    rows_inserted: int  # given rows whose key was new
    files_examined: int  # data files whose keys were read, as their bounds could not decide
    files_rewritten: int
    tries: int = 1


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """Rows to merge, cast to the table's columns, with their keys."""

    rows: pa.Table
    key: tuple[str, ...]
    keys: KeySet
    row_of_key: np.ndarray
    filter: KeyFilter

    @classmethod
    def of(cls, rows: pa.Table, version: TableVersion, *, key: Sequence[str]) -> "NewRows":
        """Fit rows to a table and number their keys.

        Raises:
            ContractError: If a required column is missing or null, a column is unknown, or a value
                does not fit its type.
            DuplicateKeyError: If two rows have the same key.
            MergeKeyError: If a key column is missing or its type has no defined equality.

        """
        table = str(version.name)
        _refuse_bad_key(key, rows.column_names, version)
        wanted = wanted_columns(version)
        fitted = [fit(batch, wanted, table=table) for batch in rows.to_batches()]
        together = pa.Table.from_batches(fitted, wanted).combine_chunks()
        keys = KeySet(_columns(together, key))
        _refuse_duplicates(together, keys, key, table=table)
        return cls(
            rows=together,
            key=tuple(key),
            keys=keys,
            row_of_key=np.argsort(keys.numbers),
            filter=KeyFilter(
                keys, names=key, metadata=version.metadata, inspector=version.inspector
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Which files hold rows of the keys, and how many rows of each key there are."""

    files: tuple[FileEntry, ...]
    examined: int
    rows_per_key: np.ndarray


def merge(
    table: LakeTable,
    rows: pa.Table | pa.RecordBatchReader,
    *,
    key: Sequence[str],
    provenance: Provenance,
    branch: str = MAIN_BRANCH,
    guard: Callable[[Table], None] | None = None,
) -> Merged:
    """Replace the table's rows that have a key of `rows`, and add the rows with new keys.

    The whole row is replaced: an optional column that `rows` does not have becomes null. Null is a
    key like any other. A row whose partition value changes moves to its new partition. Only files
    that hold a matched key are rewritten. Repeating a merge changes nothing and makes no commit.

    Safe beside any other writer: if a concurrent commit adds or removes a row with one of the keys,
    the merge is planned again, so of two merges of the same new key the later one replaces the row.
    A `guard` checks the table that each attempt builds upon, and raises to refuse the commit. `rows`
    and their keys are held in memory; the table's rows are streamed.

    Raises:
        CommitConflictError: If every attempt conflicted with another commit; nothing was changed.
        ContractError: If a row does not fit the table.
        CorruptFileError: If a file cannot be read; nothing was changed.
        DuplicateKeyError: If two rows have the same key.
        MergeKeyError: If a key column does not exist or is of floats, lists or structs.
        SnapshotNotFoundError: If there is no such branch.

    """
    given = rows if isinstance(rows, pa.Table) else rows.read_all()

    def attempt(number: int) -> Merged:
        version = table.head(branch)
        new = NewRows.of(given, version, key=key)
        merged = merge_into(table, version, new, provenance=provenance, branch=branch, guard=guard)
        return dataclasses.replace(merged, tries=number)

    return until_it_lands(table, attempt)


def plan_merge(version: TableVersion, new: NewRows) -> tuple[FileEntry, ...]:
    """List the files that may hold one of the keys, by their bounds and partitions alone."""
    if not new.rows.num_rows:
        return ()
    test = new.filter
    files = version.files_in(test.may_list)
    found = tuple(each for each in files if test.may_hold(each.data_file))
    version.inspector.write()
    return found


def find_matches(version: TableVersion, candidates: Sequence[FileEntry], new: NewRows) -> Matches:
    """Read only the key columns of the candidate files."""
    wanted = wanted_columns(version, new.key)
    per_key = np.zeros(new.keys.count, np.int64)
    files: list[FileEntry] = []
    for entry in candidates:
        before = per_key.sum()
        for batch in live_rows(version, entry, wanted):
            numbers = new.keys.find(batch.columns)
            per_key += np.bincount(numbers[numbers != NONE], minlength=len(per_key))
        if per_key.sum() > before:
            files.append(entry)
    return Matches(files=tuple(files), examined=len(candidates), rows_per_key=per_key)


def merge_into(
    table: LakeTable,
    version: TableVersion,
    new: NewRows,
    *,
    provenance: Provenance,
    branch: str = MAIN_BRANCH,
    guard: Callable[[Table], None] | None = None,
) -> Merged:
    """Merge rows into one version, once.

    Raises:
        CommitConflictError: If a later commit removed, or may have added, a row with one of the
            keys; nothing was changed.

    """
    matches = find_matches(version, plan_merge(version, new), new)
    everything = wanted_columns(version)
    positions = [everything.get_field_index(name) for name in new.key]

    def kept_rows(entry: FileEntry) -> Iterator[pa.RecordBatch]:
        for batch in live_rows(version, entry, everything):
            numbers = new.keys.find([batch.column(position) for position in positions])
            yield batch.filter(pa.array(numbers == NONE))

    commit = None
    if not _is_there(version, matches, new):
        commit = rewrite(
            table,
            version,
            files=matches.files,
            kept_rows=kept_rows,
            new_rows=new.rows,
            provenance=provenance,
            may_conflict=new.filter.may_hold,
            branch=branch,
            guard=guard,
        )
    return Merged(
        table=table.name,
        commit=commit,
        rows_replaced=int(matches.rows_per_key.sum()) if commit else 0,
        rows_inserted=int((matches.rows_per_key == 0).sum()),
        files_examined=matches.examined,
        files_rewritten=commit.files_removed if commit else 0,
    )


def _is_there(version: TableVersion, matches: Matches, new: NewRows) -> bool:
    """Whether the table holds exactly the given rows; reading stops at the first difference."""
    if (matches.rows_per_key != 1).any():
        return False
    everything = wanted_columns(version)
    positions = [everything.get_field_index(name) for name in new.key]
    for entry in matches.files:
        for batch in live_rows(version, entry, everything):
            numbers = new.keys.find([batch.column(position) for position in positions])
            found = np.flatnonzero(numbers != NONE)
            mine = new.rows.take(pa.array(new.row_of_key[numbers[found]]))
            theirs = batch.take(pa.array(found))
            pairs = zip(_columns(mine, mine.column_names), theirs.columns, strict=True)
            if not all(_is_same(one, other) for one, other in pairs):
                return False
    return True


def _is_same(one: pa.Array, other: pa.Array) -> bool:
    """Compare bit by bit: NaN is NaN, and -0.0 is not 0.0."""
    kind = one.type
    if pa.types.is_floating(kind):
        bits = pa.int32() if kind == pa.float32() else pa.int64()
        return one.view(bits).equals(other.view(bits))
    if pa.types.is_list(kind):
        sizes = one.value_lengths().equals(other.value_lengths())  # null where the list is
        return sizes and _is_same(one.flatten(), other.flatten())
    if pa.types.is_struct(kind):
        pairs = zip(one.flatten(), other.flatten(), strict=True)
        return one.is_valid().equals(other.is_valid()) and all(_is_same(*pair) for pair in pairs)
    return one.equals(other)


def _refuse_bad_key(key: Sequence[str], given: Sequence[str], version: TableVersion) -> None:
    table, names = str(version.name), version.schema.names
    if not key or len(set(key)) != len(key):
        raise MergeKeyError(
            table,
            f"the key is ({', '.join(key)})",
            reason=MergeKeyReason.NOT_A_KEY,
            remedy=Remedy(advice="name one column or more, each once"),
        )
    for name in key:
        if name not in names:
            detail = f"it has no key column `{name}`; it has {', '.join(names)}"
            reason = MergeKeyReason.UNKNOWN_COLUMN
            raise MergeKeyError(table, detail, reason=reason, column=name)
        if name not in given:
            detail = f"they have no column `{name}`, which is part of the key"
            reason = MergeKeyReason.COLUMN_NOT_GIVEN
            raise MergeKeyError(table, detail, reason=reason, column=name)
        kind = version.schema.field(name).type
        if pa.types.is_floating(kind) or pa.types.is_nested(kind):
            detail = f"`{name}` is {kind}: its equality is not well defined, so it cannot be a key"
            reason = MergeKeyReason.NO_EQUALITY
            raise MergeKeyError(table, detail, reason=reason, column=name)


def _refuse_duplicates(rows: pa.Table, keys: KeySet, key: Sequence[str], *, table: str) -> None:
    if keys.count == rows.num_rows:
        return
    counts = np.bincount(keys.numbers)
    first = int(np.flatnonzero(counts[keys.numbers] > 1)[0])
    example = ", ".join(f"{name}={rows.column(name)[first].as_py()!r}" for name in key)
    raise DuplicateKeyError(table, example=example, keys=int((counts > 1).sum()))


def _columns(rows: pa.Table, names: Sequence[str]) -> list[pa.Array]:
    # a table without rows has columns without chunks
    return [
        pa.concat_arrays(rows.column(n).chunks or [pa.nulls(0, rows.schema.field(n).type)])
        for n in names
    ]
