"""Lists the feature views of a lake: what streams, window views and dbt models declare, and tables say."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from headrace.definitions.across import KnownTable
from headrace.definitions.feature_view import FeatureView
from headrace.definitions.load import Declarations, view_of
from headrace.definitions.properties import MODEL_PROPERTY
from headrace.definitions.type_text import text_of_type
from headrace.definitions.windows import resolve_windows
from headrace.tables.lake import OpenLake
from headrace.tables.readable import read_each
from headrace.tables.version import TableVersion

_TIMES = frozenset({"event_time", "known_at"})


@dataclass(frozen=True, kw_only=True)
class ListedView:
    """One feature view.

    Args:
        view: Its name, which sample sets use.
        made_by: What its rows are of, such as `stream items` or `dbt model features.item_ctr`.
        entity: Its key columns.
        ttl: How long after its event time a row is used; None for ever, or if it is not known yet.
        delay: How long after it was known a row is used.
        values: Its value columns with their types as contracts write them; a type is empty for a
            model that has not been built.
        rows: Of its table; None without one. A window view has no table.
        built_at: When the table last changed, to the millisecond; None without one.
        used_by: The sample sets that name it.

    """

    view: str
    made_by: str
    entity: tuple[str, ...]
    ttl: dt.timedelta | None
    delay: dt.timedelta
    values: Mapping[str, str]
    rows: int | None = None
    built_at: dt.datetime | None = None
    used_by: tuple[str, ...] = ()


def list_feature_views(
    declared: Declarations, models: Mapping[str, KnownTable], lake: OpenLake | None
) -> tuple[ListedView, ...]:
    """List every feature view by name, declared or built; `lake` is None if there is none yet.

    A table that cannot be read is as if it had not been built: `headrace tables health` names it.

    Raises:
        LakeError: If the tables of the lake cannot be listed.

    """
    found = {each.view: each for each in _declared(declared, models)}
    for version in () if lake is None else read_each(lake, lambda table: table.head()).found:
        built = _built(version, declared)
        if built is not None:
            found[built.view] = built
    users: dict[str, list[str]] = {}
    for sample_set in declared.sample_sets.values():
        for use in sample_set.features:
            users.setdefault(str(use.view), []).append(sample_set.name)
    return tuple(replace(found[name], used_by=tuple(users.get(name, ()))) for name in sorted(found))


def _declared(declared: Declarations, models: Mapping[str, KnownTable]) -> Iterator[ListedView]:
    for name, known in models.items():
        if known.entity:
            columns = (known.columns or frozenset()) - {*known.entity, *_TIMES}
            yield ListedView(
                view=name,
                made_by=f"dbt model {name.rpartition('.')[2]}",
                entity=known.entity,
                ttl=None,
                delay=dt.timedelta(0),
                values=dict.fromkeys(sorted(columns), ""),
            )
    for stream in declared.streams.values():
        view = stream.view()
        if view is not None:
            yield _of_view(view, stream.table_schema(), made_by=f"stream {stream.name}")
    tables = {stream.table for stream in declared.streams.values()}
    for window_view in declared.window_views.values():
        known = window_view.events in tables  # else its stream is broken, and its types unknown
        yield ListedView(
            view=window_view.name,
            made_by=f"window view on {window_view.events}",
            entity=window_view.entity,
            ttl=None,
            delay=window_view.delay,
            values=_types(resolve_windows(window_view, declared.streams.values()).schema())
            if known
            else {},
        )


def _of_view(view: FeatureView, schema: pa.Schema, *, made_by: str) -> ListedView:
    about = {*view.entity, view.event_time, view.known_at}
    values = [each for each in schema if each.name not in about and not each.name.startswith("_")]
    return ListedView(
        view=str(view.view),
        made_by=made_by,
        entity=view.entity,
        ttl=view.ttl,
        delay=view.delay,
        values=_types(pa.schema(values)),
    )


def _types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: text_of_type(field.type) for field in schema}


def _built(version: TableVersion, declared: Declarations) -> ListedView | None:
    view = view_of(version.name, version.properties, streams=declared.streams.values())
    if view is None:
        return None
    stream = next((s for s in declared.streams.values() if s.table == version.name), None)
    model = version.properties.get(MODEL_PROPERTY)
    made_by = f"dbt model {model.rpartition('.')[2]}" if model else "its table alone"
    if stream is not None:
        made_by = f"stream {stream.name}"
    at_ms = version.committed_at_ms
    return replace(
        _of_view(view, version.schema, made_by=made_by),
        rows=version.row_count,
        built_at=None if at_ms is None else dt.datetime.fromtimestamp(at_ms / 1000, tz=dt.UTC),
    )
