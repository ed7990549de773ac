"""What a column's values look like: the type that a draft gives it, and what was guessed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from headrace.definitions.stream_field import StreamField
from headrace.definitions.types import FieldType
from headrace.identifiers import is_plain
from headrace.ingest.list_texts import list_type
from headrace.ingest.time_forms import convert_field
from headrace.ingest.values import convert

NULL_WORDS = ("NULL", "null", "\\N", "NA", "N/A", "nan", "NaN", "None")
_WHOLE = r"^-?(0|[1-9][0-9]{0,18})$"  # a leading zero is part of a code
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_CLOCK = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?$"
_INSTANT = rf"{_CLOCK[:-1]}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$"
TIME_NAME = re.compile(r"(^|_)(time|timestamp|ts|at|date|datetime|when)(_|$)")
_DIGITS_NAME = re.compile(rf"{TIME_NAME.pattern}|(^|_)(hour|day|dt)(_|$)")
# times written as digits only, by how many they have: `14102100` is 21 October 2014, 0 h
_DIGITS_FORMS = {
    8: ("%Y%m%d", "%y%m%d%H"),
    10: ("%Y%m%d%H",),
    12: ("%Y%m%d%H%M",),
    14: ("%Y%m%d%H%M%S",),
}
_YEARS_S = (631_152_000, 4_102_444_800)  # 1990 to 2100
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

_SIMPLE = {
    pa.int8(): "int",
    pa.int16(): "int",
    pa.int32(): "int",
    pa.uint8(): "int",
    pa.uint16(): "int",
    pa.int64(): "long",
    pa.uint32(): "long",
    pa.uint64(): "long",
    pa.float16(): "float",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
}


@dataclass(kw_only=True)
class DraftField:
    """One field of a draft: what its declaration says, and what was guessed about it."""

    source: str
    type: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    required: bool = True
    notes: list[str] = field(default_factory=list[str])
    unit: str | None = None  # in which its numbers would be times of these years
    time_format: str | None = None  # by which its digits would be


def null_words(columns: Mapping[str, pa.Array]) -> tuple[str, ...]:
    """Find words that stand where numbers do; never in a column of short codes."""
    found: set[str] = set()
    for column in columns.values():
        words = pa.array(NULL_WORDS)
        are_words = pc.is_in(column, value_set=words)
        rest = column.filter(pc.and_(pc.invert(are_words), pc.is_valid(column)))
        if len(rest) and pc.any(are_words).as_py() and _all(rest, NUMBER):
            found.update(column.filter(are_words).unique().to_pylist())
    return tuple(sorted(found))


def field_of(
    source: str, column: pa.Array, words: tuple[str, ...], *, is_csv: bool = False
) -> DraftField:
    """Draft one field by the values of its column; texts of CSV files may be lists in JSON."""
    if words and pt.is_string(column.type):
        is_null = pc.is_in(column, value_set=pa.array(words))
        column = pc.if_else(is_null, pa.scalar(None, pa.string()), column)
    made = DraftField(source=source, type="string", required=column.null_count == 0)
    values = column.drop_null()
    if not len(values):
        made.required = False
        made.notes.append("no value in the sample")
    elif pt.is_string(values.type) or pt.is_large_string(values.type):
        _text_field(made, values)
        if is_csv and made.type == "string" and (lists := list_type(values)) is not None:
            made.type = lists
    else:
        _typed_field(made, values)
    return made


def _text_field(made: DraftField, values: pa.Array) -> None:
    if _all(values, _INSTANT):
        made.type = "timestamptz"
    elif _all(values, _CLOCK):
        made.type, made.options = "timestamptz", {"timezone": "UTC"}
        made.notes.append("a guess: its times say no zone")
    elif _all(values, _DATE):
        made.type = "date"
    elif _all(values, _WHOLE):
        numbers = convert(values, pa.int64())  # of 19 digits some are none
        if not numbers.errors:
            made.type = "long"
            _as_digits_or_time(made, values, numbers.values)
    elif _all(values, NUMBER) and pc.any(pc.match_substring(values, ".")).as_py():
        made.type = "double"
        if pc.any(pc.match_substring_regex(values, "[eE]")).as_py():
            made.notes.append("some have an exponent, as a spreadsheet shortens long numbers")
    elif _all(values, "^(?i:true|false)$"):
        made.type = "boolean"


def _typed_field(made: DraftField, values: pa.Array) -> None:
    kind = values.type
    if pt.is_dictionary(kind):
        kind = kind.value_type
    if pt.is_timestamp(kind):
        made.type = "timestamptz"
        if kind.tz is None:
            made.options = {"timezone": "UTC"}
            made.notes.append("a guess: its times have no zone")
    elif pt.is_decimal(kind):
        made.type = f"decimal({kind.precision},{kind.scale})"
    elif kind in _SIMPLE:
        made.type = _SIMPLE[kind]
        if pt.is_integer(kind):
            _as_time(made, _longs(made, values))
    elif not pt.is_string(kind) and not pt.is_large_string(kind):
        made.type = type_of(kind) or ""
        if pt.is_fixed_size_list(kind) and not pt.is_nested(kind.value_type):
            made.options = {"length": kind.list_size}
    if not made.type:
        made.notes.append(f"left out: a contract has no type for {kind}")


def _longs(made: DraftField, values: pa.Array) -> pa.Array:
    """Return whole numbers as longs; where one is beyond them, all of the field are texts."""
    done = convert(values, pa.int64())
    if done.errors:
        made.type = "string"
        made.notes.append("some are beyond the numbers of a `long`")
    return done.values


def type_of(kind: pa.DataType) -> str | None:
    """Return the type of a contract for a column's type; None if there is none."""
    if pt.is_dictionary(kind):
        return type_of(kind.value_type)
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return _around("list<{}>", kind.value_type)
    if pt.is_map(kind):
        return _around("map<string, {}>", kind.item_type) if _is_text(kind.key_type) else None
    if pt.is_struct(kind):
        parts = [
            (kind.field(at).name, type_of(kind.field(at).type)) for at in range(kind.num_fields)
        ]
        if not parts or not all(is_plain(name) and said for name, said in parts):
            return None
        return f"struct<{', '.join(f'{name}: {said}' for name, said in parts)}>"
    if pt.is_timestamp(kind):
        return "timestamptz" if kind.tz is not None else None
    if pt.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pt.is_time(kind):
        return "time"
    if pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
        return "binary"
    is_text = _is_text(kind) or getattr(kind, "extension_name", "") == "arrow.uuid"
    return "string" if is_text else _SIMPLE.get(kind)


def _around(form: str, inner: pa.DataType) -> str | None:
    said = type_of(inner)
    return None if said is None else form.format(said)


def _is_text(kind: pa.DataType) -> bool:
    return pt.is_string(kind) or pt.is_large_string(kind)


def _as_digits_or_time(made: DraftField, texts: pa.Array, numbers: pa.Array) -> None:
    """Note by which form digits would be times; else what `_as_time` does."""
    if _DIGITS_NAME.search(_snake(made.source)):
        made.time_format = _digits_form(texts)
    if made.time_format is None:
        _as_time(made, numbers)


def _as_time(made: DraftField, numbers: pa.Array) -> None:
    """Note in which unit whole numbers would be times; take them for times where the name says so."""
    least, most = pc.min_max(numbers).as_py().values()
    if least is None or made.type == "string":
        return
    fits = (
        u
        for u, per_s in _UNITS.items()
        if _YEARS_S[0] * per_s <= least and most <= _YEARS_S[1] * per_s
    )
    made.unit = next(fits, None)
    if made.unit is not None and TIME_NAME.search(_snake(made.source)):
        take_as_time(made)


def take_as_time(made: DraftField) -> None:
    """Declare a field of whole numbers to be one of times."""
    made.type, made.options = "timestamptz", {"unit": made.unit}
    made.notes.append("a guess, by the size of its numbers")


def take_as_digits(made: DraftField) -> None:
    """Declare a field of digits to be one of times."""
    made.type, made.options = "timestamptz", {"time_format": made.time_format, "timezone": "UTC"}
    made.notes.append("a guess, by its digits: its times say no zone")


def _digits_form(texts: pa.Array) -> str | None:
    """Return the form by which all are times of these years; None if none or several do."""
    shortest, longest = pc.min_max(pc.binary_length(texts)).as_py().values()
    forms = _DIGITS_FORMS.get(longest, ()) if shortest == longest else ()
    may = [form for form in forms if _are_times(texts[:1], form)]  # seldom: one costs little
    fitting = [form for form in may if _are_times(texts.unique(), form)]
    return fitting[0] if len(fitting) == 1 else None


def _are_times(texts: pa.Array, form: str) -> bool:
    declared = StreamField(type=FieldType.parse("timestamptz"), timezone="UTC", time_format=form)
    done = convert_field(texts, declared)
    if done.errors:
        return False
    first, last = (each.timestamp() for each in pc.min_max(done.values).as_py().values())
    return _YEARS_S[0] <= first and last <= _YEARS_S[1]


def _snake(name: str) -> str:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def _all(values: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())
