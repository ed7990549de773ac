"""The dbt-duckdb plugin: models read pinned Iceberg snapshots and are committed to Iceberg tables.

dbt knows tables as views of its in-memory DuckDB. All views are pinned when an invocation of dbt
starts, and a model's own view moves when it is committed. The macros talk to the plugin through
`adapter.store_relation(..., format, request)`: the plugin writes its answer into `request`.
"""

import contextlib
import os
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.events.logging import AdapterLogger
from dbt.adapters.factory import get_adapter_by_type
from dbt_common.exceptions import DbtRuntimeError
from dbt_common.invocation import get_invocation_id

from headrace.config import Settings
from headrace.definitions.stream import renamed_coordinates
from headrace.engines.damage import naming_damage
from headrace.engines.duckdb import load_iceberg_extension, scan_sql
from headrace.engines.spill import SpillFolder
from headrace.errors import LakeError, UnsupportedTableError
from headrace.identifiers import TableName, quote, quote_text
from headrace.integrations.model_commit import ModelBuild, Outcome
from headrace.integrations.model_request import ModelRequest
from headrace.integrations.rebuild import RebuildPlan, plan_rebuild
from headrace.tables.lake import Lake
from headrace.tables.scan import TableVersion
from headrace.tables.verified import VerifiedFiles

if TYPE_CHECKING:
    from dbt.adapters.duckdb.utils import TargetConfig

_LOG = AdapterLogger("headrace")
_PROJECT_MACROS = "macro.headrace."


@dataclass(frozen=True, kw_only=True)
class Session:
    """What an in-process caller fixes for the dbt invocations it makes."""

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
        del plugin_config
        self._lock = threading.RLock()
        self._lake: Lake | None = None
        self._invocation = ""
        self._pinned: dict[TableName, TableVersion] = {}
        self._unreadable: dict[TableName, LakeError] = {}
        self._plans: dict[TableName, tuple[ModelRequest, RebuildPlan]] = {}

    def configure_connection(self, conn: "duckdb.DuckDBPyConnection") -> None:
        """Set up the database that all cursors share."""
        self._connection = conn
        settings = _settings()
        self._spill = SpillFolder(settings.state_dir / "spill")
        conn.execute(f"set threads = {settings.threads}")
        conn.execute(f"set memory_limit = '{settings.memory_limit_mib}MiB'")
        conn.execute(f"set temp_directory = {quote_text(str(self._spill.path))}")
        load_iceberg_extension(conn)

    def configure_cursor(self, cursor: "duckdb.DuckDBPyConnection") -> None:
        """Set what a cursor does not inherit; the first one of an invocation pins all tables."""
        cursor.execute("set timezone = 'UTC'")
        with self._lock:
            if self._invocation != get_invocation_id():
                self._pin_all()
                self._invocation = get_invocation_id()

    def store(self, target_config: "TargetConfig") -> None:
        """Answer a macro: `plan` what to rebuild, or `commit` a model's rows."""
        sent: dict[str, Any] = target_config.config
        verb = target_config.location.format if target_config.location else ""
        try:
            if verb == "plan":
                sent["plan"] = self._plan(sent)[1].to_json()
            else:
                outcome = self._commit(sent)
                sent["outcome"] = {
                    "message": outcome.message,
                    "code": outcome.code,
                    "rows": outcome.rows,
                }
        except LakeError as error:
            raise DbtRuntimeError(str(error)) from error

    def _plan(self, sent: dict[str, Any]) -> tuple[ModelRequest, RebuildPlan]:
        """Plan once per model and invocation: what its SQL was rendered with is what is committed."""
        target = TableName.parse(sent["target"])
        with self._lock:
            if target not in self._plans:
                request = ModelRequest.of(sent, macro_code=_macro_code(sent["macros"]))
                pinned = {name: self._input(name, target).snapshot_id for name in request.inputs}
                self._plans[target] = request, plan_rebuild(self._open(), request, pinned=pinned)
            return self._plans[target]

    def _input(self, name: TableName, target: TableName) -> TableVersion:
        version = self._pinned.get(name)
        if name in self._unreadable:
            raise self._unreadable[name]
        if version is None:
            msg = f"model `{target}` reads `{name}`, which the lake does not have yet: ingest or build it first"
            raise LakeError(msg)
        return version

    def _commit(self, sent: dict[str, Any]) -> Outcome:
        request, plan = self._plan(sent)
        verified = VerifiedFiles.of(_settings())
        with self._lock:
            del self._plans[request.target]
            names = dict.fromkeys((*request.inputs, request.target))
            read = [self._pinned[name] for name in names if name in self._pinned]
            # two models of one new namespace would both try to create it
            self._open().catalog.create_namespace_if_not_exists(request.target.namespace)
        connection = self._connection.cursor()
        try:
            connection.execute("set timezone = 'UTC'")
            build = ModelBuild(
                lake=self._open(),
                connection=connection,
                request=request,
                plan=plan,
                sql=sent["sql"],
                run_id=_run_id(),
            )
            if plan.mode != "none":
                for version in read:
                    verified.verify(version)
            with naming_damage(verified, lambda: read):
                outcome = build.apply()
        finally:
            connection.close()
        with self._lock:
            self._pin(request.target)
        return outcome

    def _open(self) -> Lake:
        if self._lake is None:
            self._lake = Lake.open(_settings())
        return self._lake

    def _pin_all(self) -> None:
        """Point every view at its table's head, and forget the tables of another lake."""
        if self._lake is not None and self._lake.settings != _settings():
            self._lake.close()
            self._lake = None
        self._plans.clear()
        self._unreadable.clear()
        names = self._open().names()
        for gone in set(self._pinned) - set(names):
            self._unpin(gone)
        for name in names:
            self._pin(name)

    def _pin(self, name: TableName) -> None:
        """Point a view at its table's head; one that cannot be read only fails who reads it."""
        try:
            version = self._open().table(name).head()
            if self._pinned.get(name) == version:
                return
            self._unpin(name)
            self._show(name, version)
        except LakeError as error:
            self._unpin(name)
            self._unreadable[name] = error
            _LOG.warning(f"models cannot read {name.sql}: {error}")
            return
        self._pinned[name] = version

    def _show(self, name: TableName, version: TableVersion) -> None:
        rows, columns = scan_sql(version), _columns_sql(version.schema.names)
        self._execute(f"create schema if not exists {quote(name.namespace)}")
        try:
            self._execute(f"create or replace view {name.sql} as select {columns} from {rows}")
        except duckdb.ProgrammingError as error:
            detail = f"DuckDB cannot read it: {error}"
            raise UnsupportedTableError(str(name), detail) from error

    def _unpin(self, name: TableName) -> None:
        """Take a view away, so that nobody reads the wrong rows."""
        self._unreadable.pop(name, None)
        if self._pinned.pop(name, None) is not None:
            self._execute(f"drop view if exists {name.sql}")

    def _execute(self, sql: str) -> None:
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql)
        finally:
            cursor.close()


def _settings() -> Settings:
    return _session[0].settings if _session else Settings.load()


def _columns_sql(names: list[str]) -> str:
    """Select all columns; models read coordinates by today's names before a table is renamed, too."""
    renamed = renamed_coordinates(names).items()
    listed = ", ".join(f"{quote(old)} as {quote(new)}" for old, new in renamed)
    return f"* rename ({listed})" if listed else "*"


def _run_id() -> str:
    given = _session[0].run_id if _session else os.environ.get("HEADRACE_RUN_ID", "")
    return given or get_invocation_id()


def _macro_code(used: list[str]) -> dict[str, str]:
    """Collect the text of the project's macros behind `used`; dbt's own do not count as code."""
    # the resolver is dbt's manifest; its protocol only promises look-ups by name
    resolver: Any = get_adapter_by_type("duckdb").get_macro_resolver()
    macros: dict[str, Any] = resolver.macros
    found: dict[str, str] = {}
    waiting = list(used)
    while waiting:
        name = waiting.pop()
        if name in found or not name.startswith(_PROJECT_MACROS) or name not in macros:
            continue
        found[name] = macros[name].macro_sql
        waiting.extend(macros[name].depends_on.macros)
    return found
