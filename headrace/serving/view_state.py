"""The state of a published view as text, which every online store keeps beside the rows."""

import base64
import datetime as dt
import functools
import json
from typing import Any

import pyarrow as pa

from headrace.clock import ONE_US
from headrace.serving.store import ViewState, epoch_us, from_epoch_us

_STATES_KEPT = 256


def shape_text(state: ViewState) -> str:
    """Write what a state says of its view, apart from its snapshot and the time of publication."""
    return json.dumps(
        {
            "entity": list(state.entity),
            "columns": list(state.columns),
            "schema": base64.b64encode(state.schema.serialize()).decode(),
            "as_of_us": epoch_us(state.as_of),
            "ttl_us": None if state.ttl is None else state.ttl // ONE_US,
            "delay_us": state.delay // ONE_US,
            "held_back": [day.isoformat() for day in state.held_back],
        }
    )


@functools.lru_cache(maxsize=_STATES_KEPT)
def read_state(view: str, text: str, snapshot_id: int, published_at_us: int) -> ViewState:
    """Parse a stored state, once: every look-up needs it, and parsing takes half as long as one."""
    shape: dict[str, Any] = json.loads(text)
    ttl_us: int | None = shape["ttl_us"]
    return ViewState(
        view=view,
        entity=tuple(shape["entity"]),
        columns=tuple(shape["columns"]),
        schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(shape["schema"]))),
        ttl=None if ttl_us is None else dt.timedelta(microseconds=ttl_us),
        delay=dt.timedelta(microseconds=shape["delay_us"]),
        snapshot_id=snapshot_id,
        as_of=from_epoch_us(shape["as_of_us"]),
        published_at=from_epoch_us(published_at_us),
        held_back=tuple(dt.date.fromisoformat(day) for day in shape["held_back"]),
    )
