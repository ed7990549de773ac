"""Columns of Parquet files by the names of a contract, also of values inside of structs."""

import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.stream import Stream
from headrace.definitions.stream_field import path_of


def named_columns(batch: pa.RecordBatch, stream: Stream) -> pa.RecordBatch:
    """Name columns as the contract does, and add those that it reads from inside of structs.

    A struct that is only read from is left out. What a file lacks on the way of a path is null.
    """
    names = batch.schema.names
    paths = {
        name: path
        for name, field in stream.fields.items()
        if field.source_name not in (None, *names) and (path := path_of(field.source_name or ""))
    }
    declared = {field.source_name or name for name, field in stream.fields.items()}
    roots = {path[0] for path in paths.values()} - declared
    kept = [at for at, name in enumerate(names) if name not in roots]
    columns = [batch.column(at) for at in kept]
    found = [stream.field_of(names[at]) for at in kept]
    for name, path in paths.items():
        if path[0] in names:
            columns.append(_inside(batch.column(names.index(path[0])), path[1:]))
            found.append(name)
    return pa.RecordBatch.from_arrays(columns, names=found)


def named_schema(schema: pa.Schema, stream: Stream) -> pa.Schema:
    """Return the columns that `named_columns` makes of batches of a file."""
    empty = [pa.nulls(0, field.type) for field in schema]
    return named_columns(pa.RecordBatch.from_arrays(empty, names=schema.names), stream).schema


def _inside(column: pa.Array, path: tuple[str, ...]) -> pa.Array:
    for step in path:
        is_struct = pa.types.is_struct(column.type)
        if not is_struct or column.type.get_field_index(step) < 0:
            return pa.nulls(len(column))
        column = pc.struct_field(column, step)
    return column
