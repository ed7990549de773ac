"""What a dbt seed commits: its rows in place of those before, or a revision of each row that changed.

`meta.headrace_table.event_time` says when rows hold, with the words of a stream's contract. Without it the
table is what the file says now. `{constant: TIME}` is for rows that never change: all are known since then.
`ingested` keeps what was: a new or changed row holds from when it was seeded, and a key that the file lacks
gets a row of nulls, as in whole snapshots of a stream.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from headrace.definitions.properties import FEATURE_VIEW_PROPERTY
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, REMOVED
from headrace.definitions.stream_times import INGESTED, EventTime, FixedTime
from headrace.definitions.types import TIMESTAMP, FieldType
from headrace.errors import DefinitionError, ModelRowsError
from headrace.identifiers import TableName
from headrace.integrations.model_commit import ModelBuild
from headrace.integrations.model_request import ColumnRule, ModelRequest
from headrace.integrations.rebuild import plan_rebuild
from headrace.integrations.seed_rows import read_file, rows_of
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

_TIMES: TypeAdapter[str | FixedTime] = TypeAdapter(EventTime)


@dataclass(frozen=True, kw_only=True)
class Seed:
    """One seed: its rows as the file has them, and what its YAML says of times and keys."""

    request: ModelRequest
    rows: pa.Table
    times: str | FixedTime | None
    key: tuple[str, ...]

    @classmethod
    def of(cls, sent: Mapping[str, Any]) -> Self:
        """Read what the materialization sent, and the file.

        Raises:
            DefinitionError: Naming the seed, the key, and what is allowed.
            ModelRowsError: If the file cannot be read by it.

        """
        name, times = str(sent["model"]), _times(sent)
        content = read_file(Path(sent["path"]), seed=name)
        how = json.dumps([sent["delimiter"], sent["column_types"], str(times)], sort_keys=True)
        strategy = "append" if times == INGESTED else "table"
        request = ModelRequest.of(
            {**sent, "strategy": strategy}, rendered=[hashlib.sha256(content).hexdigest(), how]
        )
        # rows that were there are not in the file any more, and cannot be computed again
        request = replace(
            request,
            keeps_history=times == INGESTED,
            full_refresh=request.full_refresh and not times,
        )
        rules = {**_column_types(sent, name), **request.columns}
        rows = rows_of(content, seed=name, delimiter=str(sent["delimiter"]), rules=rules)
        view = sent["feature_view"] or {}
        key = request.unique_key or tuple(view.get("entity", ()))
        found = cls(request=request, rows=rows, times=times, key=key)
        found._refuse_times(name)
        return found

    def _refuse_times(self, name: str) -> None:
        has = {EVENT_TIME, KNOWN_AT, REMOVED} & set(self.rows.column_names)
        problem = ""
        if self.times is not None and has:
            problem = f"its file has `{min(has)}`; leave `event_time` out, or rename the column"
        elif self.times == INGESTED and not set(self.key) <= set(self.rows.column_names):
            problem = f"its file has no column `{min(set(self.key) - set(self.rows.column_names))}`"
        elif self.times == INGESTED and not self.key:
            problem = "`event_time: ingested` needs a `unique_key`, or the `entity` of its view"
        elif self.times is None and self._is_view and not {EVENT_TIME, KNOWN_AT} <= has:
            problem = (
                "rows of a feature view need times: declare `event_time: ingested` or `{constant: "
                "2026-01-01T00:00:00Z}` in `meta.headrace_table`, or columns `event_time` and "
                "`known_at` in its file"
            )
        if problem:
            raise DefinitionError((f"seed `{name}`: {problem}",))

    @property
    def _is_view(self) -> bool:
        return FEATURE_VIEW_PROPERTY in self.request.properties

    def build(self, lake: OpenLake, *, run_id: str) -> ModelBuild:
        """Plan from the newest version of the table, and compute the rows to commit.

        Raises:
            ModelRowsError: If the table holds what a stream has ingested, or rows share a key.

        """
        target = self.request.target
        own = lake.head_of(target)
        plan, rows = plan_rebuild(lake, self.request, pinned={}, own=own), self.rows
        # a table that is replaced has the columns of the file, and no others
        request = replace(self.request, full_refresh=self.times != INGESTED)
        if isinstance(self.times, FixedTime):
            rows = _at(rows, self.times.constant)
        elif self.times == INGESTED:
            rows = self._revisions(own, at=lake.now())
            if own is not None and own.snapshot_id is not None:
                mode = "rows" if rows.num_rows else "none"
                plan = replace(plan, mode=mode, reason="no row changed")
        return ModelBuild(
            lake=lake, engine=_Given(rows), request=request, plan=plan, sql="", run_id=run_id
        )

    def _revisions(self, own: TableVersion | None, *, at: datetime) -> pa.Table:
        """Return the rows that are new or changed since the newest version, and the removals."""
        names, given = self.rows.column_names, self.rows.to_pylist()
        newest = _newest(own, self.key)
        by_key = {tuple(row[name] for name in self.key): row for row in given}
        if len(by_key) < len(given) or any(None in key for key in by_key):
            detail = f"rows have equal or empty values of its key {', '.join(self.key)}"
            raise ModelRowsError(str(self.request.target), detail)
        changed = [
            {**row, REMOVED: False}
            for key, row in by_key.items()
            if key not in newest
            or newest[key][REMOVED]
            or any(newest[key].get(name) != row[name] for name in names)
        ]
        gone = [
            {**dict(zip(self.key, key, strict=True)), REMOVED: True}
            for key, row in newest.items()
            if key not in by_key and not row[REMOVED]
        ]
        fields = [each.with_nullable(each.name not in self.key) for each in self.rows.schema]
        schema = pa.schema([*fields, pa.field(REMOVED, pa.bool_())])
        return _at(pa.Table.from_pylist([*changed, *gone], schema=schema), at)


class _Given:
    """The engine of a build whose rows are there already."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows

    def columns(self, sql: str, request: ModelRequest) -> pa.Schema:
        """Return the columns of the rows."""
        _ = sql, request
        return self._rows.schema

    def tables_named(self, sql: str) -> frozenset[TableName]:
        """Return none: a file reads no table."""
        _ = sql
        return frozenset()

    def kept(self, sql: str) -> str:
        """Return the same SQL."""
        return sql

    def query(self, sql: str) -> pa.RecordBatchReader:
        """Return the rows, whatever is asked."""
        _ = sql
        return self._rows.to_reader()


def _newest(own: TableVersion | None, key: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = [] if own is None else own.to_arrow().to_pylist()
    rows.sort(key=lambda row: (row[EVENT_TIME], row[KNOWN_AT]))
    return {tuple(row[name] for name in key): row for row in rows}


def _at(rows: pa.Table, time: datetime) -> pa.Table:
    times = pa.repeat(pa.scalar(time.astimezone(UTC), TIMESTAMP), rows.num_rows)
    for name in (EVENT_TIME, KNOWN_AT):
        rows = rows.append_column(pa.field(name, TIMESTAMP, nullable=False), times)
    return rows


def _times(sent: Mapping[str, Any]) -> str | FixedTime | None:
    said = sent["event_time"]
    if said is None:
        return None
    try:
        found = _TIMES.validate_python(said)
    except ValidationError as error:
        detail = error.errors()[0]["msg"]
        raise DefinitionError((f"seed `{sent['model']}`: event_time: {detail}",)) from error
    if found != INGESTED and not isinstance(found, FixedTime):
        detail = f"event_time is `{found}`, but must be `ingested` or `{{constant: TIME}}`"
        raise DefinitionError((f"seed `{sent['model']}`: {detail}",))
    return found


def _column_types(sent: Mapping[str, Any], name: str) -> dict[str, ColumnRule]:
    """Read dbt's `column_types`, with the names of types that contracts have."""
    found: dict[str, ColumnRule] = {}
    for column, text in sent["column_types"].items():
        try:
            found[column] = ColumnRule(required=False, declared=FieldType.parse(str(text)))
        except ValueError as error:
            raise DefinitionError((f"seed `{name}`: column_types: {column}: {error}",)) from error
    return found
