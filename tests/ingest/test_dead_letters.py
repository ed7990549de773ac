"""Dead letters keep their record as it came, and old tables gain what they lacked."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from headrace.api import Lake
from headrace.errors import UnexplainedGapError
from headrace.ingest import dead_letters
from headrace.ingest.absent import Absent, Offsets
from headrace.ingest.decoding.decoded import Violation
from headrace.ingest.letter_values import COLUMNS, row_of
from headrace.ingest.open_batch import OpenBatch
from headrace.ingest.refused_window import WINDOW_RECORDS, RefusedWindow
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import Position, Records, TimeType
from headrace.ingest.sources.holes import Hole, HoleKind
from headrace.ingest.stream_tables import StreamTables
from headrace.tables.declare import declare_table
from tests.ingest.factories import (
    BAD_PARQUET,
    dead_of,
    json_line,
    make_stream,
    records_of,
    rows_of,
    write_things,
)
from tests.ingest.log_source import Entry, Log, LogSource

STREAM = make_stream("json")
pytestmark = pytest.mark.slow

BAD = {0: Violation("malformed", "no JSON")}


def letters_of(records: Records) -> list[dict[str, object]]:
    found = dict.fromkeys(range(records.count), BAD[0])
    return dead_letters.rows_of(records, found, stream=STREAM).to_pylist()


def test_a_letter_of_a_log_is_whole_however_long_it_is(lake: Lake) -> None:
    """Row 11 of the failures of others: a letter cut at a limit is half a record when it is replayed."""
    long = b'"' + b"x" * 3_000_000
    log = LogSource({0: Log(entries=[Entry(0, long), Entry(1, json_line())], end=2)})
    ingest(lake, STREAM, source=log)
    (letter,) = dead_of(lake, STREAM).to_pylist()
    assert (letter["raw"], letter["is_whole"]) == (long, True)


def test_a_line_that_the_reader_of_a_file_cut_says_that_it_is_not_whole(lake: Lake) -> None:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(b"".join((json_line(), b"\n", b"x" * 2_000_000, b"\n{\n")))
    ingest(lake, STREAM)
    found = {row["_source_offset"]: row["is_whole"] for row in dead_of(lake, STREAM).to_pylist()}
    assert found == {1: False, 2: True}


def test_a_letter_keeps_key_ordered_headers_and_time_with_its_type() -> None:
    """Rows 12 and 29: what is dropped cannot be replayed, and a time means nothing without its clock."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    headers = [("b", b"1"), ("a", None), ("b", b"\xff")]
    records = replace(
        records_of([b"{"]), times=at, time_type=TimeType.CREATED, keys=[b"k\x00"], headers=[headers]
    )
    (letter,) = letters_of(records)
    assert (letter["key"], letter["source_time_type"]) == (b"k\x00", "created")
    assert letter["_source_time"] == at
    assert letter["headers"] == [{"name": name, "value": value} for name, value in headers]
    (without,) = letters_of(records_of([b"{"]))
    assert (without["key"], without["headers"], without["csv_header"]) == (None, None, None)


def test_a_letter_of_a_csv_file_knows_the_columns_of_its_header() -> None:
    (letter,) = letters_of(records_of([b"1,2"], header=("id", "n")))
    assert letter["csv_header"] == ["id", "n"]


def test_a_columnar_record_is_kept_with_its_types_and_bytes(lake: Lake) -> None:
    stream = make_stream("parquet")
    write_things(lake.settings.data_dir, "a", ["good", *BAD_PARQUET], format_="parquet")
    ingest(lake, stream)
    letters = dead_of(lake, stream).to_pylist()
    assert len(letters) == len(BAD_PARQUET)
    rows = {row["_source_offset"] - 1: row_of(row["row_ipc"]) for row in letters}
    by_kind = {kind: rows[at] for at, kind in enumerate(BAD_PARQUET)}
    assert all(row.num_rows == 1 for row in by_kind.values())
    assert by_kind["beyond int"].column("small").to_pylist() == [2**31]
    assert by_kind["beyond int"].schema.field("n").type == pa.int32()
    not_utf8 = by_kind["not UTF-8"].column("id")
    assert not_utf8.cast(pa.large_binary()).to_pylist() == [b"\xff\xfe"]


def test_a_table_of_an_older_version_gains_the_columns_once(lake: Lake) -> None:
    former = pa.schema([each for each in dead_letters.SCHEMA if each.name not in COLUMNS.names])
    declare_table(lake, dead_letters.TABLE, former, partition_by=("stream",))
    table = dead_letters.open_table(lake)
    once = table.head().metadata_location
    assert set(COLUMNS.names) < set(table.head().schema.names)
    assert dead_letters.open_table(lake).head().metadata_location == once
    ingest(lake, STREAM, source=LogSource({0: Log(entries=[Entry(0, b"{")], end=1)}))
    assert dead_of(lake, STREAM).num_rows == 1


def test_offsets_without_a_record_are_noted_by_number_and_sum(lake: Lake) -> None:
    entries = [Entry(at, json_line(id=f"{at}")) for at in (2, 3, 7)]
    log = LogSource({4: Log(entries=entries, end=10)})
    ingest(lake, STREAM, source=log)
    properties = lake.table(STREAM.table).head().properties
    noted = Absent.read(properties, stream="things").by_key
    assert noted == {"things//4": {"empty": Offsets(7, 0 + 1 + 4 + 5 + 6 + 8 + 9)}}
    log.grow(4, [json_line(id="10")])
    ingest(lake, STREAM, source=log)
    assert Absent.read(lake.table(STREAM.table).head().properties, stream="things").by_key == noted


@pytest.mark.parametrize(
    ("holes", "first"),
    [
        ((), 1),
        ((Hole(1, 2, HoleKind.EMPTY),), 4),
        ((Hole(1, 2, HoleKind.EMPTY), Hole(4, 5, HoleKind.EMPTY)), 4),
        ((Hole(0, 2, HoleKind.EMPTY), Hole(4, 6, HoleKind.ABORTED)), 0),
    ],
    ids=["none told", "one not told", "told too short", "told where a record is"],
)
def test_an_offset_without_record_and_without_reason_is_refused(
    lake: Lake, holes: tuple[Hole, ...], first: int
) -> None:
    lines = [json_line(id=f"{at}") for at in range(3)]
    records = replace(
        records_of(lines), offsets=pa.array([0, 2, 3]).to_numpy(), end=Position(6), holes=holes
    )
    tables = StreamTables.open(lake, STREAM, run_id="r", is_log=True)
    with OpenBatch(tables) as batch, pytest.raises(UnexplainedGapError) as raised:
        batch.add(records)
    assert raised.value.first == first
    good = (Hole(1, 2, HoleKind.EMPTY), Hole(4, 5, HoleKind.EMPTY), Hole(5, 6, HoleKind.ABORTED))
    with OpenBatch(tables) as batch:
        batch.add(replace(records, holes=good))
        batch.commit(active=())
    assert rows_of(lake, STREAM).num_rows == 3


def test_a_gap_that_was_accepted_is_recorded_with_its_exact_range(lake: Lake) -> None:
    lost = (Hole(0, 5, HoleKind.LOST), Hole(5, 6, HoleKind.EMPTY))
    records = replace(records_of([json_line()]), offsets=np.array([6]), end=Position(7), holes=lost)
    tables = StreamTables.open(lake, STREAM, run_id="r", is_log=True)
    with OpenBatch(tables) as batch:
        batch.add(records)
        batch.commit(active=())
    properties = lake.table(STREAM.table).head().properties
    assert list(json.loads(properties["headrace.gaps.things"])) == ["things/a:0-5"]
    noted = Absent.read(properties, stream="things").by_key["things/a"]
    assert noted == {"lost": (5, 10), "empty": (1, 5)}
    lost = (Hole(7, 9, HoleKind.LOST),)
    records = replace(records, offsets=np.array([9]), end=Position(10), holes=lost)
    with OpenBatch(StreamTables.open(lake, STREAM, run_id="r", is_log=True)) as batch:
        batch.add(records)
        batch.commit(active=())
    gaps = StreamTables.open(lake, STREAM, run_id="r").gaps
    assert gaps.keys() == {"things/a:0-5", "things/a:7-9"}


def test_a_log_of_many_partitions_stays_open_and_seals_nothing(lake: Lake) -> None:
    logs = {at: Log(entries=[Entry(0, json_line(id=f"{at}"))], end=1) for at in range(36)}
    log = LogSource(logs)
    for _ in range(2):
        assert ingest(lake, STREAM, source=log).commits == 1
        for at in range(18):
            log.grow(at, [b"{"])
    ingest(lake, STREAM, source=log)
    for name in (str(STREAM.table), str(dead_letters.TABLE)):
        assert "/sealed" not in lake.table(name).head().properties["headrace.offsets.things"]
    assert rows_of(lake, STREAM).num_rows == 36
    assert dead_of(lake, STREAM).num_rows == 36


def test_the_window_of_refusals_is_bounded_counts_records_and_survives_a_restart() -> None:
    window = RefusedWindow()
    for at in range(1_000):
        window = window.moved(records=37, refused=37, at_ms=at)
        window = RefusedWindow.read(window.note())
        assert len(window.buckets) <= 20
        assert window.exceeds(1.0) == (37 * (at + 1) >= WINDOW_RECORDS)
    assert window.records < 2 * WINDOW_RECORDS
    window = window.moved(records=WINDOW_RECORDS, refused=WINDOW_RECORDS // 2, at_ms=1_001)
    assert (window.exceeds(0.5), window.exceeds(0.51)) == (True, False)
    assert not window.since(1_001).exceeds(0.01)
    window = window.moved(records=3, refused=1, at_ms=990)  # a clock that went back
    assert RefusedWindow.read(window.note()).buckets[-1] == (WINDOW_RECORDS + 3, 5_001, 1_001)
