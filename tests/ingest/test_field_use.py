"""Fields nobody declared, and declared ones no record has, are known for every format, in bounded space."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.definitions.properties import FIELD_USE_PROPERTY
from headrace.definitions.stream import Stream
from headrace.errors import UnknownFieldsError
from headrace.ingest import field_use
from headrace.ingest.decoding.decoded import did_you_mean
from headrace.ingest.decoding.json_lines import JsonDecoder
from headrace.ingest.run import ingest
from headrace.ingest.status import status
from headrace.tables.commits.operations import move_properties
from tests.ingest.factories import SUFFIX, dead_of, make_stream, rows_of

FORMATS = ["csv", "json", "parquet"]
AT = "2019-11-24T10:00:00Z"


def write(lake: Lake, name: str, rows: list[dict[str, Any]], *, format_: str) -> None:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{SUFFIX[format_]}"
    if format_ == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif format_ == "json":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        names = list(rows[0])
        lines = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
        path.write_text("".join(",".join(line) + "\n" for line in lines))


@pytest.mark.parametrize("format_", FORMATS)
def test_fields_are_counted_over_all_records_and_told_by_status(lake: Lake, format_: str) -> None:
    stream = make_stream(format_)
    assert status(lake, stream).absent_fields == ()  # of no record, nothing is said
    write(lake, "a", [{"id": "a", "at": AT, "Price": "1"}] * 3, format_=format_)
    first = ingest(lake, stream)
    assert first.undeclared_fields == {"Price": 3}
    write(lake, "b", [{"id": "b", "at": AT, "price": "1", "extra": 2}] * 2, format_=format_)
    second = ingest(lake, stream)
    assert second.undeclared_fields == {"extra": 2}
    told = status(lake, stream)
    assert told.undeclared_fields == {"Price": 3, "extra": 2}
    assert set(told.absent_fields) == stream.fields.keys() - {"id", "at", "price"}
    more = {"extra": {"type": "long"}, "cost": {"type": "double", "from": "Price"}}
    declared = status(lake, make_stream(format_, more_fields=more))
    assert declared.undeclared_fields == {}
    assert (
        declared.absent_fields == told.absent_fields
    )  # records had both, before they were declared


def test_of_rows_that_came_before_anything_was_noted_nothing_is_said(lake: Lake) -> None:
    stream = make_stream("json")
    write(lake, "a", [{"id": "a", "at": AT, "price": "1"}], format_="json")
    ingest(lake, stream)
    # as a table that an earlier version wrote
    move_properties(lake.table(stream.table), lambda _: {FIELD_USE_PROPERTY: None})
    assert status(lake, stream).absent_fields == ()
    write(lake, "b", [{"id": "b", "at": AT}], format_="json")
    assert ingest(lake, stream).absent_fields == ()
    added = make_stream("json", more_fields={"extra": {"type": "long"}})
    assert status(lake, added).absent_fields == (
        "extra",
    )  # of what was declared since, it is known


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_with_an_undeclared_field_is_refused_whole_if_the_contract_says_so(
    lake: Lake, format_: str
) -> None:
    stream = make_stream(format_, unknown_fields="refuse")
    good = {"id": "a", "at": AT}
    write(lake, "a", [good] * 2, format_=format_)
    write(lake, "b", [*([good] * 5), good | {"Price": "1"}], format_=format_)
    if format_ != "json":
        write(lake, "b", [good | {"Price": "1"}] * 6, format_=format_)
    with pytest.raises(UnknownFieldsError) as refused:
        ingest(lake, stream, rows_per_commit=2)
    assert (refused.value.fields, refused.value.path) == (("Price",), f"things/b.{SUFFIX[format_]}")
    assert rows_of(lake, stream).num_rows == 2
    assert dead_of(lake, stream).num_rows == 0
    write(lake, "b", [good] * 6, format_=format_)
    assert ingest(lake, stream, rows_per_commit=2).rows == 6


def test_what_is_known_of_fields_takes_bounded_space(lake: Lake) -> None:
    stream = make_stream("json")
    for at in range(3):
        many = {f"k{at}_{number}": 1 for number in range(100)}
        write(lake, str(at), [{"id": "a", "at": AT, "\ud800" * 200: 1} | many], format_="json")
        ingest(lake, stream)
    told = lake.table(stream.table).head().properties[FIELD_USE_PROPERTY]
    assert len(json.loads(told)["undeclared"]) == field_use.NAMES_MAX
    assert len(told) < 20_000


@pytest.mark.parametrize(
    ("name", "meant"),
    [("userId", "user_id"), ("USER_ID", "user_id"), ("user-id", "user_id"), ("usr_id", "user_id")]
    + [("colour", None), ("", None), ("\ud800", None)],
)
def test_a_name_is_meant_to_be_the_declared_one_it_is_like(name: str, meant: str | None) -> None:
    assert did_you_mean(name, ("user_id", "at")) == meant


def test_keys_that_are_always_null_keep_json_lines_on_the_fast_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream: Stream = make_stream("json", unknown_fields="dead_letter")
    good = {"id": "a", "at": AT, "other": None}
    lines = [json.dumps(good).encode()] * 500
    lines[123] = json.dumps(good | {"other": 1}).encode()
    singly: list[bytes] = []
    one = JsonDecoder.one

    def counted(self: JsonDecoder, line: bytes) -> Any:  # noqa: ANN401  (what `one` returns)
        singly.append(line)
        return one(self, line)

    monkeypatch.setattr(JsonDecoder, "one", counted)
    decoded = JsonDecoder(stream).decode(lines)
    assert list(decoded.violations) == [123]
    assert len(singly) < 50
