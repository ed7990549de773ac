"""Lists in the cells of CSV files: JSON, as Python and most programs write lists of numbers."""

import json

import pyarrow as pa
import pyarrow.compute as pc

from headrace.ingest.decoding.json_values import CoercionError, Number, coerce, whole_number
from headrace.ingest.values import NOT_FINITE, WRONG_TYPE, Converted, convert, merged

_DECODER = json.JSONDecoder(parse_float=Number, parse_int=whole_number, parse_constant=Number)
_ELEMENTS = {
    pa.int64(): "long",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.string(): "string",
}
_NOT_JSON = ("NaN", "Infinity", "-Infinity")


def list_type(texts: pa.Array) -> str | None:
    """Return the type of a contract that holds all texts as lists in JSON; None if there is none."""
    if not pc.all(pc.match_substring_regex(texts, r"^\[.*\]$")).as_py():
        return None
    try:
        lists = pa.array([json.loads(text) for text in texts.to_pylist()])
    except (ValueError, OverflowError, RecursionError, pa.ArrowException):
        return None
    element = _ELEMENTS.get(lists.type.value_type)
    return None if element is None else f"list<{element}>"


def convert_lists(texts: pa.Array, wanted: pa.DataType) -> Converted:
    """Convert texts such as `[0.5, 1.25]` to lists; one that is cut short by `...` is refused."""
    found: list[list[object] | None] = []
    errors: dict[int, str] = {}
    read_as = _read_as(wanted)
    for row, text in enumerate(texts.to_pylist()):
        try:
            value = None if text is None else _DECODER.decode(text)
            _refuse_constants(value)
            found.append(coerce(value, read_as))
        except CoercionError as error:
            found.append(None)
            errors[row] = error.code
        except (ValueError, RecursionError):
            found.append(None)
            errors[row] = WRONG_TYPE
    return merged(Converted(texts, errors), convert(pa.array(found, read_as), wanted))


def _read_as(wanted: pa.DataType) -> pa.DataType:
    """Return what lists are read as before their values become those of the contract."""
    if pa.types.is_temporal(wanted.value_type):
        return pa.list_(pa.string())
    return pa.list_(pa.int64()) if pa.types.is_integer(wanted.value_type) else wanted


def _refuse_constants(value: object) -> None:
    """Refuse NaN and the infinities, which are no JSON.

    Raises:
        CoercionError: If the list has one.

    """
    for each in value if isinstance(value, list) else ():  # pyright: ignore[reportUnknownVariableType]
        if isinstance(each, Number) and each.text in _NOT_JSON:
            raise CoercionError(NOT_FINITE)


def lengths_of(column: pa.Array, wanted: int) -> dict[int, str]:
    """Say of each list that has not `wanted` values how many it has, or that some are null."""
    reasons: dict[int, str] = {}
    if not len(column):
        return reasons
    lengths = pc.list_value_length(column)
    for row, length in enumerate(lengths.to_pylist()):
        if length is not None and length != wanted:
            reasons[row] = f"has {length} values, and the contract says {wanted}"
    if column.values.null_count:
        for row in range(len(column)):
            nulls = column[row].values.null_count if column[row].is_valid else 0
            if nulls:
                reasons.setdefault(row, f"has {nulls} values that are null")
    return reasons
