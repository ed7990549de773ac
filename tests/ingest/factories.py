"""Streams, good records and every kind of bad one, in all three formats."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.ingest import dead_letters
from headrace.ingest.sources.base import (
    Position,
    PositionsOf,
    Records,
    SourcePartition,
    consecutive,
)

SUFFIX = {"json": "jsonl", "csv": "csv", "parquet": "parquet"}
CLICKS = "click_id,impression_id,clicked_at,policy,campaign,item_id,position,user_segment\n"
FIELDS: dict[str, dict[str, Any]] = {
    "id": {"type": "string", "required": True},
    "at": {"type": "timestamptz", "required": True},
    "n": {"type": "long"},
    "small": {"type": "int"},
    "x": {"type": "double"},
    "flag": {"type": "boolean"},
    "day": {"type": "date"},
    "price": {"type": "decimal(8,2)"},
}


def make_stream(
    format_: str, *, more_fields: dict[str, Any] | None = None, **changes: object
) -> Stream:
    fields = FIELDS | ({} if format_ == "csv" else {"tags": {"type": "list<long>"}})
    declared = {
        "stream": "things",
        "table": "raw.things",
        "source": {"files": f"things/*.{SUFFIX[format_]}"},
        "format": format_,
        "key": "id",
        "event_time": "at",
        "known_at": {"after_event": "0s"},
        "allowed_lateness": "1h",
        "fields": fields | (more_fields or {}),
    }
    return Stream.model_validate(declared | changes)


def thing(**changes: object) -> dict[str, Any]:
    """A good record; a value of `...` leaves the key out."""
    good: dict[str, Any] = {
        "id": "a",
        "at": "2019-11-24T10:00:00.123456+00:00",
        "n": 7,
        "small": 1,
        "x": 0.5,
        "flag": True,
        "day": "2019-11-24",
        "price": "12.50",
        "tags": [1, 2],
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def json_line(**changes: object) -> bytes:
    return json.dumps(thing(**changes)).encode()


CSV_HEADER = ",".join(FIELDS).encode()


def csv_line(**changes: object) -> bytes:
    record = thing(**changes)
    texts = ("" if record.get(name) is None else str(record[name]) for name in FIELDS)
    return ",".join(texts).encode()


BAD_JSON: dict[str, tuple[bytes, str]] = {
    "cut short": (json_line()[:-9], "malformed"),
    "a list": (b"[1]", "malformed"),
    "null": (b"null", "malformed"),
    "two objects": (json_line() + json_line(), "malformed"),
    "null between objects": (b'{"id":"a"}null{"id":"b"}', "malformed"),
    "a key twice": (json_line()[:-1] + b', "n": 8}', "malformed"),
    "text": (b"hello", "malformed"),
    "deep": (b'{"id":' + b"[" * 100_000, "malformed"),
    "missing": (json_line(id=...), "missing_required"),
    "null required": (json_line(at=None), "missing_required"),
    "text for a number": (json_line(n="7"), "wrong_type"),
    "a point in a whole number": (json_line(n=7.5), "wrong_type"),
    "a number for text": (json_line(id=7), "wrong_type"),
    "true for a number": (json_line(n=True), "wrong_type"),
    "a wrong element": (json_line(tags=[1, "x"]), "wrong_type"),
    "an epoch for a time": (json_line(at=1574553600), "wrong_type"),
    "a naive time": (json_line(at="2019-11-24T10:00:00"), "naive_time"),
    "30 February": (json_line(at="2019-02-30T10:00:00Z"), "out_of_range"),
    "year 10000": (json_line(at="9999-12-31T23:59:59-01:00"), "out_of_range"),
    "beyond int": (json_line(small=2**31), "out_of_range"),
    "beyond long": (json_line(n=2**63), "out_of_range"),
    "beyond the scale": (json_line(price="1.005"), "out_of_range"),
    "not a number": (json_line(x=float("nan")), "not_finite"),
    "beyond double": (json_line().replace(b"0.5", b"1e400"), "not_finite"),
    "not UTF-8": (json_line(id="X").replace(b"X", b"\xff\xfe"), "invalid_utf8"),
    "half a surrogate": (json_line(id="\ud800"), "invalid_utf8"),
}
BAD_CSV: dict[str, tuple[bytes, str]] = {
    "too few": (b"a,2019-11-24T10:00:00Z", "wrong_columns"),
    "too many": (csv_line() + b",1", "wrong_columns"),
    "an open quote": (b'"a' + csv_line(), "malformed"),
    "text after a quote": (b'"a"b' + csv_line()[1:], "malformed"),
    "a carriage return": (b"a\rb" + csv_line()[1:], "malformed"),
    "missing": (csv_line(id=None), "missing_required"),
    "empty quotes": (b'""' + csv_line(id=None), "missing_required"),
    "text for a number": (csv_line(n="seven"), "wrong_type"),
    "hexadecimal": (csv_line(n="0x7"), "wrong_type"),
    "a blank in a number": (csv_line(n=" 7"), "wrong_type"),
    "yes": (csv_line(flag="yes"), "wrong_type"),
    "a naive time": (csv_line(at="2019-11-24 10:00:00"), "naive_time"),
    "30 February": (csv_line(day="2019-02-30"), "out_of_range"),
    "beyond int": (csv_line(small=2**31), "out_of_range"),
    "beyond long": (csv_line(n=2**63), "out_of_range"),
    "beyond the scale": (csv_line(price="1.005"), "out_of_range"),
    "infinite": (csv_line(x="-inf"), "not_finite"),
    "not UTF-8": (csv_line(id="X").replace(b"X", b"\xff\xfe"), "invalid_utf8"),
}
BAD_PARQUET: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"id": None}, "missing_required"),
    "no time": ({"at": None}, "missing_required"),
    "a naive time": ({"at": "2019-11-24T10:00:00"}, "naive_time"),
    "no time at all": ({"at": "noon"}, "wrong_type"),
    "30 February": ({"at": "2019-02-30T10:00:00Z"}, "out_of_range"),
    "beyond int": ({"small": 2**31}, "out_of_range"),
    "not a number": ({"x": float("nan")}, "not_finite"),
    "infinite": ({"x": float("inf")}, "not_finite"),
    "beyond the scale": ({"price": "1.005"}, "out_of_range"),
    "year 10000": ({"at": "9999-12-31T23:59:59-01:00"}, "out_of_range"),
    "not UTF-8": ({"id": b"\xff\xfe"}, "invalid_utf8"),
    "a price in words": ({"price": "dear"}, "wrong_type"),
}
BAD: dict[str, dict[str, tuple[Any, str]]] = {
    "json": dict(BAD_JSON),
    "csv": dict(BAD_CSV),
    "parquet": dict(BAD_PARQUET),
}
_PARQUET = pa.schema(
    [
        ("id", pa.binary()),
        ("at", pa.string()),
        ("n", pa.int32()),
        ("small", pa.int64()),
        ("x", pa.float64()),
        ("flag", pa.bool_()),
        ("day", pa.date32()),
        ("price", pa.string()),
        ("tags", pa.list_(pa.int32())),
    ]
)


def write_things(
    data_dir: Path, name: str, kinds: Sequence[str], *, format_: str, first: int = 0
) -> dict[int, str]:
    """Write one file of the `kinds` given (`good`, or a bad kind's name); return the codes by offset."""
    folder = data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{SUFFIX[format_]}"
    bad = BAD[format_]
    if format_ == "parquet":
        rows = [_row(kind, first + at) for at, kind in enumerate(kinds)]
        table = pa.Table.from_pylist(rows, schema=_PARQUET)
        # text that is not UTF-8 can only be smuggled in: as other writers do
        ids = (
            pa.Array.from_buffers(
                pa.string(), len(rows), pa.concat_arrays(table["id"].chunks).buffers()
            )
            if rows
            else pa.array([], pa.string())
        )
        pq.write_table(table.set_column(0, "id", ids), path)
    else:
        good = json_line if format_ == "json" else csv_line
        lines = [
            good(id=f"t{first + at}") if kind == "good" else bad[kind][0]
            for at, kind in enumerate(kinds)
        ]
        head = [CSV_HEADER] if format_ == "csv" else []
        path.write_bytes(b"\n".join([*head, *lines]) + b"\n")
    return {at: bad[kind][1] for at, kind in enumerate(kinds) if kind != "good"}


def _row(kind: str, at: int) -> dict[str, Any]:
    changes = {"id": f"t{at}"} | ({} if kind == "good" else BAD_PARQUET[kind][0])
    row = thing(**changes) | {"day": datetime(2019, 11, 24, tzinfo=UTC).date()}
    return row | {"id": row["id"].encode() if isinstance(row["id"], str) else row["id"]}


EXPECTED: dict[str, Any] = {
    "event_time": datetime(2019, 11, 24, 10, 0, 0, 123456, tzinfo=UTC),
    "n": 7,
    "small": 1,
    "x": 0.5,
    "flag": True,
    "day": datetime(2019, 11, 24, tzinfo=UTC).date(),
    "price": Decimal("12.50"),
}


def records_of(lines: Sequence[bytes], *, first: int = 0, header: tuple[str, ...] = ()) -> Records:
    """Records of one partition whose offsets have no gaps."""
    return Records(
        partition=SourcePartition("things/a"),
        offsets=consecutive(first, len(lines)),
        end=Position(first + len(lines)),
        times=datetime(2019, 11, 24, tzinfo=UTC),
        lines=lines,
        header=header,
    )


def positions_of(**taken: Position) -> PositionsOf:
    """How far `things/<name>` were taken; `a_jsonl` is `a.jsonl`."""
    found = {SourcePartition(f"things/{name.replace('_', '.')}"): at for name, at in taken.items()}
    return lambda _: found


def rows_of(lake: Lake, stream: Stream) -> pa.Table:
    return lake.table(stream.table).head().to_arrow()


def dead_of(lake: Lake, stream: Stream) -> pa.Table:
    return lake.table(dead_letters.TABLE).head().to_arrow(partitions=[(stream.name,)])


def audit(lake: Lake, stream: Stream) -> dict[str, int]:
    """Count the records of each source; raises if one is missing or is there twice."""
    rows = rows_of(lake, stream).select(["_source", "_source_offset"])
    dead = dead_of(lake, stream).select(["_source", "_source_offset"])
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        connection.register("dead", dead)
        found = connection.execute("""
            with consumed as (select * from rows union all select * from dead)
            select _source, count(*), count(distinct _source_offset), min(_source_offset), max(_source_offset) + 1
            from consumed group by _source order by _source
        """).fetchall()
    for source, count, distinct, first, end in found:
        assert (count, distinct, first) == (end, end, 0), f"{source}: lost or doubled records"
    return {source: count for source, count, *_ in found}


def write_clicks(data_dir: Path, *, file: str, count: int = 1) -> None:
    """Write a file of clicks of one day; ids differ between files."""
    folder = data_dir / "clicks"
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(
        f"{file}-{at},i{at},2019-11-24T10:00:{at:02}Z,bts,men,1,1,s\n" for at in range(count)
    )
    (folder / f"{file}.csv").write_text(CLICKS + rows)
