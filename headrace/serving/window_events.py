"""Reads the events of a window view from rows of its table."""

from collections.abc import Iterator

import pyarrow as pa

from headrace.definitions.stream import EVENT_TIME, KNOWN_AT
from headrace.definitions.windows import Windows
from headrace.serving.store import EntityKey
from headrace.serving.window_slots import plain_of
from headrace.window_states import Event


def columns_of(windows: Windows, coordinate: tuple[str, ...]) -> tuple[str, ...]:
    """Name the columns of the table that `events_of` needs; `coordinate` are those of its rows."""
    key = () if windows.key is None else (windows.key,)
    named = (*windows.entity, EVENT_TIME, KNOWN_AT, *coordinate, *key, *windows.inputs)
    return tuple(dict.fromkeys(named))


def events_of(
    windows: Windows, rows: pa.RecordBatch, *, coordinate: tuple[str, ...]
) -> Iterator[tuple[EntityKey, Event]]:
    """Yield each event with its entity; rows without an entity or a time are none."""
    entity = [rows.column(name).to_pylist() for name in windows.entity]
    plain = [plain_of(rows.column(name)) for name in (EVENT_TIME, KNOWN_AT)]
    plain += [rows.column(name).to_pylist() for name in coordinate]
    nothing = [None] * rows.num_rows
    plain.append(nothing if windows.key is None else plain_of(rows.column(windows.key)))
    inputs = [plain_of(rows.column(name)) for name in windows.inputs]
    values = list(zip(*inputs, strict=True)) if inputs else [()] * rows.num_rows
    delay_us = windows.delay_us
    for key, event_us, known_us, source, partition, offset, event_key, taken in zip(
        zip(*entity, strict=True), *plain, values, strict=True
    ):
        if None in key or event_us is None or known_us is None:
            continue
        known_us = max(known_us, event_us + delay_us)
        yield key, Event(event_us, known_us, source, partition, offset, event_key, taken)
