"""What went silently wrong for users of other tools: each is a row, a dead letter or a refusal here."""

import datetime as dt
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.definitions.stream_field import StreamField
from headrace.definitions.types import FieldType
from headrace.errors import RecordsRefusedError, SourceFileError
from headrace.ingest import dead_letters
from headrace.ingest.infer import draft_of
from headrace.ingest.run import ingest
from headrace.ingest.sampling import sample_of
from tests.raising import refused

AT = "2026-03-01T00:00:00Z"


N = {"n": StreamField(type=FieldType.parse("long"))}


def contract(format_: str = "csv", **changes: Any) -> Stream:  # noqa: ANN401
    said: dict[str, Any] = {
        "stream": "things",
        "table": "raw.things",
        "source": {"files": "things/*", "complete_files": True},
        "format": format_,
        "event_time": "at",
        "known_at": {"after_event": "0s"},
        "fields": {
            "id": {"type": "long", "required": True},
            "at": {"type": "timestamptz", "required": True, "timezone": "Europe/Paris"},
        },
    }
    return Stream.model_validate(said | changes)


def land(lake: Lake, name: str, text: str) -> Path:
    path = lake.settings.data_dir / "things" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rows(lake: Lake) -> pa.Table:
    return lake.table("raw.things").head().to_arrow().sort_by("_source_offset")


def test_a_number_that_is_none_of_its_column_is_a_dead_letter_far_behind_the_sample(
    lake: Lake,
) -> None:
    lines = [f"{n},{AT}" for n in range(30_000)]
    for at, odd in ((25_000, "2.7"), (25_001, "1e3"), (25_002, "9" * 25)):
        lines[at] = f"{odd},{AT}"
    land(lake, "a.csv", "\n".join(["id,at", *lines]))
    done = ingest(lake, contract())
    assert (done.rows, done.dead_letters) == (29_997, 3)
    letters = lake.table(dead_letters.TABLE).head().to_arrow()
    assert sorted(letters["_source_offset"].to_pylist()) == [25_000, 25_001, 25_002]
    kept = [n for n in range(30_000) if not 25_000 <= n <= 25_002]
    assert rows(lake)["id"].to_pylist() == kept


def test_a_day_that_could_be_a_month_stays_a_text_in_a_draft(lake: Lake) -> None:
    days = ["03/04/2026", "13/04/2026", "04/03/2026"]
    path = land(
        lake, "a.csv", "\n".join(["id,day,at", *(f"{n},{d},{AT}" for n, d in enumerate(days))])
    )
    draft = draft_of(sample_of([path]), stream="things", table="raw.things", files="things/*")
    assert draft.fields["day"].type == "string"
    ingest(lake, Stream.model_validate(draft.declared()))
    assert rows(lake)["day"].to_pylist() == days


@pytest.mark.parametrize("wide", [0, 1, 2])
def test_the_first_row_does_not_decide_how_many_values_there_are(lake: Lake, wide: int) -> None:
    lines = [f"{n},{AT}" + ",more" * (n == wide) for n in range(3)]
    land(lake, "a.csv", "\n".join(lines))
    done = ingest(lake, contract(csv={"header": False}))
    assert (done.rows, done.reasons) == (2, {"wrong_columns": 1})


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_times_are_those_of_the_contract_on_every_host(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        land(lake, "a.csv", f"id,at\n1,2026-07-01 12:00:00\n2,{AT}\n")
        ingest(lake, contract())
        moment = dt.datetime(2026, 7, 1, 12)  # noqa: DTZ001  (as writers without zones do)
        folder = lake.settings.data_dir / "naive"
        folder.mkdir()
        table = pa.table({"id": [1], "at": pa.array([moment], pa.timestamp("us"))})
        pq.write_table(table, folder / "a.parquet")
        source = {"files": "naive/*"}
        ingest(lake, contract("parquet", stream="naive", table="raw.naive", source=source))
    finally:
        monkeypatch.undo()
        time.tzset()
    wanted = dt.datetime(2026, 7, 1, 10, tzinfo=dt.UTC)
    assert rows(lake)["event_time"].to_pylist()[0] == wanted
    naive = lake.table("raw.naive").head().to_arrow()["event_time"].to_pylist()
    assert naive == [wanted]


def test_a_parquet_time_without_a_zone_is_refused_where_the_contract_names_none(lake: Lake) -> None:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True)
    naive = dt.datetime(2026, 7, 1)  # noqa: DTZ001  (the point of it)
    table = pa.table({"id": [1], "at": pa.array([naive], pa.timestamp("us"))})
    pq.write_table(table, folder / "a.parquet")
    fields = {"id": {"type": "long"}, "at": {"type": "timestamptz", "required": True}}
    with refused(SourceFileError, path="things/a.parquet"):
        ingest(lake, contract("parquet", fields=fields))


def test_a_file_of_long_ago_that_shows_up_late_is_read(lake: Lake) -> None:
    land(lake, "b.csv", f"id,at\n1,{AT}\n")
    ingest(lake, contract())
    late = land(lake, "a.csv", f"id,at\n2,{AT}\n")
    os.utime(late, (10**9, 10**9))
    assert ingest(lake, contract()).rows == 1


def test_an_empty_value_is_null_with_and_without_quotes(lake: Lake) -> None:
    land(lake, "a.csv", f'id,at,note\n1,{AT},""\n2,{AT},\n3,{AT}," "\n')
    fields = contract().fields | {"note": StreamField(type=FieldType.parse("string"))}
    ingest(lake, contract(fields=fields))
    assert rows(lake)["note"].to_pylist() == [None, None, " "]


def test_names_of_folders_are_text_and_keep_their_zeros(lake: Lake) -> None:
    for hour in ("06", "6"):
        land(lake, f"hour={hour}/a.csv", f"id,at\n1,{AT}\n")
    source = {"files": "things/*/*.csv", "complete_files": True}
    assert ingest(lake, contract(source=source)).rows == 2
    found = lake.table("raw.things").head().to_arrow()
    assert sorted(found["_source"].to_pylist()) == ["things/hour=06/a.csv", "things/hour=6/a.csv"]
    assert found.schema.names[:1] == ["id"]
    assert not [name for name in found.schema.names if "hour" in name]


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_a_point_in_a_column_of_whole_numbers_makes_no_second_column(
    lake: Lake, format_: str
) -> None:
    def text(number: str) -> str:
        if format_ == "csv":
            return f"id,at,n\n1,{AT},{number}\n"
        return f'{{"id": 1, "at": "{AT}", "n": {number}}}\n'

    stream = contract(format_, unknown_fields="evolve", fields=contract().fields | N)
    land(lake, "a", text("7"))
    ingest(lake, stream)
    before = rows(lake)
    land(lake, "b", text("3.7"))
    done = ingest(lake, stream)
    assert (done.rows, done.reasons) == (0, {"wrong_type `n`": 1})
    assert isinstance(done.refusal, RecordsRefusedError)
    assert rows(lake).equals(before)
    (letter,) = lake.table(dead_letters.TABLE).head().to_arrow().to_pylist()
    assert (letter["error_code"], letter["field"]) == ("wrong_type", "n")


def test_a_file_of_an_old_set_of_columns_is_no_success_and_is_taken_when_the_contract_is_mended(
    lake: Lake,
) -> None:
    land(lake, "old.csv", "number,at\n" + f"7,{AT}\n" * 5)
    with refused(SourceFileError, path="things/old.csv"):
        ingest(lake, contract())
    assert lake.table(dead_letters.TABLE).head().row_count == 0
    number = StreamField.model_validate({"type": "long", "required": True, "from": "number"})
    done = ingest(lake, contract(fields=contract().fields | {"id": number}))
    assert (done.rows, done.dead_letters, rows(lake)["id"].to_pylist()) == (5, 0, [7] * 5)
