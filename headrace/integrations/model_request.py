"""What a dbt model asks of the lake, read from the dict its materialization sends."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ValidationError

from headrace.definitions.feature_view import PROPERTY, FeatureView
from headrace.definitions.types import FieldType
from headrace.errors import DefinitionError
from headrace.identifiers import TableName

STRATEGIES = ("table", "append", "merge", "insert_overwrite")


@dataclass(frozen=True, kw_only=True)
class ColumnRule:
    """What a model's YAML says of one column."""

    required: bool
    declared: FieldType | None


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """One model: where its rows go, what it reads, and the code it is made of."""

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

    @classmethod
    def of(cls, sent: Mapping[str, Any], *, macro_code: Mapping[str, str]) -> Self:
        """Check what the materialization sent; `macro_code` is the text of the project's macros used.

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
            columns=_column_rules(sent["columns"], problems),
            properties=_properties(target, sent["feature_view"], problems),
            code=_code_hash(sent, macro_code),
            full_refresh=bool(sent["full_refresh"]),
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
    return {PROPERTY: view.to_property()}


def _code_hash(sent: Mapping[str, Any], macro_code: Mapping[str, str]) -> str:
    """Name the code: equal as long as neither the model, a macro it uses nor its shape changed."""
    keys = ("strategy", "unique_key", "partition_by", "sort_by", "reach_days", "columns")
    content = {key: sent[key] for key in (*keys, "feature_view", "code", "inputs")}
    text = json.dumps({**content, "macros": dict(macro_code)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
