"""What a window view means, written as slowly and plainly as possible, and random events to ask it of."""

import datetime as dt
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.stream import COORDINATES, Stream
from headrace.definitions.window_view import WindowView
from headrace.definitions.windows import Slot, Windows, resolve_windows, window_problems

Row = Mapping[str, Any]
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
STREAM = Stream.model_validate(
    {
        "stream": "plays",
        "table": "raw.plays",
        "source": {"files": "*.jsonl"},
        "format": "json",
        "key": "id",
        "event_time": "event_time",
        "known_at": {"column": "known_at"},
        "fields": {
            "id": {"type": "string", "required": True},
            "event_time": {"type": "timestamptz", "required": True},
            "known_at": {"type": "timestamptz", "required": True},
            "u": {"type": "long"},
            "c": {"type": "string"},
            "item": {"type": "long"},
            "price": {"type": "decimal(9,2)"},
            "score": {"type": "double"},
            "tag": {"type": "string"},
        },
    }
)
SCHEMA = pa.schema([field.with_nullable(True) for field in STREAM.table_schema()])
PLACE = tuple(COORDINATES.names[:3])


def windows_of(*, key: bool = True, **changes: object) -> Windows:
    """Return a view with every aggregate, over windows of one to six tiles of 10 s."""
    said: dict[str, Any] = {
        "view": "features.recent",
        "events": "raw.plays",
        "entity": ["u", "c"],
        "hop": "10s",
        "aggregates": [
            {"name": "plays", "take": "count", "windows": ["10s", "30s", "1m"]},
            {"name": "rated", "take": "count", "of": "score", "windows": ["30s"]},
            {"name": "total", "take": "sum", "of": "item", "windows": ["30s"]},
            {"name": "paid", "take": "sum", "of": "price", "windows": ["10s", "1m"]},
            {"name": "least", "take": "min", "of": "score", "windows": ["30s", "1m"]},
            {"name": "most", "take": "max", "of": "price", "windows": ["30s"]},
            {
                "name": "items",
                "take": "distinct",
                "of": "item",
                "windows": ["30s", "1m"],
                "keep": 2,
            },
            {"name": "tags", "take": "distinct", "of": "tag", "windows": ["1m"]},
            {"name": "recent", "take": "last", "of": "item", "windows": ["30s", "1m"], "keep": 3},
            {"name": "paids", "take": "last", "of": "price", "windows": ["10s"], "keep": 2},
        ],
    }
    stream = STREAM if key else STREAM.model_copy(update={"key": None})
    view = WindowView.model_validate(said | changes)
    assert not list(window_problems(view, [stream]))
    return resolve_windows(view, [stream])


def at(seconds: float) -> dt.datetime:
    return NOON + round(seconds * 1_000_000) * ONE_US


# few distinct instants, around the edges of tiles and windows, so that everything collides
seconds = st.sampled_from(
    [0, 0.000001, 5, 9.999999, 10, 12, 20, 25, 29.999999, 30, 40, 60, 61, 69.999999, 70, 75, 90]
)
instants = st.builds(at, seconds)
users, places = st.sampled_from([1, 1, 1, 2, None]), st.sampled_from(["a", "a", "b", None])
delays_s = st.sampled_from([0, 0, 0, 0.000001, 2, 9, 12, 25, 45, 70, 100])


@st.composite
def event_rows(draw: st.DrawFn, *, size_max: int = 24) -> list[Row]:
    """Draw rows in the order in which they come into the table: late, tied, and repeated ones."""
    rows: list[Row] = []
    for number in range(draw(st.integers(0, size_max))):
        if rows and draw(st.integers(0, 4)) == 0:  # sent again, perhaps changed, known later or not
            again = dict(draw(st.sampled_from(rows)))
            known_at = again["known_at"] + dt.timedelta(seconds=draw(delays_s) - draw(delays_s))
            changed = {
                "item": draw(st.integers(0, 5)),
                "known_at": max(again["event_time"], known_at),
            }
            rows.append({**again, **changed, "_source_offset": number})
            continue
        happened = draw(instants)
        rows.append(
            {
                "id": f"e{draw(st.integers(0, 30))}",
                "event_time": happened,
                "known_at": happened + dt.timedelta(seconds=draw(delays_s)),
                "u": draw(users),
                "c": draw(places),
                "item": draw(st.sampled_from([0, 1, 2, 3, -4, None])),
                "price": draw(
                    st.sampled_from([None, Decimal("0.10"), Decimal("-1.25"), Decimal("3.00")])
                ),
                "score": draw(st.sampled_from([None, math.nan, 0.5, 0.25, -1.0])),
                "tag": draw(st.sampled_from([None, "x", "y", "é"])),
                "_source": draw(st.sampled_from(["one", "two"])),
                "_source_partition": draw(st.integers(0, 1)),
                "_source_offset": number,
            }
        )
    return rows


exposure_rows = st.lists(
    st.fixed_dictionaries({"u": users, "c": places, "t": instants}), max_size=16
)
views = st.builds(
    windows_of,
    key=st.booleans(),
    delay=st.sampled_from(["0s", "0s", "3s", "12s"]),
    lateness=st.sampled_from([None, "12s", "45s"]),
    entity=st.sampled_from([["u"], ["u", "c"]]),
)


def expected(
    windows: Windows, rows: Sequence[Row], entity: Row, moment: dt.datetime
) -> dict[str, Any]:
    """Return the values of an entity at a moment by looking at every row."""
    key = [entity[name] for name in windows.entity]
    if None in key:
        return {column.name: None for column in windows.columns}
    mine = [row for row in _counted(windows, rows) if [row[n] for n in windows.entity] == key]
    t_us = (moment - EPOCH) // ONE_US
    known = [row for row in mine if row["e_us"] < t_us and row["known_us"] < t_us]
    found: dict[str, Any] = {}
    for column in windows.columns:
        start_us = (t_us - column.window_us) // windows.hop_us * windows.hop_us
        within = [row for row in known if row["e_us"] >= start_us]
        found[column.name] = _value(windows.slots[column.slot], within)
    return found


def _counted(windows: Windows, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that count as events, each once, in the order of event time and coordinate."""
    seen: set[tuple[Any, ...]] = set()
    counted: list[Row] = []
    for row in sorted(map(_timed(windows), rows), key=lambda r: (r["known_us"], *_place(r))):
        if row["known_us"] - row["e_us"] > windows.lateness_us:
            continue
        same = (*(row[name] for name in windows.entity), row["id"], row["e_us"])
        if windows.key is not None and same in seen:
            continue
        seen.add(same)
        counted.append(row)
    return sorted(counted, key=lambda row: (row["e_us"], *_place(row)))


def _timed(windows: Windows) -> Callable[[Row], Row]:
    def timed(row: Row) -> Row:
        e_us, known_us = ((row[n] - EPOCH) // ONE_US for n in ("event_time", "known_at"))
        return {**row, "e_us": e_us, "known_us": max(known_us, e_us + windows.delay_us)}

    return timed


def _place(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in PLACE)


def _value(slot: Slot, rows: Sequence[Row]) -> object:
    if slot.of is None:
        return len(rows)
    values = [row[slot.of] for row in rows if row[slot.of] is not None]
    real = [value for value in values if not (isinstance(value, float) and math.isnan(value))]
    match slot.take:
        case "count":
            return len(values)
        case "sum":
            return sum(values)
        case "min":
            return min(real, default=None)
        case "max":
            return max(real, default=None)
        case "last":
            return list(values[-slot.keep :]) or None
        case "distinct":
            hashes = sorted(
                {int(hashlib.md5(str(v).encode()).hexdigest()[:15], 16) for v in values}
            )
            if len(hashes) <= slot.keep:
                return len(hashes)
            return math.floor(slot.keep * 2.0**60 / hashes[slot.keep])
