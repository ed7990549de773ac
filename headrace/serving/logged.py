"""The rows of a serving log, as replays read them."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from headrace.definitions.stream import EVENT_TIME

ASKED_AT = "asked_at"
SERVED_AT = "served_at"  # under the name of event times, if it is the stream's


class Logged(NamedTuple):
    """One row of the log, parsed."""

    request_id: str
    row: int
    at: dt.datetime
    served_at: dt.datetime
    values: Mapping[str, Any]
    views: Mapping[str, Mapping[str, Any]]


def parsed(log: pa.Table, sample_set: str) -> Iterator[Logged]:
    """Yield the rows about a sample set."""
    for record in _of(log, sample_set).to_pylist():
        yield Logged(
            request_id=record["request_id"],
            row=record["row"],
            at=record["at"],
            served_at=record[SERVED_AT] if SERVED_AT in log.column_names else record[EVENT_TIME],
            values=json.loads(record["values"]),
            views=json.loads(record["views"]),
        )


def asked(log: pa.Table, sample_set: str, entities: Sequence[str]) -> pa.Table:
    """Return what was asked in the same rows: their number, the moment and the entities."""
    rows = _of(log, sample_set)
    columns: dict[str, Any] = {
        "number": pa.array(range(rows.num_rows), pa.int64()),
        ASKED_AT: rows.column("at"),
    }
    return pa.table(columns | {name: rows.column(name) for name in entities})


def _of(log: pa.Table, sample_set: str) -> pa.Table:
    return log.filter(pc.equal(log.column("sample_set"), sample_set))
