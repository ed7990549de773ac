"""The columns of every declared table: type, description, and the columns they come from.

Pure: read from declarations and dbt's manifest, before any table exists.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from headrace.definitions.sample_set import FeatureUse, Label, SampleSet
from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT, Stream
from headrace.definitions.type_text import text_of_type
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.windows import Windows
from headrace.identifiers import TableName
from orchestration.lib.keys import table_key

_TIME, _TEXT = "timestamptz", "string"
_COORDINATES = {
    "_source": "Where the record came from: a file or a topic.",
    "_source_partition": "Partition of the source; 0 for files.",
    "_source_offset": "Place of the record in its source.",
    "_source_time": "Time that the source gave the record; null without one.",
}
_LABEL_TYPES = {"exists": "int", "count": "long"}


BUILT = frozenset({"model", "seed"})  # nodes of dbt that are tables


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """One column of a table; `sources` pairs each table that it comes from with a column there."""

    name: str
    type: str
    description: str
    nullable: bool = True
    sources: tuple[tuple[TableName, str], ...] = ()


Tables = Mapping[TableName, tuple[ColumnFacts, ...]]


def columns_of(
    streams: Iterable[Stream],
    sample_sets: Iterable[SampleSet],
    manifest: Mapping[str, Any] | None,
    *,
    window_views: Mapping[TableName, Windows],
    window_rows: Iterable[WindowRows] = (),
) -> Tables:
    """Describe the columns of raw, staging, feature and sample tables."""
    known = {stream.table: tuple(_stream_columns(stream)) for stream in streams}
    nodes: Iterable[Mapping[str, Any]] = (manifest or {"nodes": {}})["nodes"].values()
    for node in nodes:
        if node["resource_type"] in BUILT:
            table = TableName(node["schema"], node.get("alias") or node["name"])
            known[table] = tuple(_model_columns(node))
    for each in window_rows:
        known[each.table] = tuple(_row_columns(each, known))
    for each in sample_sets:
        known[each.table] = tuple(_sample_columns(each, known, window_views))
    return known


def column_schema(columns: Iterable[ColumnFacts]) -> dg.TableSchema:
    """Return the columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=each.name,
                type=each.type,
                description=each.description,
                constraints=dg.TableColumnConstraints(nullable=each.nullable),
            )
            for each in columns
        ]
    )


def sources_of(columns: Iterable[ColumnFacts]) -> dg.TableColumnLineage:
    """Return the lineage of columns as Dagster shows it."""
    return lineage_of({each.name: each.sources for each in columns if each.sources})


def lineage_of(
    sources: Mapping[str, Iterable[tuple[TableName, str]]],
) -> dg.TableColumnLineage:
    """Return Dagster's column lineage."""
    return dg.TableColumnLineage(
        deps_by_column={
            name: [
                dg.TableColumnDep(asset_key=table_key(table), column_name=column)
                for table, column in found
            ]
            for name, found in sources.items()
        }
    )


def dataset_lineage(sample_set: SampleSet, columns: Iterable[ColumnFacts]) -> tuple[Any, Any]:
    """Return the columns of a dataset's versions and their lineage: those of the sample table."""
    kept = tuple(columns)
    return column_schema(kept), lineage_of({c.name: [(sample_set.table, c.name)] for c in kept})


def _stream_columns(stream: Stream) -> Iterable[ColumnFacts]:
    said = {stream.column_of(name): field.doc or "" for name, field in stream.fields.items()}
    times = {
        EVENT_TIME: f"When it happened: `{stream.event_time}` of the record.",
        KNOWN_AT: _known_at(stream),
    }
    for field in stream.table_schema():
        text = said.get(field.name) or times.get(field.name) or _COORDINATES.get(field.name)
        yield ColumnFacts(
            name=field.name,
            type=text_of_type(field.type),
            description=text or f"Field `{field.name}` of the record.",
            nullable=field.nullable,
        )


def _known_at(stream: Stream) -> str:
    source = "the time of ingestion"
    if stream.known_at.column is not None:
        source = f"`{stream.known_at.column}` of the record"
    elif stream.known_at.after_event is not None:
        source = f"the event time plus {stream.known_at.after_event}"
    return f"When serving could first use the row: {source}."


def _model_columns(node: Mapping[str, Any]) -> Iterable[ColumnFacts]:
    for name, column in node["columns"].items():
        required = any(each.get("type") == "not_null" for each in column.get("constraints") or ())
        yield ColumnFacts(
            name=name,
            type=column.get("data_type") or "",
            description=column.get("description") or _COORDINATES.get(name, ""),
            nullable=not required,
        )


def _sample_columns(
    sample_set: SampleSet, known: Tables, window_views: Mapping[TableName, Windows]
) -> Iterable[ColumnFacts]:
    exposures = sample_set.exposures
    yield _copied("sample_id", exposures.table, exposures.id, known, text="Id of the sample.")
    yield _copied(EVENT_TIME, exposures.table, exposures.at, known, text="When it was exposed.")
    for name in (*exposures.entities, *exposures.columns):
        yield _copied(name, exposures.table, name, known)
    for use in sample_set.features:
        if use.view in window_views:
            yield from _window_columns(use, window_views[use.view])
            continue
        for column, name in zip(use.columns, use.column_names, strict=True):
            yield _copied(name, use.view, column, known)
        for column, what in ((EVENT_TIME, "Event time"), (KNOWN_AT, "`known_at`")):
            text = f"{what} of the row of `{use.view}` that was used; null without one."
            yield _copied(f"{use.name}__{column}", use.view, column, known, text=text)
    for use in sample_set.features if sample_set.logged else ():
        text = f"Whether the values of `{use.view}` are those of the serving log."
        yield ColumnFacts(name=f"{use.name}__logged", type="boolean", description=text)
    for label in sample_set.labels:
        yield from _label_columns(sample_set, label, known)
    fixed = (
        ("label_state", _TEXT, "`mature` when no label can change any more, else `pending`."),
        ("mature_at", _TIME, "Event time from which on all labels of the sample are complete."),
        ("keep_rate", "double", "Share of such samples that is kept; the inverse is its weight."),
    )
    for name, kind, text in fixed:
        yield ColumnFacts(name=name, type=kind, description=text, nullable=False)


def _window_columns(use: FeatureUse, windows: Windows) -> Iterable[ColumnFacts]:
    events, kinds = TableName.parse(windows.events), windows.schema()
    by_name = {column.name: column for column in windows.columns}
    for column, name in zip(use.columns, use.column_names, strict=True):
        if column not in by_name:
            continue  # the build says so
        slot = windows.slots[by_name[column].slot]
        length = timedelta(microseconds=by_name[column].window_us)
        what = f"{slot.take} of {slot.of}" if slot.of else slot.take
        yield ColumnFacts(
            name=name,
            type=text_of_type(kinds.field(column).type),
            description=f"{what} over the events of `{events}` in the {length} before.",
            sources=((events, slot.of or EVENT_TIME),),
        )


def _row_columns(rows: WindowRows, known: Tables) -> Iterable[ColumnFacts]:
    windows, events = rows.windows, TableName.parse(rows.windows.events)
    for name in windows.entity:
        yield _copied(name, events, name, known)
    for name, source in ((EVENT_TIME, EVENT_TIME), (KNOWN_AT, KNOWN_AT)):
        yield ColumnFacts(
            name=name,
            type=_TIME,
            description="The end of a tile, at which the values held and were known.",
            nullable=False,
            sources=((events, source),),
        )
    names = tuple(column.name for column in windows.columns)
    use = FeatureUse(view=TableName.parse(windows.view), columns=names)
    yield from _window_columns(use, windows)


def _label_columns(sample_set: SampleSet, label: Label, known: Tables) -> Iterable[ColumnFacts]:
    key = ((label.stream, sample_set.label_key(label)),)
    kind = _LABEL_TYPES.get(label.value)
    value = key if kind else ((label.stream, label.value), *key)
    what = {"exists": "1 if there is a row", "count": "Number of rows"}.get(
        label.value, f"First `{label.value}`"
    )
    found = _column(known, label.stream, label.value)
    yield ColumnFacts(
        name=label.name,
        type=kind or (found.type if found else ""),
        description=f"{what} of `{label.stream}` within {label.window} after the exposure.",
        sources=value,
    )
    yield ColumnFacts(
        name=f"{label.name}_at",
        type=_TIME,
        description="Event time of the first such row; null without one.",
        sources=((label.stream, EVENT_TIME), *key),
    )
    yield ColumnFacts(
        name=f"{label.name}_state",
        type=_TEXT,
        description="`pending`, `mature`, or `corrected` if it changed after it was mature.",
        sources=((label.stream, EVENT_TIME), *key),
    )


def _copied(
    name: str, table: TableName, column: str, known: Tables, *, text: str = ""
) -> ColumnFacts:
    found = _column(known, table, column)
    described = text or (found.description if found else "")
    return ColumnFacts(
        name=name,
        type=found.type if found else "",
        description=described or f"Column `{column}` of `{table}`.",
        nullable=not text or "null without" in text,
        sources=((table, column),),
    )


def _column(known: Tables, table: TableName, name: str) -> ColumnFacts | None:
    return next((each for each in known.get(table, ()) if each.name == name), None)


DEAD_LETTERS = tuple(
    ColumnFacts(name=name, type=kind, description=text, nullable=nullable)
    for name, kind, text, nullable in (
        ("stream", _TEXT, "The stream that refused the record.", False),
        ("contract_version", "int", "Version of the contract that refused it.", False),
        *((f.name, text_of_type(f.type), _COORDINATES[f.name], f.nullable) for f in COORDINATES),
        ("error_code", _TEXT, "Why, as a stable code.", False),
        ("field", _TEXT, "The field that was wrong; null if the whole record was.", True),
        ("reason", _TEXT, "Why, in words.", False),
        ("raw", "binary", "The record as it came.", False),
        ("recorded_at", _TIME, "When it was refused.", False),
        ("source_line", "long", "Line in the source file.", True),
        ("key", "binary", "Key of the record.", True),
        ("headers", "list<struct<name: string, value: binary>>", "Headers, in order.", True),
        ("source_time_type", _TEXT, "What the source's time means.", True),
        ("csv_header", "list<string>", "Header of the CSV file.", True),
        (
            "row_ipc",
            "binary",
            "A columnar record with its types: an Arrow stream of one row.",
            True,
        ),
        ("is_whole", "boolean", "False if the reader cut the record.", True),
        ("is_tombstone", "boolean", "Whether the value was null.", True),
    )
)
