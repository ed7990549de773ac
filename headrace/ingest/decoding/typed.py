"""Columns of values that a writer's schema gives types: each converted to the contract's type at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.definitions.stream import Stream
from headrace.ingest.decoding.decoded import Decoded, Violation, refusal
from headrace.ingest.time_forms import convert_field, holds_field
from headrace.ingest.values import NAIVE_TIME, OUT_OF_RANGE, WRONG_TYPE, convert, holds

NAIVE = pa.timestamp("us")  # a local time, which is no moment


@dataclass(frozen=True, kw_only=True)
class Group:
    """Records of one schema, column by column.

    Args:
        index: The place of each record in its batch.
        columns: The values of each field of the writer, and their type; None where they have one
            that no contract can declare, such as a map.

    """

    index: Sequence[int]
    columns: Mapping[str, tuple[Sequence[Any], pa.DataType | None]]


def assemble(groups: Sequence[Group], violations: dict[int, Violation], stream: Stream) -> Decoded:
    """Convert the fields of the contract, found by name; records in the order of the batch."""
    strict = stream.unknown_fields != "ignore"
    declared = {field.source_name or name for name, field in stream.fields.items()}
    parts: list[tuple[np.ndarray, dict[str, pa.Array]]] = []
    unknown: dict[int, list[str]] = {}
    for group in groups:
        index = np.array(group.index, dtype=np.int64)
        columns: dict[str, pa.Array] = {}
        bad: set[int] = set()
        for name, field in stream.fields.items():
            nothing = [None] * len(index), pa.null()
            values, kind = group.columns.get(field.source_name or name, nothing)
            columns[name] = _converted(name, values, kind, stream, group.index, violations, bad)
        if strict:
            for name in group.columns.keys() - declared:
                for place, value in zip(group.index, group.columns[name][0], strict=True):
                    if value is not None:
                        unknown.setdefault(place, []).append(name)
        kept = np.array([at for at in range(len(index)) if at not in bad], dtype=np.int64)
        if len(kept) < len(index):
            taken = pa.array(kept.tolist(), pa.int64())
            columns = {name: column.take(taken) for name, column in columns.items()}
        parts.append((index[kept], columns))
    if not parts:
        return Decoded(index=np.empty(0, np.int64), columns={}, violations=violations)
    index = np.concatenate([at for at, _ in parts])
    order = np.argsort(index, kind="stable")
    ordered = pa.array(order.tolist(), pa.int64())
    columns = {
        name: pa.concat_arrays([part[name] for _, part in parts]).take(ordered)
        for name in stream.fields
    }
    index = index[order]
    for name in sorted({name for names in unknown.values() for name in names}):
        there = [True if name in unknown.get(at, ()) else None for at in index.tolist()]
        columns[name] = pa.array(there, pa.bool_())
    return Decoded(index=index, columns=columns, violations=violations)


def _converted(
    name: str,
    values: Sequence[Any],
    kind: pa.DataType | None,
    stream: Stream,
    index: Sequence[int],
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
        errors = {at: code for at, value in enumerate(values) if value is not None}
        found = pa.nulls(len(values), wanted)
    for at, code in errors.items():
        bad.add(at)
        violations.setdefault(index[at], refusal(name, code, values[at], declared=declared))
    return found


def _column(values: Sequence[Any], kind: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    """Make a column; a value that its type cannot hold, as a far time, becomes null and an error."""
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
