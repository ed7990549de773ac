"""What a table holds, for people: its columns with null shares, its first rows, how it grew."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from pyiceberg.table.snapshots import Snapshot

from headrace.clock import time_at
from headrace.tables.version import TableVersion

_EXACT_MAX = 2**53  # greater integers are not exact in a browser
_TEXT_MAX = 200


@dataclass(frozen=True, kw_only=True)
class ColumnProfile:
    """One column; `null_share` is None if some file does not tell its nulls."""

    name: str
    type: str
    required: bool
    doc: str
    null_share: float | None


@dataclass(frozen=True, kw_only=True)
class Size:
    """Rows, files and bytes that a table had after one commit."""

    at: dt.datetime
    rows: int
    files: int
    bytes: int


def columns_of(version: TableVersion) -> tuple[ColumnProfile, ...]:
    """Describe the columns in the terms of Iceberg; reads manifests and no data.

    Null shares come from the files' metrics and count rows that delete files remove, too.
    """
    files = [entry.data_file for entry in version.files()]
    rows = sum(file.record_count for file in files)
    found: list[ColumnProfile] = []
    for field in version.read_as.fields:
        counts = [(file.null_value_counts or {}).get(field.field_id) for file in files]
        known = [each for each in counts if each is not None]
        share = sum(known) / rows if rows and len(known) == len(files) else None
        found.append(
            ColumnProfile(
                name=field.name,
                type=str(field.field_type),
                required=field.required,
                doc=field.doc or "",
                null_share=0.0 if field.required else share,
            )
        )
    return tuple(found)


def first_rows(version: TableVersion, *, limit: int) -> list[dict[str, object]]:
    """Read at most `limit` rows as values that JSON and a browser show exactly.

    Times are texts in UTC; integers beyond 2^53, decimals, lists and structs are texts; long texts
    and bytes are cut. Opens no more files than needed.
    """
    found: list[dict[str, object]] = []
    batches = version.batches()
    while len(found) < limit and (batch := next(batches, None)) is not None:
        found += batch.slice(0, limit - len(found)).to_pylist()
    return [{name: shown(value) for name, value in row.items()} for row in found]


def shown(value: object) -> object:
    """Turn a value into one that a browser shows exactly; None stays None."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT_MAX else str(value)
    if isinstance(value, dt.datetime):
        utc = value if value.tzinfo is None else value.astimezone(dt.UTC)
        return f"{utc:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 1]}…"


def sizes_over_time(version: TableVersion) -> tuple[Size, ...]:
    """List what the table held after each live snapshot, oldest first; reads no manifest.

    Snapshots whose writer did not say their totals are left out.
    """
    return tuple(_sizes(sorted(version.metadata.snapshots, key=lambda each: each.timestamp_ms)))


def _sizes(snapshots: list[Snapshot]) -> Iterator[Size]:
    for snapshot in snapshots:
        said = {} if snapshot.summary is None else snapshot.summary.additional_properties
        names = ("total-records", "total-data-files", "total-files-size")
        totals = [said.get(name, "") for name in names]
        if all(each.isdecimal() for each in totals):
            rows, files, size = map(int, totals)
            at = time_at(snapshot.timestamp_ms)
            yield Size(at=at, rows=rows, files=files, bytes=size)
