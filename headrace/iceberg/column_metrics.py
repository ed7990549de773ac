"""Which columns get bounds in manifests: those used for pruning, not all columns of a wide table.

Planning reads every entry of the manifests it opens. Reading an entry with bounds of 200 columns
takes 155 µs, with bounds of 32 columns 101 µs, and most columns are never used for pruning.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.types import PrimitiveType

from headrace.definitions.properties import CLUSTER_BY, FEATURE_VIEW_PROPERTY, KEY
from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT
from headrace.iceberg.standard_properties import METRICS_COLUMN, METRICS_DEFAULT

BOUNDED_MAX = 32  # leaf columns with bounds; columns known to prune always have them
_BOUNDS, _COUNTS = "truncate(16)", "counts"
# names of files often differ behind their first 16 characters
WHOLE_SOURCES = {f"{METRICS_COLUMN}{COORDINATES.names[0]}": "full"}
# source coordinates and times of rows, in every table of a stream or feature view
_ALWAYS = (EVENT_TIME, KNOWN_AT, *COORDINATES.names)


def limits(schema: Schema, spec: PartitionSpec, properties: Mapping[str, str]) -> dict[str, str]:
    """Return the properties that limit bounds to columns that prune; empty if nothing is needed.

    Partition, cluster, key and time columns get bounds, then the first other columns up to
    `BOUNDED_MAX` in all. The remaining columns keep counts of values and nulls. Existing settings
    of a column, and an existing default other than bounds, stay.

    Pure, and idempotent: once its result is set, it returns nothing.
    """
    if properties.get(METRICS_DEFAULT, _BOUNDS) != _BOUNDS:
        return {}
    said = {name for name in properties if name.startswith(METRICS_COLUMN)}
    if said - WHOLE_SOURCES.keys():
        return {}
    leaves = [f.name for f in schema.fields if isinstance(f.field_type, PrimitiveType)]
    first = [name for name in dict.fromkeys(_pruning(schema, spec, properties)) if name in leaves]
    others = [name for name in leaves if name not in first]
    bounded = [*first, *others[: max(0, BOUNDED_MAX - len(first))]]
    if len(bounded) == len(leaves):
        return {}
    bounds = {f"{METRICS_COLUMN}{name}": _BOUNDS for name in bounded}
    return {METRICS_DEFAULT: _COUNTS} | {
        name: value for name, value in bounds.items() if name not in said
    }


def renamed(properties: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str | None]:
    """Move the properties of renamed columns to their new names; None removes one. Pure."""
    said = {
        old: properties[f"{METRICS_COLUMN}{old}"]
        for old in names
        if f"{METRICS_COLUMN}{old}" in properties
    }
    gone: dict[str, str | None] = {f"{METRICS_COLUMN}{old}": None for old in said}
    return gone | {f"{METRICS_COLUMN}{names[old]}": value for old, value in said.items()}


def _pruning(schema: Schema, spec: PartitionSpec, properties: Mapping[str, str]) -> Iterator[str]:
    for field in spec.fields:
        yield schema.find_column_name(field.source_id) or ""
    yield from columns_of(properties, KEY)
    yield from columns_of(properties, CLUSTER_BY)
    view = _read(properties, FEATURE_VIEW_PROPERTY)
    if isinstance(view, dict):
        yield from (str(name) for name in view.get("entity", ()))
        yield from (str(view[key]) for key in ("event_time", "known_at") if key in view)
    yield from _ALWAYS


def columns_of(properties: Mapping[str, str], key: str) -> tuple[str, ...]:
    """Read a property that is a JSON list of columns; empty if it is missing or invalid."""
    said = _read(properties, key)
    return tuple(str(name) for name in said) if isinstance(said, list) else ()


def _read(properties: Mapping[str, str], key: str) -> Any:  # noqa: ANN401  (whatever JSON holds)
    try:
        return json.loads(properties.get(key, "null"))
    except json.JSONDecodeError:  # written by hand
        return None
