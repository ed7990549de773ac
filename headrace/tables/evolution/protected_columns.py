"""Columns something depends on: partitioning, sort order, keys, a stream's contract, a feature view."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata

from headrace.definitions.properties import CLUSTER_BY, FEATURE_VIEW_PROPERTY, STREAM_PROPERTY
from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT, renamed_coordinates
from headrace.iceberg import partitions

DROP, RENAME, WIDEN, RELAX = "dropped", "renamed", "widened", "made optional"


@dataclass(frozen=True)
class Role:
    """What a column is used for, and which changes that use forbids."""

    what: str
    forbids: frozenset[str]


def roles_of(
    metadata: TableMetadata, *, deleted_by: Collection[int] = ()
) -> Mapping[int, tuple[Role, ...]]:
    """Find the roles of all columns that have one, by field id. Pure.

    Columns of older partition specs and of equality deletes (`deleted_by`) count: on files whose
    partition or delete column is gone, other readers fail, and DuckDB 1.5 crashes.
    """
    return _together((*_of_format(metadata, deleted_by), *_by_name(metadata)))


def roles_by_id(
    metadata: TableMetadata, *, deleted_by: Collection[int] = ()
) -> Mapping[int, tuple[Role, ...]]:
    """Find the roles that are tied to a column's id, not to its name. Pure.

    A change that leaves some column of the same name keeps the roles that are tied to the name.
    """
    return _together(_of_format(metadata, deleted_by))


def _together(roles: Iterable[tuple[int, Role]]) -> dict[int, tuple[Role, ...]]:
    found: dict[int, tuple[Role, ...]] = {}
    for field_id, role in roles:
        if role not in found.get(field_id, ()):
            found[field_id] = (*found.get(field_id, ()), role)
    return found


def _of_format(metadata: TableMetadata, deleted_by: Collection[int]) -> Iterator[tuple[int, Role]]:
    yield from _by_id(metadata)
    deleting = Role("tells which rows are deleted, until compaction", frozenset({DROP, WIDEN}))
    yield from ((field_id, deleting) for field_id in deleted_by)


def _by_id(metadata: TableMetadata) -> Iterator[tuple[int, Role]]:
    terms = partitions.all_terms(metadata)
    for spec_id, spec in metadata.specs().items():
        age = "" if spec_id == metadata.default_spec_id else " in an older spec"
        for each, term in zip(spec.fields, terms[spec_id], strict=True):
            yield each.source_id, Role(f"partitions it{age} (`{term}`)", frozenset({DROP}))
    for each in metadata.sort_order().fields:
        yield each.source_id, Role("is in its sort order", frozenset({DROP}))
    for field_id in metadata.schema().identifier_field_ids:
        yield field_id, Role("is part of its row identity", frozenset({DROP}))


def _by_name(metadata: TableMetadata) -> Iterator[tuple[int, Role]]:
    schema, properties = metadata.schema(), metadata.properties
    fixed = frozenset({DROP, RENAME, WIDEN, RELAX})
    yield from _named(schema, COORDINATES.names, Role("is a row coordinate headrace writes", fixed))
    former = renamed_coordinates([each.name for each in schema.fields])
    role = Role("is a row coordinate by its former name", fixed - {RENAME})
    yield from _named(schema, former, role)
    if STREAM_PROPERTY in properties:
        role = Role("is a time every record of its stream has", fixed)
        yield from _named(schema, (EVENT_TIME, KNOWN_AT), role)
    clustered = json.loads(properties.get(CLUSTER_BY, "[]"))
    role = Role(f"is declared its order of rows (`{CLUSTER_BY}`)", frozenset({DROP, RENAME}))
    yield from _named(schema, clustered, role)
    if FEATURE_VIEW_PROPERTY in properties:
        view = json.loads(properties[FEATURE_VIEW_PROPERTY])
        times = (view.get("event_time", EVENT_TIME), view.get("known_at", KNOWN_AT))
        names = (*view.get("entity", ()), *times)
        role = Role("is an entity or a time of the feature view", frozenset({DROP, RENAME, RELAX}))
        yield from _named(schema, names, role)


def _named(schema: Schema, names: Iterable[str], role: Role) -> Iterator[tuple[int, Role]]:
    for field in schema.fields:
        if field.name in names:
            yield field.field_id, role
