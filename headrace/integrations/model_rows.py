"""Check a model's rows before they are written: values that a table cannot store are refused."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import ColumnReason, ContractError, ModelValueError

# years 1 to 9999: the range that every reader supports, including Python's datetime
_LIMITS: dict[pa.DataType, tuple[int, int]] = {
    pa.int64(): (-62_135_596_800_000_000, 253_402_300_799_999_999),
    pa.int32(): (-719_162, 2_932_896),
}
_ENDLESS = {
    2**63 - 1: "infinity",
    -(2**63 - 1): "-infinity",
    2**31 - 1: "infinity",
    -(2**31 - 1): "-infinity",
}
_EXAMPLE_COLUMNS_MAX = 4
_EXAMPLE_CHARACTERS_MAX = 120


def checked_rows(
    batches: Iterable[pa.RecordBatch], *, wanted: pa.Schema, names: Sequence[str], table: str
) -> Iterator[pa.RecordBatch]:
    """Yield the columns `names` of each batch, after checking all its columns.

    Args:
        batches: The model's rows, with the columns of `wanted`.
        wanted: The model's columns; one that is not nullable must not hold a null.
        names: The columns that go to the table.
        table: What to call the model in errors.

    Raises:
        ContractError: If a required column holds a null.
        ModelValueError: If a time lies outside the years 1 to 9999, as `infinity` does.

    """
    for batch in batches:
        for position, column in enumerate(wanted):
            values = batch.column(position)
            if not column.nullable and values.null_count:
                detail = f"required column `{column.name}` is null or missing"
                reason = ColumnReason.NULL_VALUE
                raise ContractError(table, detail, reason=reason, column=column.name)
            _refuse_beyond(batch, values, column=column.name, table=table)
        yield batch.select(list(names))


def _refuse_beyond(batch: pa.RecordBatch, values: pa.Array, *, column: str, table: str) -> None:
    for times in _times(values):
        lowest, highest = _LIMITS[times.type]
        found = pc.min_max(times).as_py()
        if found["min"] is None or (lowest <= found["min"] and found["max"] <= highest):
            continue
        value = found["max"] if found["max"] > highest else found["min"]
        text = _ENDLESS.get(value, "beyond the years 1 to 9999")
        where = ""
        if len(times) == len(values):  # nested values do not tell their row
            where = _example(batch, pc.index(times, value).as_py())
        raise ModelValueError(table, column, text, row=where)


def _times(values: pa.Array) -> Iterator[pa.Array]:
    """Yield the times and dates in a column, at any depth, as integers."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        yield values.cast(pa.timestamp("us", kind.tz)).view(pa.int64())
    elif pa.types.is_date32(kind):
        yield values.view(pa.int32())
    elif pa.types.is_list(kind):
        yield from _times(values.flatten())
    elif pa.types.is_struct(kind):
        for part in values.flatten():
            yield from _times(part)


def _example(batch: pa.RecordBatch, row: int) -> str:
    """Describe a row by its first columns that are not times."""
    shown = [
        f"{name}={batch.column(name)[row].as_py()!r}"
        for name in batch.schema.names
        if next(_times(batch.column(name)), None) is None
    ]
    return ", ".join(shown[:_EXAMPLE_COLUMNS_MAX])[:_EXAMPLE_CHARACTERS_MAX]
