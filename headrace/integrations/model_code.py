"""What a dbt model runs, as text: its SQL rendered, without what differs from run to run.

A var, an environment variable, `meta`, the target or a macro of any package changes what a model
renders to, and so its code. The days that are rebuilt, the time and the run's own names do not.
"""

import copy
import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from dbt.adapters.factory import get_adapter_by_type
from dbt.clients.jinja import get_rendered
from dbt.compilation import Compiler
from dbt.context.providers import ParseDatabaseWrapper, generate_runtime_model_context

from headrace.clock import EPOCH

_DAY = {"first": "1970-01-01", "end": "1970-01-02", "first_day": 0, "end_day": 1}
_ALL: dict[str, Any] = {"mode": "all", "write": [], "read": []}
# the branches of an incremental run are code too
_SOME: dict[str, Any] = {"mode": "days", "write": [_DAY], "read": [_DAY]}
_DBT_PACKAGES = frozenset({"dbt", "dbt_duckdb", "dbt_postgres", "dbt_trino"})
# those of macros/rebuild.sql that ask for the plan
_PLANNING = frozenset({"rebuild_plan", "duckdb__rebuild_plan", "is_incremental", "check_delay"})
_ASKS = re.compile(r"\b(execute|run_query|statement|load_result)\b|\badapter\.(?!dispatch\b)")


def rendered_code(unique_id: str, *, behind: Iterable[str]) -> tuple[str, ...]:
    """Render a model and the views and ephemeral models behind it, as their code is compared.

    Equal on every machine and in every run of the same project, vars, environment and target. No
    query is run for it: what a model puts into its SQL from query results is data. For a model that
    queries the database while it renders, every var and environment variable counts as its code.
    """
    manifest, config = _manifest(), _adapter().config
    texts: list[str] = []
    for each in (unique_id, *behind):
        node = manifest.nodes[each]
        texts += [_rendered(node, manifest, config, plan=plan) for plan in (_ALL, _SOME)]
        macros = dict(_macros_behind(node, manifest))
        if any(_ASKS.search(text) for text in (node.raw_code, *macros.values())):
            texts += [node.raw_code, *(macros[name] for name in sorted(macros))]
            texts.append(_everything_said(manifest, config))
    return tuple(texts)


def compiled_sql(unique_id: str, *, plan: Mapping[str, Any]) -> str:
    """Compile a model again, for a plan other than the one dbt compiled it for."""
    manifest, config = _manifest(), _adapter().config
    node = _fresh(manifest.nodes[unique_id])
    done = Compiler(config).compile_node(node, manifest, {"headrace_plan": plan}, write=False)
    return done.compiled_code or ""


def limited_by() -> str:
    """Return the flag that makes dbt read only part of a model's inputs; empty if none is set."""
    arguments = _adapter().config.args
    if getattr(arguments, "EMPTY", False):
        return "--empty"
    return "--sample" if getattr(arguments, "sample", None) is not None else ""


def _rendered(node: Any, manifest: Any, config: Any, *, plan: Mapping[str, Any]) -> str:  # noqa: ANN401
    # rendering records the referenced ephemeral models in the node
    node = _fresh(node)
    context = generate_runtime_model_context(node, config, manifest)
    modules = {**context["modules"], "datetime": _still_datetime()}
    flags = {"FULL_REFRESH": False, "EMPTY": False, "WHICH": "run"}
    context.update(
        {
            "headrace_plan": plan,
            "headrace_canonical": True,
            "execute": False,
            "adapter": ParseDatabaseWrapper(_adapter(), context["adapter"]._namespace),
            "flags": SimpleNamespace(**{**vars(context["flags"]), **flags}),
            "modules": modules,
            "run_started_at": EPOCH,
            "invocation_id": "",
            "thread_id": "",
            "selected_resources": [],
        }
    )
    return get_rendered(node.raw_code, context, node)


def _fresh(node: Any) -> Any:  # noqa: ANN401 - dbt's node
    """Copy a node as it was before dbt compiled it."""
    made = copy.copy(node)
    made.compiled, made.compiled_code, made._pre_injected_sql = False, None, None
    made.extra_ctes, made.extra_ctes_injected = [], False
    return made


def _macros_behind(node: Any, manifest: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    waiting, seen = list(node.depends_on.macros), set[str]()
    while waiting:
        name = waiting.pop()
        macro = manifest.macros.get(name)
        if name in seen or macro is None or macro.package_name in _DBT_PACKAGES:
            continue
        seen.add(name)
        if macro.name in _PLANNING:
            continue
        yield name, macro.macro_sql
        waiting.extend(macro.depends_on.macros)


def _everything_said(manifest: Any, config: Any) -> str:  # noqa: ANN401
    said = {"vars": config.vars.to_dict(), "cli": config.cli_vars, "env": manifest.env_vars}
    return json.dumps(said, sort_keys=True, default=str)


def _still_datetime() -> SimpleNamespace:
    """Replace the `datetime` module by one with a fixed clock."""

    class StillDate(dt.date):
        @classmethod
        def today(cls) -> "StillDate":
            return cls(1970, 1, 1)

    class StillTime(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "StillTime":
            return cls(1970, 1, 1, tzinfo=tz)

        @classmethod
        def utcnow(cls) -> "StillTime":
            return cls.now()

        @classmethod
        def today(cls) -> "StillTime":
            return cls.now()

    names = {name: getattr(dt, name) for name in dt.__all__}
    return SimpleNamespace(**{**names, "date": StillDate, "datetime": StillTime})


def _adapter() -> Any:  # noqa: ANN401 - the adapter's config and manifest are not in its types
    return get_adapter_by_type("duckdb")


def _manifest() -> Any:  # noqa: ANN401
    # the resolver is dbt's manifest; its protocol only promises look-ups by name
    return _adapter().get_macro_resolver()
