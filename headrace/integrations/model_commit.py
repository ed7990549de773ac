"""From a model's compiled SQL to one commit of its Iceberg table."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from pyiceberg.manifest import DataFile

from headrace.engines.merge import merge
from headrace.errors import ModelRowsError
from headrace.identifiers import quote
from headrace.integrations.model_request import ModelRequest
from headrace.integrations.model_types import arrow_schema
from headrace.integrations.rebuild import RebuildPlan
from headrace.tables import commit
from headrace.tables.adopt import fresh
from headrace.tables.commit import Commit, Provenance
from headrace.tables.files import write_batches
from headrace.tables.lake import Lake, LakeTable
from headrace.tables.partitions import Term

_BATCH_ROWS = 65_536
_NEW_ROWS = "headrace_new_rows"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one build of a model did; `code` is one word for machines."""

    code: str
    message: str
    rows: int
    snapshot_id: int | None


@dataclass(frozen=True, kw_only=True)
class ModelBuild:
    """One model about to be built: its request, its plan, its SQL, and where to run it.

    `connection` is this build's own and may be left with temporary tables.
    """

    lake: Lake
    connection: duckdb.DuckDBPyConnection
    request: ModelRequest
    plan: RebuildPlan
    sql: str
    run_id: str

    def apply(self) -> Outcome:
        """Run the SQL and commit its rows in one snapshot; nothing is committed for plan `none`.

        Raises:
            ContractError: If the rows do not fit the table.
            ModelRowsError: If the rows are not those that were asked for.
            ModelTypeError: If a column has a type that tables cannot keep.

        """
        if self.plan.mode == "none":
            return self._unchanged(self.plan.reason)
        rows_sql = f"select * from (\n{self.sql.rstrip().rstrip(';')}\n) as model"
        if self._merges:
            rows_sql = self._kept_rows(rows_sql)
        rows = self.connection.sql(rows_sql)
        schema = arrow_schema(rows.columns, rows.types, self.request)
        table = self.lake.create(
            self.request.target,
            schema,
            partition_by=self.request.partition_by,
            properties=self.request.properties,
        )
        if self.plan.mode == "all":
            return self._commit_all(table, rows_sql)
        if self.plan.mode == "days":
            return self._commit_days(table, rows_sql)
        if self.request.strategy == "append":
            return self._commit_append(table, rows_sql)
        return self._commit_merge(table)

    @property
    def _merges(self) -> bool:
        return self.request.strategy == "merge"

    @property
    def _provenance(self) -> Provenance:
        return Provenance(
            inputs=self.plan.inputs, code=self.request.code, run_id=self.run_id, notes={}
        )

    def _commit_all(self, table: LakeTable, rows_sql: str) -> Outcome:
        files = self._write(table, rows_sql)
        with fresh(table, files):
            done = commit.overwrite(table, files, provenance=self._provenance)
        return self._done("replaced", done, f"all ({self.plan.reason})")

    def _commit_days(self, table: LakeTable, rows_sql: str) -> Outcome:
        files = self._write(table, rows_sql)
        wanted = {(day,) for day in self.plan.days}
        try:
            with fresh(table, files):
                done = commit.overwrite_partitions(
                    table, files, partitions=wanted, provenance=self._provenance
                )
        except ValueError as error:
            raise ModelRowsError(
                str(table.name),
                "it gave rows of days that are not being rebuilt; "
                "end it with `where {{ headrace.write_range('<partition column>') }}`",
            ) from error
        return self._done("overwritten", done, f"{len(wanted)} days ({self.plan.reason})")

    def _commit_append(self, table: LakeTable, rows_sql: str) -> Outcome:
        files = self._write(table, rows_sql)
        if not files:
            return self._unchanged("no new rows")
        with fresh(table, files):
            done = commit.append(table, files, provenance=self._provenance)
        return self._done("appended", done, "")

    def _commit_merge(self, table: LakeTable) -> Outcome:
        rows = self._scalar(f"select count(*) from {_NEW_ROWS}")
        if not rows:
            return self._unchanged("no new rows")
        done = merge(
            table,
            self._ordered(table, f"select * from {_NEW_ROWS}"),
            key=self.request.unique_key,
            provenance=self._provenance,
        )
        if done.commit is None:
            return self._unchanged("the table has these rows already")
        detail = f"{done.rows_replaced:,} rows replaced, {done.rows_inserted:,} new"
        return Outcome(
            code="merged",
            message=f"merged {detail}, {done.files_rewritten:,} files written anew",
            rows=rows,
            snapshot_id=done.commit.snapshot_id,
        )

    def _kept_rows(self, rows_sql: str) -> str:
        """Compute the rows once, and refuse two of one key: which would win?"""
        self.connection.execute(f"create or replace temp table {_NEW_ROWS} as {rows_sql}")
        keys = ", ".join(quote(key) for key in self.request.unique_key)
        twice = self.connection.sql(
            f"select {keys} from {_NEW_ROWS} group by {keys} having count(*) > 1 "
            f"order by {keys} limit 1"
        ).fetchone()
        if twice is not None:
            found = ", ".join(
                f"{k}={v!r}" for k, v in zip(self.request.unique_key, twice, strict=True)
            )
            raise ModelRowsError(
                str(self.request.target),
                f"several rows have the unique_key {found}; keep one of them in the model",
            )
        return f"select * from {_NEW_ROWS}"

    def _write(self, table: LakeTable, rows_sql: str) -> tuple[DataFile, ...]:
        return write_batches(table, self._ordered(table, rows_sql))

    def _ordered(self, table: LakeTable, rows_sql: str) -> pa.RecordBatchReader:
        order = [*_partition_sql(table.terms()), *(quote(name) for name in self.request.sort_by)]
        if order:
            rows_sql = f"select * from ({rows_sql}) as rows order by {', '.join(order)}"
        return self.connection.sql(rows_sql).to_arrow_reader(_BATCH_ROWS)

    def _scalar(self, sql: str) -> int:
        row = self.connection.sql(sql).fetchone()
        return int(row[0]) if row else 0

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


def _partition_sql(terms: Sequence[Term]) -> list[str]:
    return [
        f"cast({quote(term.column)} as date)" if term.by_day else quote(term.column)
        for term in terms
    ]
