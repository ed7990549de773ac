"""The keys of a declaration or of settings, read from the class that declares them.

Type and default are the class's own; meaning and example stand in the docstring below an attribute,
which is taken from the source: at run time it costs nothing.
"""

import ast
import dataclasses
import datetime as dt
import inspect
import itertools
import json
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, cast

from headrace.definitions.base import Declaration
from headrace.definitions.durations import format_duration
from headrace.definitions.stream_times import INGESTED, FixedTime, KnownAt
from headrace.definitions.types import FieldType
from headrace.identifiers import TableName

REQUIRED = "required"
_EXAMPLE = re.compile(r"(.*?)\s*Example:\s+`(.+)`\.?", re.DOTALL)
_PLAIN: Mapping[object, str] = {
    bool: "true or false",
    Decimal: "number",
    dt.date: "date",
    dt.datetime: "time",
    dt.timedelta: "duration",
    FieldType: "type",
    float: "number",
    int: "whole number",
    str: "text",
    TableName: "table",
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key, in words: `default` is `required` where there is none."""

    name: str
    kind: str
    default: str
    meaning: str
    example: str


@cache
def keys_of(declared: type) -> tuple[Key, ...]:
    """Return the keys of a declaration, or of a dataclass of settings, in the order of its fields.

    Raises:
        ValueError: If one has no meaning or no example.

    """
    said = _docstrings(declared)
    return tuple(
        _key(name, shown, kind, default, said.get(name, ""), of=declared)
        for name, shown, kind, default in _fields(declared)
    )


def _fields(declared: type) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, name as it is written, type and default of each field."""
    if issubclass(declared, Declaration):
        for name, field in declared.model_fields.items():
            default = REQUIRED if field.is_required() else in_words(_default(field))
            yield name, field.alias or name, kind_of(field.annotation), default
    else:
        hints = typing.get_type_hints(declared)
        for field in dataclasses.fields(declared):
            yield field.name, field.name, kind_of(hints[field.name]), in_words(_default(field))


def _default(field: Any) -> Any:  # noqa: ANN401  (of pydantic, or of dataclasses)
    factory = field.default_factory
    if factory is None or factory is dataclasses.MISSING:
        return field.default
    return factory()


def _key(name: str, shown: str, kind: str, default: str, said: str, *, of: type) -> Key:
    found = _EXAMPLE.fullmatch(said)
    if found is None or not found[1]:
        msg = f"{of.__name__}.{name} has no docstring with a meaning and `Example:`"
        raise ValueError(msg)
    meaning, example = (" ".join(each.split()) for each in found.groups())
    return Key(name=shown, kind=kind, default=default, meaning=meaning, example=example)


def _docstrings(declared: type) -> dict[str, str]:
    """Map fields to the texts below them, those of the classes it inherits from included."""
    found: dict[str, str] = {}
    for each in reversed(declared.__mro__):
        if not each.__module__.startswith(("headrace.", "orchestration.")):
            continue
        body = _classes(each.__module__)[each.__name__].body
        for field, below in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = below.value if isinstance(below, ast.Expr) else None
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    found[field.target.id] = text.value.strip()
    return found


@cache
def _classes(module: str) -> Mapping[str, ast.ClassDef]:
    """Parse a module once, and return its classes."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def kind_of(annotation: Any) -> str:  # noqa: ANN401  (any type)
    """Say in words what may be written for a type; parts of a declaration are links to their keys."""
    if isinstance(annotation, type) and issubclass(annotation, FixedTime):
        return f"`{INGESTED}` or {_section(annotation)}"
    if isinstance(annotation, type) and issubclass(annotation, Declaration):
        return _section(annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return kind_of(inner[0])
    if origin is typing.Literal:
        return ", ".join(f"`{each}`" for each in inner)
    if origin in (typing.Union, types.UnionType):
        kinds = dict.fromkeys(kind_of(each) for each in inner if each is not type(None))
        return " or ".join(kinds)
    if origin in (tuple, list):
        return f"list of {kind_of(inner[0])}"
    # what is left maps names to values
    return f"mapping of {kind_of(inner[0])} to {kind_of(inner[1])}"


def _section(declared: type[Declaration]) -> str:
    anchor = anchor_of(declared)
    return f"[{anchor.replace('-', ' ')}](#{anchor})"


def anchor_of(declared: type) -> str:
    """Return the anchor of the section about a class."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", declared.__name__).lower()


def in_words(value: object) -> str:
    """Write a default as it would be written in the file."""
    if value is None or value == "":
        return "none"
    if isinstance(value, KnownAt):
        return f"`{INGESTED}`"
    if isinstance(value, Declaration):
        return "its defaults"
    if isinstance(value, dt.timedelta):
        return f"`{format_duration(value)}`"
    if isinstance(value, tuple | list | dict):
        listed = cast("tuple[object, ...]", value)
        return f"`{json.dumps(list(listed))}`".replace('"', "") if listed else "none"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`"
