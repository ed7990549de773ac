"""Inspect the footer of a data file for facts that its manifest entry lacks or has wrong."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.table.name_mapping import NameMapping

from headrace.iceberg import schema
from headrace.storage.footer import read_footer
from headrace.storage.inputs import open_input, reading

Leaf = tuple[int | None, pa.DataType]  # a column of a Parquet file: its field id and its type


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """How a file was written.

    `unproved` are the field ids of text or binary columns for which a row group has values but no
    minimum or maximum, so that the range of their values is unknown. `bytes_only` are the field ids
    of binary columns that are not marked as text. `codecs` are pyarrow's names.
    """

    unproved: frozenset[int]
    bytes_only: frozenset[int]
    codecs: frozenset[str]


def inspect(path: str, *, io: FileIO, mapping: NameMapping | None = None) -> Inspection:
    """Read the footer of a data file; `inspected` caches the result.

    `mapping` maps column names to field ids, for files without field ids.

    Raises:
        CorruptFileError: If the file is missing or its footer damaged.

    """
    with reading(path), open_input(io, path) as source:
        footer = read_footer(source, path=path)
    return inspect_footer(footer, mapping=mapping)


def inspect_footer(footer: pq.FileMetaData, *, mapping: NameMapping | None = None) -> Inspection:
    """Inspect a footer that was read already. Pure."""
    leaves = _leaves(footer, mapping)
    first = [footer.row_group(0).column(at) for at in range(len(leaves)) if footer.num_row_groups]
    return Inspection(
        unproved=_unproved(footer, [(key if _may_be_long(kind) else None) for key, kind in leaves]),
        bytes_only=frozenset(key for key, kind in leaves if key is not None and _is_bytes(kind)),
        codecs=frozenset(chunk.compression for chunk in first),  # a file is written with one
    )


def unproved_bounds(footer: pq.FileMetaData, *, among: Collection[int]) -> frozenset[int]:
    """Return those of some columns for which a row group has values but no bounds, by id. Pure.

    Costs nothing for a file of one row group, whose bounds cannot come from another one.
    """
    if footer.num_row_groups < 2 or not among:
        return frozenset()
    return _unproved(footer, [key if key in among else None for key, _ in _leaves(footer, None)])


def _unproved(footer: pq.FileMetaData, ids: Sequence[int | None]) -> frozenset[int]:
    """Check the columns of a file that have an id; `ids` is in the order of the columns."""
    groups = [footer.row_group(at) for at in range(footer.num_row_groups)]
    return frozenset(
        key
        for at, key in enumerate(ids)
        if key is not None and not all(_is_bounded(group.column(at)) for group in groups)
    )


def _is_bounded(chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether a row group has a minimum and maximum, or no values at all."""
    if not chunk.num_values:
        return True
    statistics = chunk.statistics
    if statistics is None:
        return False
    has_none = statistics.has_null_count and statistics.null_count == chunk.num_values
    return statistics.has_min_max or has_none


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _may_be_long(kind: pa.DataType) -> bool:
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return is_text or _is_bytes(kind) or pa.types.is_fixed_size_binary(kind)


def _leaves(footer: pq.FileMetaData, mapping: NameMapping | None) -> list[Leaf]:
    """List the columns of a Parquet file in their order: field id, if any, and type."""
    found = footer.schema.to_arrow_schema()
    known = {field.name: field for field in schema.identified(found, mapping)}
    return [leaf for field in found for leaf in _leaves_of(known.get(field.name, field))]


def _leaves_of(field: pa.Field) -> Iterator[Leaf]:
    children = _children(field.type)
    if not children:
        yield schema.field_id(field), field.type
    for child in children:
        yield from _leaves_of(child)


def _children(kind: pa.DataType) -> Sequence[pa.Field]:
    return [kind.field(at) for at in range(kind.num_fields)] if pa.types.is_nested(kind) else []
