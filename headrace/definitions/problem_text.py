"""Say what is wrong with a value of a declaration, in the words of its keys."""

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from headrace.definitions.base import Declaration
from headrace.definitions.source_lines import Place


def place_of(detail: ErrorDetails) -> Place:
    """Return the place in the document that a problem is about."""
    place = tuple(part for part in detail["loc"] if part != "[key]")
    if len(place) > 1 and place[0] == "source":
        place = (place[0], *place[2:])  # without the kind of source that was meant
    return (*place, detail.get("ctx", {})["key"]) if detail["type"] == "problem_at" else place


def text_of(detail: ErrorDetails, model: type[Declaration]) -> str:
    """Return the problem as a sentence, with what is allowed or was probably meant."""
    place = place_of(detail)
    name = str(place[-1]) if place else ""
    holder = _model_at(model, place[:-1]) if place else model
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(name, holder)
    if kind == "missing":
        return f"`{name}` is missing; {holder.noun} must have it"
    if kind in ("value_error", "problem_at", "unknown_name"):
        message = str(detail["msg"]).removeprefix("Value error, ")
        return f"`{_dotted(place)}`: {message}" if place else message
    found = _short(detail["input"])
    return f"`{_dotted(place)}` is {found}, but must be {_wanted(detail)}"


def allowed_of(detail: ErrorDetails, model: type[Declaration]) -> tuple[str, ...]:
    """Return the names that may stand at the place of a problem; none if they cannot be listed."""
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return tuple(_fields(_model_at(model, place_of(detail)[:-1])))
        case "literal_error":
            return tuple(_QUOTED.findall(str(context["expected"])))
        case "bool_type":
            return ("true", "false")
        case _:
            return tuple(context.get("allowed", ()))


def _fields(model: type[Declaration]) -> dict[str, FieldInfo]:
    """Return the fields by the names that they have in a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _unknown_key(name: str, holder: type[Declaration]) -> str:
    allowed = list(_fields(holder))
    guess = holder.misnomers.get(name) or next(
        iter(difflib.get_close_matches(name, allowed, n=1)), None
    )
    hint = (
        f"did you mean `{guess}`?"
        if guess
        else "allowed are " + ", ".join(f"`{key}`" for key in allowed)
    )
    return f"`{name}` is not a field of {holder.noun}; {hint}"


_QUOTED = re.compile(r"'([^']*)'")
_WANTED = {
    "string_type": "text",
    "bool_type": "`true` or `false`",
    "int_type": "a whole number",
    "float_type": "a number",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "too_short": "a list or mapping with at least one entry",
    "is_instance_of": "a table name such as `raw.clicks`",
}


def _wanted(detail: ErrorDetails) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "literal_error":
            return "one of " + str(context["expected"]).replace("'", "`").replace(" or ", ", ")
        case "greater_than":
            return f"more than {context['gt']:g}"
        case "less_than_equal":
            return f"at most {context['le']}"
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case kind:
            told = str(detail["msg"])
            return _WANTED.get(kind, told[:1].lower() + told[1:])


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    text = text.strip("'") if isinstance(value, str) else text
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _model_at(model: type[Declaration], place: Place) -> type[Declaration]:
    """Find the model that a place inside a document belongs to."""
    for part, following in zip(place, (*place[1:], None), strict=False):
        field = _fields(model).get(str(part))
        if field is not None:
            inner = list(_models_in(field.annotation))
            fitting = (each for each in inner if str(following) in _fields(each))
            model = next(fitting, inner[0] if inner else model)
    return model


def _models_in(annotation: Any) -> Iterator[type[Declaration]]:  # noqa: ANN401  (a type expression)
    if isinstance(annotation, type) and issubclass(annotation, Declaration):
        yield annotation
    elif get_origin(annotation) is not None or get_args(annotation):
        for argument in get_args(annotation):
            yield from _models_in(argument)
