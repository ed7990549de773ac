"""Columns of values that a writer's schema gives types: each converted to the contract's type at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.definitions.stream import Stream
from headrace.ingest.arrow_arrays import array_of
from headrace.ingest.decoding.decoded import Decoded, Violation, in_order, refusal
from headrace.ingest.time_forms import convert_field, holds_field
from headrace.ingest.values import NAIVE_TIME, OUT_OF_RANGE, WRONG_TYPE, convert, holds

NAIVE = pa.timestamp("us")  # a local time, which is no moment


Values = list[Any] | pa.Array


@dataclass(frozen=True, kw_only=True)
class Group:
    """Records of one schema, column by column.

    Args:
        index: The place of each record in its batch.
        columns: The values of each field of the writer, and their type; None where they have one
            that no contract can declare, such as a map. Times and dates are numbers; of undeclared
            fields it matters only where there is a value.

    """

    index: np.ndarray
    columns: Mapping[str, tuple[Values, pa.DataType | None]]


def assemble(groups: Sequence[Group], violations: dict[int, Violation], stream: Stream) -> Decoded:
    """Convert the fields of the contract, found by name; records in the order of the batch."""
    strict = stream.unknown_fields != "ignore"
    declared = {field.source_name or name for name, field in stream.fields.items()}
    parts: list[tuple[np.ndarray, dict[str, pa.Array]]] = []
    unknown: dict[int, list[str]] = {}
    for group in groups:
        index = group.index
        columns: dict[str, pa.Array] = {}
        bad: set[int] = set()
        for name, field in stream.fields.items():
            nothing = pa.nulls(len(index)), pa.null()
            values, kind = group.columns.get(field.source_name or name, nothing)
            columns[name] = _converted(name, values, kind, stream, index, violations, bad)
        if strict:
            for name in group.columns.keys() - declared:
                for at in _there(group.columns[name][0]):
                    unknown.setdefault(int(index[at]), []).append(name)
        if bad:
            kept = np.delete(np.arange(len(index)), list(bad))
            taken = array_of(kept, pa.int64())
            index = index[kept]
            columns = {name: column.take(taken) for name, column in columns.items()}
        parts.append((index, columns))
    if not parts:
        return Decoded(index=np.empty(0, np.int64), columns={}, violations=violations)
    index = np.concatenate([at for at, _ in parts])
    columns = {name: pa.concat_arrays([part[name] for _, part in parts]) for name in stream.fields}
    index, columns = in_order(index, columns)
    types: dict[str, pa.DataType | None] = {}
    for name in sorted({name for names in unknown.values() for name in names}):
        types[name] = _type_of(name, groups)
        there = [True if name in unknown.get(at, ()) else None for at in index.tolist()]
        columns[name] = pa.array(there, pa.bool_())
    return Decoded(index=index, columns=columns, violations=violations, types=types)


def _type_of(name: str, groups: Sequence[Group]) -> pa.DataType | None:
    """Return the type that all writers give a field; None if they differ."""
    kinds = {group.columns[name][1] for group in groups if name in group.columns}
    return kinds.pop() if len(kinds) == 1 else None


def _there(values: Values) -> Sequence[int]:
    if isinstance(values, list):
        return [at for at, value in enumerate(values) if value is not None]
    if not values.null_count:
        return range(len(values))
    return np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False)).tolist()


def _converted(
    name: str,
    values: Values,
    kind: pa.DataType | None,
    stream: Stream,
    index: np.ndarray,
    violations: dict[int, Violation],
    bad: set[int],
) -> pa.Array:
    field = stream.fields[name]
    declared, wanted = field.type.text, field.type.arrow
    fits = field.plain_times and kind != NAIVE and kind is not None and holds(kind, wanted)
    if fits or (kind is not None and not field.plain_times and holds_field(kind, field)):
        column, errors = _column(values, kind)
        done = convert(column, wanted) if fits else convert_field(column, field)
        errors |= done.errors
        found = done.values
    else:
        code = NAIVE_TIME if kind == NAIVE and pa.types.is_timestamp(wanted) else WRONG_TYPE
        errors = dict.fromkeys(_there(values), code)
        found = pa.nulls(len(values), wanted)
    for at, code in errors.items():
        bad.add(at)
        violations.setdefault(int(index[at]), refusal(name, code, values[at], declared=declared))
    return found


def _column(values: Values, kind: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    """Make a column; a value that its type cannot hold, as a far time, becomes null and an error."""
    if not isinstance(values, list):
        return values.cast(kind), {}
    try:
        return pa.array(values, kind), {}
    except (pa.ArrowInvalid, OverflowError):
        pass
    held: list[Any] = []
    errors: dict[int, str] = {}
    for at, value in enumerate(values):
        try:
            pa.scalar(value, kind)
            held.append(value)
        except (pa.ArrowInvalid, OverflowError):
            held.append(None)
            errors[at] = OUT_OF_RANGE
    return pa.array(held, kind), errors
