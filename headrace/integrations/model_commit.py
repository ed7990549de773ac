"""From a model's compiled SQL to one commit of its Iceberg table."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from headrace.dml.merge import NewRows, merge_into
from headrace.errors import CommitConflictError, ModelRowsError, StorageError
from headrace.iceberg.partitions import Term
from headrace.identifiers import TableName, quote
from headrace.integrations.model_columns import plan_columns
from headrace.integrations.model_engine import ModelEngine, duplicate_key
from headrace.integrations.model_request import ModelRequest
from headrace.integrations.model_rows import checked_rows
from headrace.integrations.model_sources import model_sources
from headrace.integrations.rebuild import RebuildPlan, only_after
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Commit, Provenance
from headrace.tables.commits.planned import PlannedTable, stage_table
from headrace.tables.lake import LakeTable, OpenLake
from headrace.tables.writer import TableWriter

BUILD_TRIES_MAX = 4
_BACKOFF_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one build of a model did; `code` is one word for programs."""

    code: str
    message: str
    rows: int
    snapshot_id: int | None


@dataclass(frozen=True, kw_only=True)
class ModelBuild:
    """One model to build: its request, its plan, its SQL, and the engine that runs it.

    Only this build uses `engine`.
    """

    lake: OpenLake
    engine: ModelEngine
    request: ModelRequest
    plan: RebuildPlan
    sql: str
    run_id: str

    def apply(self) -> Outcome:
        """Run the SQL and commit its rows in one snapshot; nothing is committed for plan `none`.

        Rows are written before the table is created or altered: if anything fails, the table does
        not exist or keeps its columns.

        Raises:
            CommitConflictError: If another run built the table, or changed its columns, since the
                plan was made; nothing was changed.
            ContractError: If the rows do not fit the table.
            ModelColumnsError: If the columns differ and `on_schema_change` is `fail`.
            ModelRowsError: If the rows are not those that were asked for.
            ModelTypeError: If a column has a type that tables cannot keep.
            ModelValueError: If a value is one that tables cannot keep.

        """
        if self.plan.mode == "none":
            return self._unchanged(self.plan.reason)
        self._refuse_other_inputs()
        rows_sql = self._rows_sql
        if self._merges:
            rows_sql = self._kept_rows(rows_sql)
        wanted = self.engine.columns(rows_sql, self.request)
        table, names = self._planned(wanted)
        batches = checked_rows(
            self._ordered(table, rows_sql, names=wanted.names),
            wanted=wanted,
            names=names,
            table=str(self.request.target),
        )
        if self._merges and self.plan.mode == "rows":
            return self._commit_merge(table, batches)
        with TableWriter(table) as writer:
            for batch in batches:
                writer.write(batch)
        try:
            return self._commit(table, writer.files)
        except (CommitConflictError, ModelRowsError, StorageError):
            writer.discard()
            raise

    def check(self, *, why: str) -> Outcome:
        """Type the model's columns and commit nothing, `why` naming what keeps it from reading all.

        Raises:
            ModelTypeError: If a column has a type that tables cannot keep.

        """
        self.columns()
        message = f"checked, nothing committed ({why})"
        return Outcome(code="checked", message=message, rows=0, snapshot_id=None)

    def columns(self) -> pa.Schema:
        """Return the model's columns, with their table types.

        Raises:
            ModelTypeError: If a column has a type that tables cannot keep.

        """
        return self.engine.columns(self._rows_sql, self.request)

    @property
    def _rows_sql(self) -> str:
        return f"select * from (\n{self.sql.rstrip().rstrip(';')}\n) as model"

    @property
    def _merges(self) -> bool:
        return self.request.strategy == "merge"

    @property
    def _provenance(self) -> Provenance:
        return Provenance(
            inputs=self.plan.inputs, code=self.request.code, run_id=self.run_id, notes={}
        )

    @property
    def _properties(self) -> Mapping[str, str]:
        names = [TableName.parse(name) for name in self.plan.inputs]
        read = {name: self.lake.table(name).head().schema.names for name in names}
        traced = model_sources(self.sql, read, dialect=self.lake.settings.engine)
        return {**self.request.properties, **traced}

    def _refuse_other_inputs(self) -> None:
        """Refuse SQL that reads undeclared tables: their changes would go unnoticed."""
        known = {*self.request.inputs, self.request.target}
        for name in sorted(self.engine.tables_named(self.sql) - known):
            if self.lake.exists(name):
                raise ModelRowsError(
                    str(self.request.target),
                    f"it reads `{name}` by name; write `{{{{ ref('…') }}}}` or "
                    "`{{ source('…', '…') }}`, so that a change of it is noticed",
                )

    def _planned(self, wanted: pa.Schema) -> tuple[LakeTable, Sequence[str]]:
        """Return the table as the commit will create it, and the columns of the rows."""
        target, request = self.request.target, self.request
        if not self.lake.exists(target):
            staged = stage_table(
                self.lake,
                target,
                wanted,
                partition_by=request.partition_by,
                properties=self._properties,
            )
            return staged, wanted.names
        current = self.lake.table(target)
        all_rows = self.plan.mode == "all"
        columns = plan_columns(current.iceberg(), wanted, request=request, all_rows=all_rows)
        planned = PlannedTable(self.lake, target, plan=columns.alter, properties=self._properties)
        return planned, columns.names

    def _commit(self, table: LakeTable, files: tuple[DataFile, ...]) -> Outcome:
        guard = only_after(table, base=self.plan.base)
        if self.plan.mode == "all":
            done = operations.overwrite(table, files, provenance=self._provenance, guard=guard)
            return self._done("replaced", done, f"all ({self.plan.reason})")
        if self.plan.mode == "days":
            return self._commit_days(table, files, guard=guard)
        if not files:
            return self._unchanged("no new rows")
        done = operations.append(table, files, provenance=self._provenance, guard=guard)
        return self._done("appended", done, "")

    def _commit_days(
        self, table: LakeTable, files: tuple[DataFile, ...], *, guard: Callable[[Table], None]
    ) -> Outcome:
        wanted = {(day,) for day in self.plan.days}
        try:
            done = operations.overwrite_partitions(
                table, files, partitions=wanted, provenance=self._provenance, guard=guard
            )
        except ValueError as error:
            raise ModelRowsError(
                str(table.name),
                "it gave rows of days that are not being rebuilt; "
                "end it with `where {{ headrace.write_range('<partition column>') }}`",
            ) from error
        return self._done("overwritten", done, f"{len(wanted)} days ({self.plan.reason})")

    def _commit_merge(self, table: LakeTable, batches: Iterable[pa.RecordBatch]) -> Outcome:
        new = list(batches)
        rows = sum(batch.num_rows for batch in new)
        if not rows:
            return self._unchanged("no new rows")
        version = table.head()
        done = merge_into(
            table,
            version,
            NewRows.of(pa.Table.from_batches(new), version, key=self.request.unique_key),
            provenance=self._provenance,
            guard=only_after(table, base=self.plan.base),
        )
        if done.commit is None:
            return self._unchanged("the table has these rows already")
        detail = f"{done.rows_replaced:,} rows replaced, {done.rows_inserted:,} new"
        return Outcome(
            code="merged",
            message=f"merged {detail}, {done.files_rewritten:,} files rewritten",
            rows=rows,
            snapshot_id=done.commit.snapshot_id,
        )

    def _kept_rows(self, rows_sql: str) -> str:
        """Compute the rows once, and refuse duplicate keys: the result would be ambiguous."""
        rows_sql = self.engine.kept(rows_sql)
        twice = duplicate_key(self.engine, rows_sql, keys=self.request.unique_key)
        if twice is not None:
            found = ", ".join(
                f"{k}={v!r}" for k, v in zip(self.request.unique_key, twice, strict=True)
            )
            raise ModelRowsError(
                str(self.request.target),
                f"several rows have the unique_key {found}; keep one of them in the model",
            )
        return rows_sql

    def _ordered(
        self, table: LakeTable, rows_sql: str, *, names: Sequence[str]
    ) -> pa.RecordBatchReader:
        columns = ", ".join(quote(name) for name in names)
        order = [*_partition_sql(table.terms()), *(quote(name) for name in self.request.sort_by)]
        ordered = f" order by {', '.join(order)}" if order else ""
        rows_sql = f"select {columns} from ({rows_sql}) as rows{ordered}"
        return self.engine.query(rows_sql)

    def _done(self, code: str, done: Commit, what: str) -> Outcome:
        rows = f"{done.rows_added:,} rows"
        return Outcome(
            code=code,
            message=" ".join(part for part in (code, what, rows) if part),
            rows=done.rows_added,
            snapshot_id=done.snapshot_id,
        )

    def _unchanged(self, reason: str) -> Outcome:
        return Outcome(code="unchanged", message=f"unchanged ({reason})", rows=0, snapshot_id=None)


def build_until_it_lands(first: ModelBuild, *, plan_again: Callable[[], ModelBuild]) -> Outcome:
    """Apply a build; on conflicts plan and retry, the last time under the table's lock.

    The inputs of a run stay pinned: `plan_again` compares them with what the table has been built
    from by then. The last attempt holds the table's lock from planning to commit.

    Raises:
        CommitConflictError: If every attempt conflicted; only a writer without the lock causes that.
        Otherwise as `ModelBuild.apply`.

    """
    build = first
    for number in range(1, BUILD_TRIES_MAX):
        try:
            return build.apply()
        except CommitConflictError:
            time.sleep(random.uniform(0, _BACKOFF_S * 2**number))
        if number + 1 < BUILD_TRIES_MAX:
            build = plan_again()
    with first.lake.locks.hold(first.request.target):
        return plan_again().apply()


def _partition_sql(terms: Sequence[Term]) -> list[str]:
    return [
        f"cast({quote(term.column)} as date)" if term.by_day else quote(term.column)
        for term in terms
    ]
