"""Writes the Open Bandit logs as the landing files of the lake: impressions, clicks, items.

Each file covers six hours, as a collector would write them.
"""

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from demo.open_bandit import LISTED_AT, Impression, logs_folder, read_impressions, read_items
from headrace.clock import EPOCH

WINDOW = timedelta(hours=6)
_CLICK_FIELDS = (
    "click_id",
    "impression_id",
    "clicked_at",
    "policy",
    "campaign",
    "item_id",
    "position",
    "user_segment",
)


@dataclass(frozen=True, kw_only=True)
class Landed:
    """The landing files in the data folder; `written` counts those that did not exist before."""

    impressions: int
    clicks: int
    items: int
    files: int
    written: int


def land(data_dir: Path) -> Landed:
    """Write the landing files that are missing in `data_dir`.

    Deterministic to the byte, including file times. Files appear atomically and existing files are
    kept, so it may be killed and run again at any time.

    Raises:
        LogsNotFoundError: If the wheel with the logs is not installed.

    """
    folder = logs_folder()
    shown = read_impressions(folder)
    items = read_items(folder)
    clicked = [impression for impression in shown if impression.clicked]
    landing = _Landing(data_dir)
    for start, part in _windows(shown):
        name = f"impressions/{start:%Y-%m-%dT%H}.jsonl"
        landing.put(name, lambda part=part: _json_lines(part), written_at=start + WINDOW)
    for start, part in _windows(clicked):
        name = f"clicks/{start:%Y-%m-%dT%H}.csv"
        landing.put(name, lambda part=part: _click_lines(part), written_at=start + WINDOW)
    landing.put("items/2019-11-24.parquet", lambda: _item_file(items), written_at=LISTED_AT)
    return Landed(
        impressions=len(shown),
        clicks=len(clicked),
        items=len(items),
        files=landing.files,
        written=landing.written,
    )


class _Landing:
    """Writes files into a folder, each once."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir, self.files, self.written = data_dir, 0, 0

    def put(self, name: str, content: Callable[[], bytes], *, written_at: datetime) -> None:
        self.files += 1
        path = self._data_dir / name
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(
            f".{path.name}.{os.getpid()}"
        )  # the file source ignores names that begin with a dot
        with hidden.open("wb") as handle:
            handle.write(content())
            handle.flush()
            os.fsync(handle.fileno())
        os.utime(hidden, (written_at.timestamp(), written_at.timestamp()))
        hidden.rename(path)
        self.written += 1


def _windows(rows: Sequence[Impression]) -> list[tuple[datetime, list[Impression]]]:
    """Split rows in time order into windows; windows without rows are skipped."""
    found: dict[datetime, list[Impression]] = {}
    for row in rows:
        start = EPOCH + WINDOW * ((row.shown_at - EPOCH) // WINDOW)
        found.setdefault(start, []).append(row)
    return list(found.items())


def _json_lines(rows: Sequence[Impression]) -> bytes:
    lines = (
        json.dumps(
            {
                "impression_id": row.impression_id,
                "shown_at": row.shown_at.isoformat(),
                "policy": row.policy,
                "campaign": row.campaign,
                "item_id": row.item_id,
                "position": row.position,
                "propensity": row.propensity,
                "user_segment": row.user_segment,
                "affinity_items": row.affinity_items,
            }
        )
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _click_lines(rows: Sequence[Impression]) -> bytes:
    """One click per clicked impression, at the impression's time: the log has no click times."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CLICK_FIELDS)
    for row in rows:
        when = row.shown_at.isoformat()
        where = (row.policy, row.campaign, row.item_id, row.position, row.user_segment)
        writer.writerow((row.impression_id, row.impression_id, when, *where))
    return text.getvalue().encode()


def _item_file(items: Sequence[dict[str, object]]) -> bytes:
    schema = pa.schema(
        [
            pa.field("campaign", pa.string(), nullable=False),
            pa.field("item_id", pa.int64(), nullable=False),
            pa.field("listed_at", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("price_score", pa.float64(), nullable=False),
            *(pa.field(name, pa.string()) for name in ("brand", "category", "style")),
        ]
    )
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(items), schema=schema), sink, compression="zstd")
    return sink.getvalue()
