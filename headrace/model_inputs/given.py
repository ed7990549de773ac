"""Values that a caller gives, such as those of a request, as the columns that training read."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from headrace.errors import FeatureSpecError, FeatureSpecReason
from headrace.model_inputs.spec import FeatureSpec

_FLAGS = frozenset({bool, np.bool_})
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping)  # though they have elements
_MAY_BE_FRACTIONS = (float, np.floating, Decimal)


def typed(
    columns: Mapping[str, Sequence[Any]], inputs: FeatureSpec, types: pa.Schema
) -> dict[str, pa.Array]:
    """Convert values to the types of training, exactly.

    Raises:
        FeatureSpecError: If a column has values that its type does not hold; it names the column.

    """
    inputs.check(types, source="`types`")
    kinds = {name: types.field(name).type for name in inputs.columns}
    return {name: _column(columns[name], name, kind) for name, kind in kinds.items()}


def inferred(columns: Mapping[str, Sequence[Any]], inputs: FeatureSpec) -> dict[str, pa.Array]:
    """Convert values to the types that they show. Raises as `typed` does."""
    given = {name: _column(columns[name], name, None) for name in inputs.columns}
    untold = dict.fromkeys(inputs.dense, pa.float64()) | dict.fromkeys(inputs.sparse, pa.int64())
    untold |= dict.fromkeys(inputs.sequence, pa.list_(pa.float32()))
    for name, array in given.items():
        if _is_untold(array.type):
            given[name] = array.cast(untold[name])
    inputs.check(pa.schema([(name, each.type) for name, each in given.items()]), source="the rows")
    return given


def _column(values: Sequence[Any], name: str, kind: pa.DataType | None) -> pa.Array:
    try:
        return _as_shown(values) if kind is None else _exactly(values, kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        msg = f"values of column `{name}` do not have one type that training reads: {error}"
        reason = FeatureSpecReason.MIXED_TYPES
        raise FeatureSpecError(msg, reason=reason, column=name) from error


def _as_shown(values: Sequence[Any]) -> pa.Array:
    """Convert to the type that values show: flags beside other values show none.

    Raises:
        TypeError: If a text is in place of a list.
        ValueError: If there are such, or values of several types.

    """
    found = pa.array(values)
    given = _kinds(values, is_list=pt.is_list(found.type)) - {type(None)}
    if not given.isdisjoint(_FLAGS) and not given <= _FLAGS:
        msg = "booleans are beside values of other types"
        raise ValueError(msg)
    return found


def _exactly(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Convert to a type; unlike pyarrow's own conversion, no fraction is dropped and no flag a number.

    Raises:
        TypeError: If a text is in place of a list.
        ValueError: If the type does not hold a value.

    """
    element = kind.value_type if pt.is_list(kind) or pt.is_large_list(kind) else kind
    given = _kinds(values, is_list=element is not kind)
    if not given.isdisjoint(_FLAGS) and not pt.is_boolean(element):
        msg = f"a boolean is no value of type {element}"
        raise ValueError(msg)
    if pt.is_integer(element) and any(issubclass(each, _MAY_BE_FRACTIONS) for each in given):
        return pa.array(values).cast(kind)
    found = pa.array(values, kind)
    if pt.is_float32(element) or pt.is_float16(element):
        _refuse_overflow(found, values)
    return found


def _kinds(values: Sequence[Any], *, is_list: bool) -> set[type]:
    """Return the types of values, or of the elements of lists.

    Raises:
        TypeError: If a text or an object is in place of a list: its characters or names would be its elements.

    """
    if not is_list:
        return set(map(type, values))
    lists: list[Iterable[Any]] = [each for each in values if each is not None]
    for kind in set(map(type, lists)):
        if issubclass(kind, _NO_LISTS):
            msg = f"a value of type {kind.__name__} is no list"
            raise TypeError(msg)
    return set(map(type, itertools.chain.from_iterable(lists)))


def _refuse_overflow(found: pa.Array, values: Sequence[Any]) -> None:
    """Refuse finite numbers that became infinite.

    Raises:
        ValueError: Naming one.

    """
    is_list = not pt.is_floating(found.type)
    flat = found.flatten() if is_list else found
    if not pc.any(pc.is_inf(flat)).as_py():
        return
    lists = (each for each in values if each is not None)
    written = itertools.chain.from_iterable(lists) if is_list else values
    for narrow, wide in zip(flat.to_pylist(), written, strict=True):
        if narrow is not None and math.isinf(narrow) and not math.isinf(wide):
            msg = f"{wide!r} is beyond numbers of type {flat.type}"
            raise ValueError(msg)


def _is_untold(kind: pa.DataType) -> bool:
    """Whether there were only nulls or empty lists, so that the type is unknown."""
    return pt.is_null(kind) or (pt.is_list(kind) and pt.is_null(kind.value_type))
