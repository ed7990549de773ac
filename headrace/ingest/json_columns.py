"""The columns of sampled JSON lines, for a draft: one for each key, also inside of nested objects."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from headrace.definitions.stream_field import path_of
from headrace.ingest.sampling import Sample

_DEPTH_MAX = 4  # of objects that a draft looks into


def json_columns(sample: Sample) -> dict[str, pa.Array]:
    """Return each key of the sample's records as a column; values inside of objects by their paths.

    Values that are no texts stay as JSON has them. A key of mixed types has a column of no type.
    """
    records: list[Mapping[str, Any]] = []
    for line in (*sample.heads, *sample.lines):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(_flat(record))  # pyright: ignore[reportUnknownArgumentType]
    valued = {name for record in records for name, value in record.items() if value is not None}
    objects = {each for name in valued for each in _objects(name)}
    names = dict.fromkeys(name for record in records for name in record)
    return {
        # what is an object in places and a value in others has no type
        name: _no_type(len(records))
        if name in objects
        else _json_column([record.get(name) for record in records])
        for name in names
        if (name not in objects or name in valued) and not _objects(name) & valued
    }


def _objects(name: str) -> set[str]:
    """Name the objects that a path goes through, as keys and paths; none for a plain key."""
    path = path_of(name)
    if path is None:
        return set()
    inner = {"$." + ".".join(path[:length]) for length in range(2, len(path))}
    return {path[0], *inner}


def _flat(record: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Name the values inside of nested objects by their paths; keys with dots have none."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        plain = key and "." not in key and len(path) < _DEPTH_MAX
        if isinstance(value, dict) and value and plain:
            found |= _flat(value, (*path, key))  # pyright: ignore[reportUnknownArgumentType]
        else:
            found["$." + ".".join((*path, key)) if path else key] = value
    return found


def _json_column(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {str} or kinds <= {bool}:
        return pa.array(values)
    if kinds <= {int, float} or kinds <= {list}:
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError):
            pass
    return _no_type(len(values))


def _no_type(count: int) -> pa.Array:
    """Return a column of no type that a contract has."""
    return pa.array([{}] * count, pa.struct([]))
