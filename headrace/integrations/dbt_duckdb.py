"""The dbt-duckdb plugin: models read pinned Iceberg snapshots and are committed to Iceberg tables.

dbt knows tables as views of its in-memory DuckDB. All views are pinned when an invocation of dbt
starts, and a model's own view moves when it is committed. The macros talk to the plugin through
`adapter.store_relation(..., format, request)`: the plugin writes its answer into `request`.
"""

import contextlib
import os
import threading
import uuid
import weakref
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.events.logging import AdapterLogger
from dbt.adapters.factory import get_adapter_by_type
from dbt_common.events.contextvars import get_node_info
from dbt_common.exceptions import DbtRuntimeError
from dbt_common.invocation import get_invocation_id

from headrace.config import Settings
from headrace.definitions.stream import renamed_coordinates
from headrace.engines.base import Engine
from headrace.engines.duckdb import DuckDBEngine
from headrace.engines.duckdb_scan import empty_sql
from headrace.engines.open import open_engine
from headrace.errors import LakeError, ModelNotCommittedError, Remedy
from headrace.identifiers import TableName, quote
from headrace.integrations.model_code import compiled_sql, limited_by, rendered_code
from headrace.integrations.model_commit import ModelBuild, Outcome, build_until_it_lands
from headrace.integrations.model_engine import DuckDBModels, ServerModels
from headrace.integrations.model_request import ModelRequest, refuse_former_macros
from headrace.integrations.rebuild import RebuildPlan, plan_rebuild
from headrace.integrations.seed_commit import Seed
from headrace.integrations.unit_test import rows_under_test
from headrace.tables.lake import OpenLake
from headrace.tables.version import TableVersion

if TYPE_CHECKING:
    import duckdb
    from dbt.adapters.duckdb.utils import TargetConfig

_LOG = AdapterLogger("headrace")
_COMMITTED = ("table", "incremental")
_COMMITTING = ("commit_model", "commit_seed")
_NO_SNAPSHOT = Remedy(advice="use an incremental model with `incremental_strategy: append`")


@dataclass(frozen=True, kw_only=True)
class Session:
    """What an in-process caller sets for its dbt invocations."""

    settings: Settings
    run_id: str


_session: list[Session] = []


@contextlib.contextmanager
def session(settings: Settings, *, run_id: str) -> Generator[None]:
    """Make dbt invocations of this process work on the lake of `settings`; not reentrant."""
    _session.append(Session(settings=settings, run_id=run_id))
    try:
        yield
    finally:
        _session.clear()


class Plugin(BasePlugin):
    """One per DuckDB of dbt; serves several invocations, one after the other, and their threads."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Start empty; the lake is opened with the first connection."""
        self._computes = plugin_config.get("engine", "duckdb")
        self._lock = threading.RLock()
        self._lake: OpenLake | None = None
        self._invocation = ""
        self._pinned: dict[TableName, TableVersion] = {}
        self._unreadable: dict[TableName, LakeError] = {}
        self._plans: dict[TableName, tuple[ModelRequest, RebuildPlan]] = {}
        self._empty: set[TableName] = set()

    def configure_connection(self, conn: "duckdb.DuckDBPyConnection") -> None:
        """Set up the database that all cursors share."""
        self._engine = DuckDBEngine.over(conn, _settings())

    def configure_cursor(self, cursor: "duckdb.DuckDBPyConnection") -> None:
        """Set what a cursor does not inherit; the first cursor of an invocation pins all tables."""
        cursor.execute("set timezone = 'UTC'")
        with self._lock:
            if self._invocation != get_invocation_id():
                self._pin_all()
                self._invocation = get_invocation_id()
        try:
            refuse_uncommitted(get_node_info().get("unique_id", ""))
        except LakeError as error:
            raise DbtRuntimeError(str(error)) from error

    def store(self, target_config: "TargetConfig") -> None:
        """Answer a macro: `plan` what to rebuild, commit the rows of a model or `seed`, or `compute` a unit test's.

        Raises:
            DbtRuntimeError: If the lake refuses; its message is that of the `LakeError`.

        """
        sent: dict[str, Any] = target_config.config
        verb = target_config.location.format if target_config.location else ""
        try:
            if verb == "plan":
                sent["plan"] = self._plan(sent)[1].to_json()
            elif verb == "compute":
                sent["rows"], sent["types"] = self._compute(sent)
            else:
                outcome = self._commit_seed(sent) if verb == "seed" else self._commit(sent)
                sent["outcome"] = {
                    "message": outcome.message,
                    "code": outcome.code,
                    "rows": outcome.rows,
                }
        except LakeError as error:
            raise DbtRuntimeError(str(error)) from error

    def _plan(self, sent: dict[str, Any]) -> tuple[ModelRequest, RebuildPlan]:
        """Plan once per model and invocation, so that the commit uses the plan its SQL was rendered with."""
        refuse_former_macros(sent)
        target = TableName.parse(sent["target"])
        with self._lock:
            if target not in self._plans:
                rendered = rendered_code(sent["unique_id"], behind=sent["behind"])
                request = ModelRequest.of(sent, rendered=rendered)
                self._plans[target] = request, self._plan_now(request)
            return self._plans[target]

    def _plan_now(self, request: ModelRequest) -> RebuildPlan:
        """Plan from the snapshot of the model's own table that its view shows, which is the newest."""
        if self._open().exists(request.target):
            self._pin(request.target)
        pinned = {name: self._input(name, request) for name in request.inputs}
        own = self._pinned.get(request.target)
        return plan_rebuild(self._open(), request, pinned=pinned, own=own)

    def _input(self, name: TableName, request: ModelRequest) -> int | None:
        """Return the snapshot id of an input; None if a stream's table has none yet."""
        version = self._pinned.get(name)
        if name in self._unreadable:
            raise self._unreadable[name]
        if name in self._empty:
            return None
        if version is None or (version.snapshot_id is None and name in request.built):
            first = "build" if name in request.built else "ingest or build"
            msg = f"model `{request.target}` reads `{name}`, which the lake does not have yet: {first} it first"
            raise LakeError(msg)
        return version.snapshot_id

    def _commit(self, sent: dict[str, Any]) -> Outcome:
        request, plan = self._plan(sent)
        with self._lock:
            del self._plans[request.target]
            engine = self._engine.session(reads=lambda: self._read_by(request))
        build = ModelBuild(
            lake=self._open(),
            engine=DuckDBModels(engine),
            request=request,
            plan=plan,
            sql=sent["sql"],
            run_id=_run_id(),
        )

        server = self._server()

        def verify(plan: RebuildPlan) -> None:
            if plan.mode == "none":
                return
            if server is not None:
                self._bind_all(server, request)
                return
            for version in self._read_by(request):
                engine.verify(version)

        def plan_again() -> ModelBuild:
            with self._lock:
                newer = self._plan_now(request)
            verify(newer)
            sql = compiled_sql(sent["unique_id"], plan=newer.to_json())
            return replace(build, plan=newer, sql=sql)

        with engine, server or contextlib.nullcontext():
            if server is not None:
                build = replace(build, engine=ServerModels(server))
            if limit := limited_by():
                if server is not None:
                    self._bind_all(server, request)
                outcome = build.check(why=limit)
                self._show_empty(request, build)
                return outcome
            verify(plan)
            with engine.naming_errors():
                outcome = build_until_it_lands(build, plan_again=plan_again)
        with self._lock:
            self._pin(request.target)
        return outcome

    def _compute(self, sent: dict[str, Any]) -> tuple[str, dict[str, str]]:
        """Let the server compute a unit test; return a table of the rows, and its columns' types."""
        server = open_engine(replace(_settings(), engine=self._computes))
        name = f"headrace_unit_test_{uuid.uuid4().hex}"
        with self._engine.session(reads=list) as here, server:
            rows = rows_under_test(server, here.connection, sql=sent["sql"], given=sent["given"])
            here.connection.register("computed", rows)
            here.connection.execute(f"create table {name} as from computed")
            found = here.connection.table(name)
            types = {
                column.lower(): str(kind)
                for column, kind in zip(found.columns, found.types, strict=True)
            }
        adapter: Any = get_adapter_by_type("duckdb")
        adapter.clear_transaction()  # one that dbt began before does not see the table
        return name, types

    def _commit_seed(self, sent: dict[str, Any]) -> Outcome:
        refuse_former_macros(sent)
        seed, lake, run_id = Seed.of(sent), self._open(), _run_id()
        build = seed.build(lake, run_id=run_id)
        if limit := limited_by():
            self._show_empty(seed.request, build)
            return build.check(why=limit)
        outcome = build_until_it_lands(build, plan_again=lambda: seed.build(lake, run_id=run_id))
        with self._lock:
            self._pin(seed.request.target)
        return outcome

    def _read_by(self, request: ModelRequest) -> list[TableVersion]:
        """The versions that a model's SQL reads, including its own table's."""
        with self._lock:
            names = dict.fromkeys((*request.inputs, request.target))
            return [self._pinned[name] for name in names if name in self._pinned]

    def _show_empty(self, request: ModelRequest, build: ModelBuild) -> None:
        """Show an empty view of a model without a table, so a dry run can check the models after it."""
        name = request.target
        with self._lock:
            if name not in self._pinned and name not in self._unreadable:
                connection, rows = self._engine.connection, empty_sql(build.columns())
                connection.execute(f"create schema if not exists {quote(name.namespace)}")
                connection.execute(f"create or replace view {name.sql} as {rows}")
                self._empty.add(name)

    def _bind_all(self, server: Engine, request: ModelRequest) -> None:
        """Bind what a model reads to a server, which compares the files with their checksums too."""
        for version in self._read_by(request):
            server.bind(str(version.name), version)

    def _server(self) -> Engine | None:
        """Open the engine of the target, if it is not the DuckDB of dbt."""
        if self._computes == "duckdb":
            return None
        return open_engine(replace(_settings(), engine=self._computes))

    def _open(self) -> OpenLake:
        if self._lake is None:
            self._lake = OpenLake.open(_settings())
            # dbt-duckdb drops its plugins without closing them, the last one when the process ends
            self._close_lake = weakref.finalize(self, self._lake.close)
        return self._lake

    def _pin_all(self) -> None:
        """Point every view at its table's head, and forget the tables of another lake."""
        if self._lake is not None and self._lake.settings != _settings():
            self._close_lake()
            self._lake = None
        self._plans.clear()
        self._unreadable.clear()
        for name in self._empty:
            self._engine.drop(str(name))
        self._empty.clear()
        names = self._open().names()
        for gone in set(self._pinned) - set(names):
            self._unpin(gone)
        for name in names:
            self._pin(name)

    def _pin(self, name: TableName) -> None:
        """Point a view at its table's head; if it cannot be read, only models that use it fail."""
        try:
            version = self._open().table(name).head()
            if self._pinned.get(name) == version:
                return
            self._unpin(name)
            renamed = renamed_coordinates(version.schema.names)
            self._engine.show(str(name), version, renamed=renamed)
        except LakeError as error:
            self._unpin(name)
            self._unreadable[name] = error
            _LOG.warning(f"models cannot read {name.sql}: {error}")
            return
        self._pinned[name] = version

    def _unpin(self, name: TableName) -> None:
        """Drop a view, so that no model reads outdated rows."""
        self._unreadable.pop(name, None)
        if self._pinned.pop(name, None) is not None:
            self._engine.drop(str(name))


def _settings() -> Settings:
    return _session[0].settings if _session else Settings.load()


def _run_id() -> str:
    given = _session[0].run_id if _session else os.environ.get("HEADRACE_RUN_ID", "")
    return given or get_invocation_id()


def refuse_uncommitted(unique_id: str) -> None:
    """Refuse nodes whose rows would stay in DuckDB's memory: a successful run has committed.

    Raises:
        ModelNotCommittedError: For a snapshot, and for a seed or a `table` or `incremental` model
            that a materialization other than headrace's would build, or that calls an
            `is_incremental()` other than headrace's.

    """
    kind, _, name = unique_id.partition(".")
    if kind == "snapshot":
        raise ModelNotCommittedError(name, "a snapshot is not kept", remedy=_NO_SNAPSHOT)
    if kind not in {"model", "seed"}:
        return
    adapter: Any = get_adapter_by_type("duckdb")
    manifest = adapter.get_macro_resolver()
    node = manifest.nodes.get(unique_id)
    if node is None or (kind == "model" and node.config.materialized not in _COMMITTED):
        return
    how = node.config.materialized
    found = manifest.find_materialization_macro_by_name(adapter.config.project_name, how, "duckdb")
    if found is None or not _commits(found, manifest):
        package = found.package_name if found else "dbt"
        advice = "in the lake's folder, to give its dbt project headrace's macros"
        raise ModelNotCommittedError(
            name,
            f"the materialization `{how}` of package `{package}` does not commit to the lake",
            remedy=Remedy.run("init", ".", advice=advice),
        )
    if "macro.dbt.is_incremental" in node.depends_on.macros:
        raise ModelNotCommittedError(
            name,
            "it calls dbt's `is_incremental()`, which is never true here, so that all rows would "
            "count as new",
            remedy=Remedy(advice="write `headrace.is_incremental()`"),
        )


def _commits(macro: Any, manifest: Any) -> bool:  # noqa: ANN401 - dbt's macro and manifest
    """Whether a materialization calls headrace's, directly or through its macros."""
    waiting, seen = [macro.unique_id], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in manifest.macros:
            continue
        seen.add(name)
        if manifest.macros[name].name in _COMMITTING:
            return True
        waiting.extend(manifest.macros[name].depends_on.macros)
    return False
