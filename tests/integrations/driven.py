"""Models built without dbt, by what the plugin calls: pin, plan, render, commit. Fast, and without a project."""

import datetime as dt
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from headrace.api import Lake
from headrace.engines.duckdb import DuckDBEngine
from headrace.identifiers import TableName
from headrace.integrations.model_commit import ModelBuild, Outcome, build_until_it_lands
from headrace.integrations.model_engine import DuckDBModels
from headrace.integrations.model_request import ColumnRule, ModelRequest
from headrace.integrations.rebuild import RebuildPlan, plan_rebuild
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.writer import write_batches

EVENTS = TableName("raw", "events")
SCHEMA = pa.schema(
    [
        ("seq", pa.int64()),
        ("key", pa.int64()),
        ("n", pa.int64()),
        ("event_time", pa.timestamp("us", tz="UTC")),
    ]
)
BY_DAY = ("day(event_time)",)
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
Sql = Callable[[RebuildPlan], str]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a model's files say; `sql` renders it for a plan."""

    strategy: str
    sql: Sql
    name: str = "out.m"
    unique_key: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    reach_days: int = 0
    columns: Mapping[str, ColumnRule] = field(default_factory=dict)
    on_schema_change: str = ""
    keeps_history: bool = False
    code: str = "r-1"

    @property
    def target(self) -> TableName:
        return TableName.parse(self.name)


class Driven:
    """A lake whose `raw.events` grows, and models that read it."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.engine = DuckDBEngine.open(lake.settings)
        weakref.finalize(self, self.engine.close)
        self.connection = self.engine.connection
        self.connection.execute("create schema raw; create schema out")
        if not lake.exists(EVENTS):
            lake.create(EVENTS, SCHEMA, partition_by=BY_DAY)

    def add(self, *rows: tuple[int, int, int, int]) -> None:
        """Append events (seq, key, n, day)."""
        table = self.lake.table(EVENTS)
        made = [(seq, key, n, START + dt.timedelta(days=day)) for seq, key, n, day in rows]
        data = pa.Table.from_pylist(
            [dict(zip(SCHEMA.names, row, strict=True)) for row in made], schema=SCHEMA
        )
        operations.append(table, write_batches(table, data.to_batches()), provenance=Provenance())

    def pin(self) -> int | None:
        """Pin the events as a run does when it starts."""
        version = self.lake.table(EVENTS).head()
        self._show(EVENTS, version.to_arrow())
        return version.snapshot_id

    def run(
        self,
        model: Model,
        *,
        full_refresh: bool = False,
        pinned: int | None = None,
        before_commit: Callable[[], object] = lambda: None,
        between_view_and_plan: Callable[[], object] = lambda: None,
    ) -> Outcome:
        """Build a model as one run does; `before_commit` happens once, after its plan is made."""
        at = self.pin() if pinned is None else pinned
        request = ModelRequest(
            target=model.target,
            strategy=model.strategy,
            inputs=(EVENTS,),
            unique_key=model.unique_key,
            partition_by=model.partition_by,
            sort_by=(),
            reach_days=model.reach_days,
            columns=model.columns,
            properties={},
            code=model.code,
            full_refresh=full_refresh,
            on_schema_change=model.on_schema_change,
            keeps_history=model.keeps_history,
        )

        def build() -> ModelBuild:
            own = None
            if self.lake.exists(model.target):
                own = self.lake.table(model.target).head()
                self._show(model.target, own.to_arrow())
            between_view_and_plan()
            plan = plan_rebuild(self.lake, request, pinned={EVENTS: at}, own=own)
            return ModelBuild(
                lake=self.lake,
                engine=DuckDBModels(self.engine.session(reads=tuple)),
                request=request,
                plan=plan,
                sql=model.sql(plan),
                run_id="test",
            )

        first = build()
        before_commit()
        return build_until_it_lands(first, plan_again=build)

    def other(self) -> "Driven":
        """Another run beside this one, with views of its own."""
        return Driven(self.lake)

    def rows(self, name: str = "out.m") -> list[tuple[Any, ...]]:
        """Every row of a table, sorted."""
        found = self.lake.table(name).head().to_arrow().to_pylist()
        return sorted((tuple(row.values()) for row in found), key=repr)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What SQL gives on everything there is, sorted."""
        self.pin()
        return sorted(self.connection.sql(sql).fetchall(), key=repr)

    def _show(self, name: TableName, rows: pa.Table) -> None:
        seen = f"seen_{name.namespace}_{name.name}"
        self.connection.register(seen, rows)
        self.connection.execute(f"create or replace table {name.sql} as from {seen}")
        self.connection.unregister(seen)


def in_days(column: str, plan: RebuildPlan, ranges: str) -> str:
    """What `headrace.read_range` and `write_range` render to."""
    if plan.mode != "days":
        return "false" if plan.mode == "none" else "true"
    found = plan.write if ranges == "write" else plan.read
    return " or ".join(f"({column} >= '{r.first}' and {column} < '{r.end}')" for r in found)


def appends(**said: Any) -> Model:  # noqa: ANN401
    """A model of all events, in the order they came."""
    return replace(
        Model(
            strategy="append",
            sql=lambda plan: (
                "select seq, n from raw.events"
                + (" where seq > (select max(seq) from out.m)" if plan.mode == "rows" else "")
            ),
        ),
        **said,
    )


def merges(**said: Any) -> Model:  # noqa: ANN401
    """A model of the newest event of each key."""
    return replace(
        Model(
            strategy="merge",
            unique_key=("key",),
            sql=lambda plan: (
                "select key, max(seq) as seq, sum(n)::bigint as n from raw.events"
                + (
                    " where key in (select key from raw.events where seq > (select max(seq) from out.m))"
                    if plan.mode == "rows"
                    else ""
                )
                + " group by key"
            ),
        ),
        **said,
    )
