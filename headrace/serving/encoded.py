"""Rows as stores keep them: made of one row, or of a batch of an engine column by column."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.types as pt

from headrace.engines.base import Engine
from headrace.serving.store import EncodedRow, OnlineRow, ViewState, epoch_us
from headrace.serving.values import encode, encode_key, json_form

_TIME = pa.timestamp("us", tz="UTC")


def encoded(state: ViewState, row: OnlineRow | EncodedRow) -> EncodedRow:
    """Return a row as stores keep it; one that is encoded already as it is.

    Raises:
        ValueError: If it does not fit the view, or a time has no zone.

    """
    if not isinstance(row, OnlineRow):
        return row
    if len(row.key) != len(state.entity) or len(row.values) != len(state.columns):
        msg = f"a row of `{state.view}` has {len(row.key)} key parts and {len(row.values)} values"
        raise ValueError(msg)
    times = epoch_us(row.event_time), epoch_us(row.known_at)
    return encode_key(row.key), *times, encode(row.values)


def encoded_batch(batch: pa.RecordBatch, *, entity: int) -> Iterator[EncodedRow]:
    """Encode `event_time, known_at`, the `entity` columns and the values: as `encoded`, but faster.

    The texts are those of `encode`, so that rows of both ways are equal.

    Raises:
        ValueError: If a time has no zone.

    """
    event_us, known_us = (_times_us(batch.column(number)) for number in (0, 1))
    columns = [_json_column(column) for column in batch.columns[2:]]
    return zip(
        _texts(columns[:entity], batch.num_rows),
        event_us,
        known_us,
        _texts(columns[entity:], batch.num_rows),
        strict=True,
    )


class EngineRows:
    """Rows of several queries, one batch in memory at a time, counted as they pass."""

    def __init__(self, engine: Engine, state: ViewState, queries: Sequence[str]) -> None:
        self._engine, self._state, self._queries, self.count = engine, state, queries, 0

    def __iter__(self) -> Iterator[EncodedRow]:
        """Yield the rows as stores keep them."""
        for query in self._queries:
            for batch in self._engine.query(query):
                self.count += batch.num_rows
                yield from encoded_batch(batch, entity=len(self._state.entity))


def _texts(columns: Sequence[Sequence[Any]], count: int) -> list[str]:
    if not columns:
        return ["[]"] * count
    return [orjson.dumps(row).decode() for row in zip(*columns, strict=True)]


def _times_us(column: pa.Array) -> list[int]:
    kind: pa.DataType = column.type
    if not pt.is_timestamp(kind) or kind.tz is None:
        msg = f"a column of {kind} has no time zone; times of the online store are UTC"
        raise ValueError(msg)
    return column.cast(_TIME).cast(pa.int64()).to_pylist()


def _json_column(column: pa.Array) -> Sequence[Any]:
    """Return the values as JSON has them: without a look at each where the type has one form."""
    kind: pa.DataType = column.type
    if pt.is_integer(kind) or pt.is_floating(kind):
        if not column.null_count:
            values: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
            if pt.is_integer(kind) or np.isfinite(values).all():
                return values.tolist()
        elif pt.is_integer(kind):
            return column.to_pylist()
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_boolean(kind):
        return column.to_pylist()
    return [json_form(value) for value in column.to_pylist()]
