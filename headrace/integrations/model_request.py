"""What a dbt model requests of the lake, parsed from the dict its materialization sends."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError

from headrace.definitions.feature_view import FeatureView
from headrace.definitions.properties import FEATURE_VIEW_PROPERTY, MODEL_PROPERTY
from headrace.definitions.types import FieldType
from headrace.errors import DefinitionError
from headrace.identifiers import TableName

STRATEGIES = ("table", "append", "merge", "insert_overwrite")
SCHEMA_CHANGES = ("ignore", "append_new_columns", "fail", "sync_all_columns")
_RENDERED = "r-"  # earlier codes hashed unrendered SQL


@dataclass(frozen=True, kw_only=True)
class ColumnRule:
    """What a model's YAML declares for one column."""

    required: bool
    declared: FieldType | None


_ANSWERS = (
    "model",
    "unique_id",
    "built",
    "behind",
    "keeps_history",
    "not_obeyed",
    "reach_back_days",
)


def refuse_former_macros(sent: Mapping[str, Any]) -> None:
    """Refuse requests of an earlier version's macros: custom projects hold a copy of them.

    Raises:
        DefinitionError: Naming the model, and what to do.

    """
    if not all(name in sent for name in _ANSWERS):
        model = sent.get("model") or sent.get("target", "")
        msg = (
            f"model `{model}`: its project has the macros of an earlier version of headrace; renew "
            "them by `headrace init .` in the lake's folder"
        )
        raise DefinitionError((msg,))


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """One model: where its rows go, what it reads, and the code it is made of.

    Args:
        on_schema_change: One of `SCHEMA_CHANGES`, or empty if the model does not set it.
        full_refresh: All rows are requested, by a flag or the model's configuration.
        keeps_history: The model sets `full_refresh: false`: a full rebuild never replaces its
            existing rows.
        built: The tables of `inputs` that models build.

    """

    target: TableName
    strategy: str
    inputs: tuple[TableName, ...]
    unique_key: tuple[str, ...]
    partition_by: tuple[str, ...]
    sort_by: tuple[str, ...]
    reach_days: int
    columns: Mapping[str, ColumnRule]
    properties: Mapping[str, str]
    code: str
    full_refresh: bool
    reach_back_days: int = 0
    on_schema_change: str = ""
    keeps_history: bool = False
    built: frozenset[TableName] = frozenset()

    @classmethod
    def of(cls, sent: Mapping[str, Any], *, rendered: Sequence[str]) -> Self:
        """Check what the materialization sent; `rendered` is what the model runs, as text.

        Raises:
            DefinitionError: Naming the model, the key, and what is allowed.

        """
        target = TableName.parse(sent["target"])
        problems: list[str] = []
        if sent["strategy"] not in STRATEGIES:
            allowed = ", ".join(f"`{name}`" for name in STRATEGIES)
            problems.append(f"incremental_strategy `{sent['strategy']}` is unknown; use {allowed}")
        if sent["strategy"] == "merge" and not sent["unique_key"]:
            problems.append("incremental_strategy `merge` needs a `unique_key`")
        said = sent["on_schema_change"] or ""
        if said not in {"", *SCHEMA_CHANGES}:
            allowed = ", ".join(f"`{name}`" for name in SCHEMA_CHANGES)
            problems.append(f"on_schema_change `{said}` is unknown; use {allowed}")
        for name in sent["not_obeyed"]:
            problems.append(f"`{name}` is not supported here, and would be ignored; take it out")
        partition_by = tuple(sent["partition_by"])
        if sent["strategy"] == "insert_overwrite" and not _is_by_day(partition_by):
            problems.append(
                "incremental_strategy `insert_overwrite` rebuilds days: "
                "meta.headrace_table.partition_by must be one `day(column)`"
            )
        request = cls(
            target=target,
            strategy=sent["strategy"],
            inputs=tuple(TableName.parse(name) for name in sent["inputs"]),
            unique_key=tuple(sent["unique_key"]),
            partition_by=partition_by,
            sort_by=tuple(sent["sort_by"]),
            reach_days=int(sent["reach_days"]),
            reach_back_days=int(sent["reach_back_days"]),
            columns=_column_rules(sent["columns"], problems),
            properties={
                MODEL_PROPERTY: sent["model"],
                **_properties(target, sent["feature_view"], problems),
            },
            code=_code_hash(sent, rendered),
            full_refresh=bool(sent["full_refresh"]),
            # a `table` has no history: each build replaces it
            on_schema_change="" if sent["strategy"] == "table" else said,
            keeps_history=bool(sent["keeps_history"]) and sent["strategy"] != "table",
            built=frozenset(TableName.parse(name) for name in sent["built"]),
        )
        if problems:
            raise DefinitionError(tuple(f"model `{target}`: {text}" for text in problems))
        return request


def _is_by_day(partition_by: tuple[str, ...]) -> bool:
    return len(partition_by) == 1 and partition_by[0].startswith("day(")


def _column_rules(sent: Mapping[str, Any], problems: list[str]) -> dict[str, ColumnRule]:
    rules: dict[str, ColumnRule] = {}
    for name, said in sent.items():
        declared = None
        if said["data_type"]:
            try:
                declared = FieldType.parse(said["data_type"])
            except ValueError as error:
                problems.append(f"column `{name}`: {error}")
        rules[name] = ColumnRule(required=said["required"], declared=declared)
    return rules


def _properties(
    target: TableName, said: Mapping[str, Any] | None, problems: list[str]
) -> dict[str, str]:
    if said is None:
        return {}
    try:
        view = FeatureView.model_validate({**said, "view": target})
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"])
            problems.append(f"meta.headrace.{where}: {problem['msg']}")
        return {}
    return {FEATURE_VIEW_PROPERTY: view.to_property()}


def is_comparable(code: str) -> bool:
    """Whether a recorded code was hashed like `ModelRequest.code`; earlier versions hashed less."""
    return code.startswith(_RENDERED)


def _code_hash(sent: Mapping[str, Any], rendered: Sequence[str]) -> str:
    """Hash the code: equal as long as neither the rendered model nor its shape changes."""
    keys = ("strategy", "unique_key", "partition_by", "sort_by", "reach_days", "columns")
    content = {key: sent[key] for key in (*keys, "feature_view", "inputs")}
    if sent["reach_back_days"]:  # models without it are as they were
        content["reach_back_days"] = sent["reach_back_days"]
    text = json.dumps({**content, "rendered": list(rendered)}, sort_keys=True)
    return _RENDERED + hashlib.sha256(text.encode()).hexdigest()[:16]
