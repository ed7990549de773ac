"""Reads a simulated folder back with plain Python: no pyarrow, no code of the generator."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

TIMES = {
    "impressions": "shown_at",
    "clicks": "clicked_at",
    "watches": "watched_at",
    "user_state": "as_of",
}
_INTEGERS = {
    "impressions": ("item_id", "position", "user_id"),
    "clicks": ("item_id", "position"),
    "watches": ("seconds",),
    "user_state": ("user_id", "sessions_7d", "watch_seconds_7d"),
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a landing file; `fault` says why it cannot be used, if so."""

    source: str
    offset: int
    fields: dict[str, Any]
    fault: str | None


def records(folder: Path, stream: str) -> Iterator[Record]:
    """Read the records of a stream, file by file in the order of names."""
    for path in sorted((folder / "data" / stream).iterdir()):
        lines = path.read_text().splitlines()
        header = lines.pop(0).split(",") if path.suffix == ".csv" else None
        for offset, line in enumerate(lines):
            fields, fault = _parsed(line, header, stream)
            source = f"{stream}/{path.name}"
            yield Record(source=source, offset=offset, fields=fields, fault=fault)


def _parsed(line: str, header: list[str] | None, stream: str) -> tuple[dict[str, Any], str | None]:
    fields: dict[str, Any]
    if header is None:
        try:
            fields = json.loads(line)
        except json.JSONDecodeError:
            return {}, "broken"
    else:
        cells = next(csv.reader([line]))
        if len(cells) != len(header):
            return {}, "broken"
        fields = {name: cell or None for name, cell in zip(header, cells, strict=True)}
        for name in _INTEGERS[stream]:
            if fields[name] is not None and fields[name].isdecimal():
                fields[name] = int(fields[name])
    return fields, _fault(fields, stream)


def _fault(fields: dict[str, Any], stream: str) -> str | None:
    for name in (*_INTEGERS[stream], TIMES[stream], "received_at"):
        if fields.get(name) is None:
            return "missing_field"
    if not all(type(fields[name]) is int for name in _INTEGERS[stream]):
        return "wrong_type"
    for name in (TIMES[stream], "received_at"):
        moment = datetime.fromisoformat(str(fields[name]))
        if moment.tzinfo is None:
            return "naive_time"
        fields[name] = moment
    return None
