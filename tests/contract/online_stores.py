"""One view, and rows of it, for the tests of online stores."""

import datetime as dt
from collections.abc import Callable

import pyarrow as pa

from headrace.serving.store import OnlineRow, OnlineStore, ViewState

Factory = Callable[[], OnlineStore]
START = dt.datetime(2019, 11, 24, tzinfo=dt.UTC)
STATE = ViewState(
    view="features.item_ctr",
    entity=("campaign", "item_id"),
    columns=("ctr", "seen"),
    schema=pa.schema(
        [
            pa.field("campaign", pa.string(), metadata={"PARQUET:field_id": "1"}),
            pa.field("item_id", pa.int64(), metadata={"PARQUET:field_id": "2"}),
            pa.field("ctr", pa.float64(), metadata={"PARQUET:field_id": "5"}),
            pa.field("seen", pa.int64(), metadata={"PARQUET:field_id": "6"}),
        ]
    ),
    ttl=dt.timedelta(days=7),
    delay=dt.timedelta(0),
    snapshot_id=7_781_234_567_890_123_456,
    as_of=START + dt.timedelta(days=8),
    published_at=START + dt.timedelta(days=8, microseconds=1),
)
NEXT, FORMER = f"{STATE.view}@next", f"{STATE.view}@former"


def minutes(count: float) -> dt.datetime:
    return START + dt.timedelta(minutes=count)


def row(item: int, *, at: float, known: float | None = None, ctr: float = 0.5) -> OnlineRow:
    return OnlineRow(
        key=("all", item),
        event_time=minutes(at),
        known_at=minutes(at if known is None else known),
        values=(ctr, 3),
    )
