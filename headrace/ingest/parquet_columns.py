"""The columns of sampled Parquet files, for a draft: by name over all files, values inside of structs by path."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

_DEPTH_MAX = 4  # of structs that a draft looks into


def parquet_columns(batches: Sequence[pa.RecordBatch]) -> dict[str, pa.Array]:
    """Return each column of the sample; a file that lacks one has nulls there.

    A column of null type in one file and of another type in the next has that other type. One of types
    that do not go together is a column of no type.
    """
    flat = [dict(_flat(batch)) for batch in batches]
    counts = [batch.num_rows for batch in batches]
    names = dict.fromkeys(name for each in flat for name in each)
    return {name: _joined([each.get(name) for each in flat], counts) for name in names}


def _flat(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        yield from _parts(name, column, ())


def _parts(name: str, column: pa.Array, path: tuple[str, ...]) -> Iterator[tuple[str, pa.Array]]:
    plain = name and "." not in name and len(path) < _DEPTH_MAX
    if pa.types.is_struct(column.type) and column.type.num_fields and plain:
        for child in (column.type.field(at).name for at in range(column.type.num_fields)):
            yield from _parts(child, pc.struct_field(column, child), (*path, name))
    else:
        yield "$." + ".".join((*path, name)) if path else name, column


def _joined(parts: Sequence[pa.Array | None], counts: Sequence[int]) -> pa.Array:
    known = [each for each in parts if each is not None and not pa.types.is_null(each.type)]
    try:
        kind = pa.unify_schemas(
            [pa.schema([("x", each.type)]) for each in known] or [pa.schema([("x", pa.null())])],
            promote_options="permissive",
        ).field("x")
        arrays = [
            pa.nulls(count, kind.type) if each is None else each.cast(kind.type)
            for each, count in zip(parts, counts, strict=True)
        ]
        return pa.concat_arrays(arrays) if arrays else pa.nulls(0)
    except (pa.ArrowException, NotImplementedError):
        return pa.array([{}] * sum(counts), pa.struct([]))  # of no type that a contract has
