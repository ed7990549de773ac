"""Requests as JSON has them, and values as JSON can hold them without changing one."""

import base64
import datetime as dt
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import orjson
import pyarrow as pa
import pyarrow.types as pt
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WrapValidator,
)

from headrace.errors import EntityKeyError
from headrace.serving.store import ViewState

ROWS_MAX = 1_000
_PLAIN = frozenset({int, bool, str})
# Python's readers also take digits of other scripts, underscores and spaces, and cut a time
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BEYOND_MICROSECONDS = re.compile(r"[.,][0-9]{6}[0-9]*[1-9]")


def json_of(answer: Mapping[str, Any]) -> bytes:
    """Write an answer; a time is a text with its offset."""
    try:
        return orjson.dumps(answer)
    except orjson.JSONEncodeError:  # an integer of the request beyond 64 bits, which it gets back
        return json.dumps(answer, allow_nan=False, default=dt.datetime.isoformat).encode()


def list_of(texts: Iterable[str]) -> orjson.Fragment:
    """Return a list of what is JSON already."""
    return orjson.Fragment(f"[{','.join(texts)}]")


def _refuse_odd(row: dict[str, Any]) -> dict[str, Any]:
    """Refuse what Python's JSON takes beyond the standard: NaN, infinities, halves of characters."""
    left: list[Any] = [row]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += (*value, *value.values())
        elif isinstance(value, list):
            left += value
        elif isinstance(value, float) and not math.isfinite(value):
            msg = "NaN and infinities are no JSON"
            raise ValueError(msg)
        elif isinstance(value, str) and not value.isascii():
            _refuse_halves(value)
    return row


def _refuse_halves(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"character {error.start + 1} of a text is half of one"
        raise ValueError(msg) from error
    return text


def _refuse_number(moment: object) -> object:
    if isinstance(moment, int | float):  # whether of seconds or milliseconds would be a guess
        msg = "a time is a text with an offset"
        raise ValueError(msg)  # noqa: TRY004  (pydantic takes no TypeError)
    return moment


def _usual_or(rows: Any, validate: Callable[[Any], Any]) -> Any:  # noqa: ANN401  (whatever JSON gives)
    """Take rows of integers and plain texts, as most are, without a look at each."""
    if type(rows) is not list or not 1 <= len(rows) <= ROWS_MAX or set(map(type, rows)) != {dict}:
        return validate(rows)
    values = [value for row in rows for value in row.values()]
    kinds, texts = set(map(type, values)), set[Any]().union(*rows)
    if str in kinds:
        texts.update(value for value in values if type(value) is str)
    usual = kinds <= _PLAIN and set(map(type, texts)) <= {str} and all(map(str.isascii, texts))
    return rows if usual else validate(rows)


_TEXT = Annotated[str, AfterValidator(_refuse_halves)]
_ROW = Annotated[dict[str, Any], AfterValidator(_refuse_odd)]
_ENTITIES = Annotated[
    list[_ROW], Field(min_length=1, max_length=ROWS_MAX), WrapValidator(_usual_or)
]


class _Request(BaseModel):
    """What every request may say: `at` is the moment to answer for, now by default."""

    model_config = ConfigDict(extra="forbid")

    at: Annotated[AwareDatetime | None, BeforeValidator(_refuse_number)] = None


class VectorsRequest(_Request):
    """The features of a sample set, or all columns of some views, for up to 1,000 sets of entities."""

    sample_set: _TEXT | None = None
    views: Annotated[list[_TEXT], Field(max_length=100)] | None = None
    entities: _ENTITIES


class ScoreRequest(_Request):
    """Rows to score: the entities of each, and the columns of the exposure that the model reads."""

    rows: _ENTITIES
    explain: bool = False


class RankRequest(_Request):
    """Candidates to rank: what all have in common, and what each has besides."""

    context: _ROW = Field(default_factory=dict)
    candidates: _ENTITIES
    top: Annotated[int, Field(ge=1, le=ROWS_MAX)] | None = None
    explain: bool = False


def entity_values(
    states: Sequence[ViewState], rows: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, object]]:
    """Read the entities of rows as the types of their columns, where JSON has only texts for them.

    Raises:
        EntityKeyError: If a text is none of its column's type.

    """
    texts = [
        (state.view, name, kind)
        for state in states
        for name in state.entity
        if _is_written_as_text(kind := state.schema.field(name).type)
    ]
    if not texts:
        return rows
    found: list[dict[str, object]] = [dict(row) for row in rows]
    for view, name, kind in texts:
        for row, given in zip(found, rows, strict=True):
            if isinstance(text := given.get(name), str):
                row[name] = _of_text(view, name, text, kind)
    return found


def _is_binary(kind: pa.DataType) -> bool:
    return pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind)


def _is_written_as_text(kind: pa.DataType) -> bool:
    return _is_binary(kind) or pt.is_timestamp(kind) or pt.is_date(kind) or pt.is_decimal(kind)


def _of_text(view: str, name: str, text: str, kind: pa.DataType) -> object:
    try:
        if pt.is_timestamp(kind) and not _BEYOND_MICROSECONDS.search(text):
            return dt.datetime.fromisoformat(text)
        if pt.is_date(kind):
            return dt.date.fromisoformat(text)
        if pt.is_decimal(kind) and _DECIMAL.fullmatch(text):
            return Decimal(text)
        if _is_binary(kind) and base64.b64encode(found := base64.b64decode(text)).decode() == text:
            return found
    except (ValueError, InvalidOperation) as error:
        raise _no_text(view, name, text, kind) from error
    raise _no_text(view, name, text, kind)


def _no_text(view: str, name: str, text: str, kind: pa.DataType) -> EntityKeyError:
    detail = f"a column of type {kind}: `{text[:80]}` is no text of one"
    return EntityKeyError(view, name, detail=detail)
