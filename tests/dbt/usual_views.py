"""Two models of the macros for usual features, their input, and plain words for what their rows must be."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pyarrow as pa

from headrace.api import Lake
from headrace.identifiers import TableName
from tests.conftest import ROOT
from tests.dbt.raw_lake import START, TS
from tests.integrations.conftest import Project

HOUR = dt.timedelta(hours=1)
DELAY = dt.timedelta(minutes=5)
WINDOWS = {"3h": 3 * HOUR, "1d": 24 * HOUR}
N, WITHIN = 3, dt.timedelta(hours=36)
LOG = pa.schema(
    [
        pa.field("user_id", pa.int64(), nullable=False),
        pa.field("item", pa.string()),
        pa.field("price", pa.int64()),
        pa.field("event_time", TS, nullable=False),
        pa.field("known_at", TS, nullable=False),
        pa.field("_source", pa.string(), nullable=False),
        pa.field("_source_partition", pa.int32(), nullable=False),
        pa.field("_source_offset", pa.int64(), nullable=False),
    ]
)
_DOCUMENT = ROOT / "docs" / "features.md"


def _shown(name: str) -> str:
    """The text of a code block of the document, which users copy."""
    (text,) = re.findall(
        rf'```\w+ title="models/{name}\.\w+"\n(.*?)```', _DOCUMENT.read_text(), re.DOTALL
    )
    return text


def write_models(project: Project, lake: Lake, *, reach_days: int = 2) -> None:
    """Write the models `recent` and `spending` into a project, and create what they read."""
    lake.create(TableName("raw", "log"), LOG, partition_by=["day(event_time)"])
    sources = "sources:\n  - name: raw\n    tables: [{name: log}]\n"
    (project.folder / "models" / "sources.yml").write_text(sources)
    yaml = _shown("both").replace("reach_days: 2", f"reach_days: {reach_days}")
    for name in ("recent", "spending"):
        project.model(name, _shown(name), yaml)


@dataclass(frozen=True)
class Event:
    user_id: int
    item: str | None
    price: int | None
    at: dt.datetime
    known_at: dt.datetime

    @property
    def known(self) -> dt.datetime:
        """When it counts from."""
        return max(self.at, self.known_at)


def log_rows(events: Sequence[Event], *, first_offset: int = 0) -> list[dict[str, Any]]:
    """The rows of `raw.log`."""
    return [
        {
            "user_id": e.user_id,
            "item": e.item,
            "price": e.price,
            "event_time": e.at,
            "known_at": e.known_at,
            "_source": "f",
            "_source_partition": 0,
            "_source_offset": first_offset + at,
        }
        for at, e in enumerate(events)
    ]


def recent_truth(events: Sequence[Event], *, user_id: int, at: dt.datetime) -> tuple[list, list]:
    """The items and prices of the last N events known before `at`, none older than WITHIN."""
    known = [
        (e.at, e.known, offset, e)
        for offset, e in enumerate(events)
        if e.user_id == user_id and e.known + DELAY < at
    ]
    if not known:
        return [], []
    newest = max(known)[0]
    last = [e for when, _, _, e in sorted(known)[-N:] if when > newest - WITHIN]
    return [e.item for e in last], [e.price for e in last]


def values_truth(
    events: Sequence[Event], *, user_id: int, hour: dt.datetime, known: dt.datetime
) -> dict[str, Any]:
    """What the windows before `hour` hold of what was known at `known`."""
    found: dict[str, Any] = {}
    for suffix, window in WINDOWS.items():
        inside = [
            e
            for e in events
            if e.user_id == user_id and hour - window <= e.at < hour and e.known_at <= known
        ]
        prices = [e.price for e in inside if e.price is not None]
        found |= {
            f"events_{suffix}": len(inside),
            f"priced_{suffix}": len(prices),
            f"spent_{suffix}": sum(prices),
            f"paid_{suffix}": float(Fraction(sum(prices), len(prices))) if prices else None,
            f"least_{suffix}": min(prices, default=None),
            f"dearest_{suffix}": max(prices, default=None),
            f"items_{suffix}": len({e.item for e in inside} - {None}),
            f"prices_{suffix}": len(set(prices)),
            f"newest_{suffix}": max((e.at for e in inside), default=None),
        }
    return found


def looked_up(
    rows: Sequence[dict[str, Any]], *, user_id: int, at: dt.datetime
) -> dict[str, Any] | None:
    """The point-in-time rule, word by word."""
    usable = [
        r for r in rows if r["user_id"] == user_id and r["event_time"] < at and r["known_at"] < at
    ]
    return max(usable, key=lambda r: (r["event_time"], r["known_at"]), default=None)


def hour_before(at: dt.datetime) -> dt.datetime:
    """The last whole hour whose row, DELAY later, was known before `at`."""
    return START + (at - START - DELAY - dt.timedelta(microseconds=1)) // HOUR * HOUR
