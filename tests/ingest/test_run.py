"""One run after another: resuming, growing files, changed contracts, and what is said about it all."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.definitions.properties import EVENT_TIMES
from headrace.definitions.stream import Stream
from headrace.errors import ContractError, FencedError, SourceFileError, UnknownFieldsError
from headrace.iceberg.partitions import PartitionKey
from headrace.ingest import positions, run
from headrace.ingest.dead_letters import TABLE
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import Records
from headrace.ingest.sources.file_splits import Split
from headrace.ingest.sources.files import FileSource
from headrace.ingest.status import status
from headrace.tables.writer import TableWriter
from tests.ingest.factories import (
    CSV_HEADER,
    SUFFIX,
    audit,
    csv_line,
    dead_of,
    json_line,
    make_stream,
    rows_of,
    write_things,
)
from tests.tables.factories import name_coordinates_as_before

pytestmark = pytest.mark.slow

AT = datetime(2019, 11, 24, 10, 0, 0, 123456, tzinfo=UTC)


def put(lake: Lake, name: str, *lines: bytes) -> None:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"".join(line + b"\n" for line in lines))


def test_without_anything_new_nothing_is_committed(lake: Lake) -> None:
    stream = make_stream("json")
    assert ingest(lake, stream).commits == 0
    write_things(lake.settings.data_dir, "a", ["good", "missing"], format_="json")
    assert ingest(lake, stream).commits == 1
    before = lake.table(stream.table).head()
    again = ingest(lake, stream)
    assert (again.commits, again.rows, again.splits) == (0, 0, ())
    assert again.watermark == AT - timedelta(hours=1)
    assert lake.table(stream.table).head().metadata_location == before.metadata_location


def test_a_long_file_is_several_commits(lake: Lake) -> None:
    stream = make_stream("json")
    for name in "abc":
        put(lake, f"{name}.jsonl", *[json_line(id=f"{name}{n}") for n in range(10)])
    source = FileSource(stream, data_dir=lake.settings.data_dir, read_bytes=300)
    result = ingest(lake, stream, rows_per_commit=4, source=source)
    assert [taken.rows for taken in result.splits] == [10, 10, 10]
    assert all(2 <= taken.commits <= 4 for taken in result.splits)
    put(lake, "d.jsonl", *[json_line()] * 10)
    assert ingest(lake, stream).commits == 1
    assert audit_rows(lake, stream) == {f"things/{name}.jsonl": 10 for name in "abcd"}


def test_memory_is_given_back_at_each_commit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[None] = []
    monkeypatch.setattr(run, "give_back", lambda: given.append(None))
    for name in ("a", "b", "c"):
        put(lake, f"{name}.jsonl", json_line(id=name))
    assert ingest(lake, make_stream("json"), rows_per_commit=1).commits == len(given) == 3


def test_files_share_a_commit_as_many_as_a_table_names(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "OPEN_MAX", 3)
    stream, told = make_stream("json"), list[str]()
    for at in range(8):
        put(lake, f"{at}.jsonl", json_line(id=f"{at}"), b"{")
    done = ingest(lake, stream, progress=lambda taken: told.append(taken.source))
    assert (done.commits, done.rows, done.dead_letters) == (3, 8, 8)
    assert told == [f"things/{at}.jsonl" for at in range(8)]
    assert audit(lake, stream) == dict.fromkeys(told, 2)


@pytest.mark.parametrize("unknown", ["ignore", "refuse"])
@pytest.mark.parametrize("first", [1, 58])  # rows of `a`; with the first block of `c` above 60
def test_files_before_one_that_cannot_be_read_stay_and_nothing_of_it_does(
    lake: Lake, unknown: str, first: int
) -> None:
    stream = make_stream("csv", unknown_fields=unknown)
    header = b"unknown," + CSV_HEADER if unknown == "refuse" else CSV_HEADER
    put(lake, "a.csv", CSV_HEADER, *[csv_line()] * first)
    put(lake, "b.csv", CSV_HEADER, csv_line())
    put(lake, "c.csv", header, *[csv_line()] * 50)
    put(lake, "d.csv", CSV_HEADER, csv_line())
    source = _Damaged(stream, data_dir=lake.settings.data_dir, read_bytes=300)
    with pytest.raises(UnknownFieldsError if unknown == "refuse" else SourceFileError):
        ingest(lake, stream, source=source, rows_per_commit=60)
    assert audit(lake, stream) == {"things/a.csv": first, "things/b.csv": 1}


@pytest.mark.parametrize("error", [SourceFileError("things/c.csv", "damaged"), RuntimeError("bug")])
def test_files_share_commits_again_after_one_that_could_not_be_read_once(
    lake: Lake, error: Exception
) -> None:
    stream = make_stream("csv")
    for name in "abcdefgh":
        put(lake, f"{name}.csv", CSV_HEADER, *[csv_line()] * 50)
    source = _Damaged(stream, data_dir=lake.settings.data_dir, read_bytes=300)
    source.error, source.errors = error, 1
    assert ingest(lake, stream, source=source).commits == 3  # of a, of b, of c to h
    assert audit(lake, stream) == {f"things/{name}.csv": 50 for name in "abcdefgh"}


class _Damaged(FileSource):
    """A source whose file `c` cannot be read to its end, some times."""

    error: Exception = SourceFileError("things/c.csv", "damaged")
    errors = 100

    def read(self, split: Split, *, rows_per_commit: int) -> Generator[Records]:
        found = super().read(split, rows_per_commit=rows_per_commit)
        if split.source == "things/c.csv" and self.errors:
            self.errors -= 1
            yield next(found)
            raise self.error
        yield from found


def test_what_is_late_does_not_depend_on_how_many_files_share_a_commit(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = {"a": (1, 2), "b": (5, 0), "c": (2, 9), "d": (3,), "e": (4, 20)}
    for name, given_ in hours.items():
        put(lake, f"{name}.jsonl", *[json_line(at=f"2026-03-01T{at:02}:00:00Z") for at in given_])
    found: list[tuple[object, ...]] = []
    for files, rows in ((1, 100), (2, 100), (32, 100), (32, 3)):
        monkeypatch.setattr(positions, "OPEN_MAX", files)
        stream = make_stream("json", stream=f"of_{files}_{rows}", table=f"raw.of_{files}_{rows}")
        source = FileSource(stream, data_dir=lake.settings.data_dir, read_bytes=50)
        done = ingest(lake, stream, source=source, rows_per_commit=rows)
        said = lake.table(stream.table).head().properties
        found.append((done.watermark, [each.late_rows for each in done.splits], said[EVENT_TIMES]))
    assert found[0][:2] == (datetime(2026, 3, 1, 19, tzinfo=UTC), [0, 1, 1, 1, 1])
    assert found == [found[0]] * 4


def test_a_watermark_is_not_committed_past_rows_of_a_short_file_that_are_not_there(
    lake: Lake,
) -> None:
    stream = make_stream("json")
    for name, hours in {"a": [1] * 6, "b": [20] * 4 + [10] * 4}.items():
        put(lake, f"{name}.jsonl", *[json_line(at=f"2026-03-01T{at:02}:00:00Z") for at in hours])
    source = FileSource(stream, data_dir=lake.settings.data_dir, read_bytes=100)
    done = ingest(lake, stream, source=source, rows_per_commit=10)
    assert [each.late_rows for each in done.splits] == [0, 0]
    assert done.commits == 1


def audit_rows(lake: Lake, stream: Stream) -> dict[str, int]:
    counts = (
        rows_of(lake, stream).group_by("_source").aggregate([("_source_offset", "count_distinct")])
    )
    return {row["_source"]: row["_source_offset_count_distinct"] for row in counts.to_pylist()}


def test_a_file_that_grew_is_read_from_where_it_ended(lake: Lake) -> None:
    stream = make_stream("json")
    put(lake, "a.jsonl", json_line(id="a"), json_line(id=None))
    ingest(lake, stream)
    put(lake, "a.jsonl", json_line(id="a"), json_line(id=None), b"", json_line(id="c"))
    result = ingest(lake, stream)
    assert (result.rows, result.dead_letters) == (1, 0)
    assert sorted(rows_of(lake, stream)["id"].to_pylist()) == ["a", "c"]
    assert audit(lake, stream) == {"things/a.jsonl": 3}


@pytest.mark.parametrize("format_", ["csv", "json"])
@run_settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_dead_letter_knows_its_line(lake: Lake, format_: str, data: st.DataObject) -> None:
    good, bad = (csv_line(), b"bad") if format_ == "csv" else (json_line(), b"bad")
    line = st.sampled_from([good, bad + b"1", bad + b"22", b"", b"  ", b"\r"])
    head = [b"", CSV_HEADER if format_ == "csv" else good]
    first, second = (data.draw(st.lists(line, min_size=1, max_size=12)) for _ in range(2))
    stream = make_stream(format_)
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{len(list(folder.iterdir())):03}.{SUFFIX[format_]}"
    source = FileSource(stream, data_dir=lake.settings.data_dir, read_bytes=40)
    for lines in ([*head, *first], [*head, *first, *second]):
        path.write_bytes(b"".join(each + b"\n" for each in lines))
        ingest(lake, stream, source=source)
    dead = dead_of(lake, stream)
    dead = dead.filter(pc.equal(dead["_source"], f"things/{path.name}"))
    found = {row["source_line"]: row["raw"] for row in dead.to_pylist()}
    every = enumerate([*head, *first, *second], start=1)
    assert found == {number: text for number, text in every if text.startswith(bad)}


def test_files_before_a_refused_one_stay_and_nothing_of_it_is_taken(lake: Lake) -> None:
    stream = make_stream("parquet")
    write_things(lake.settings.data_dir, "a", ["good"] * 3, format_="parquet")
    write_things(lake.settings.data_dir, "b", ["good"] * 3, format_="parquet")
    bad = lake.settings.data_dir / "things" / "b.parquet"
    bad.write_bytes(bad.read_bytes()[:-9])
    with pytest.raises(SourceFileError) as raised:
        ingest(lake, stream)
    assert raised.value.path == "things/b.parquet"
    assert audit_rows(lake, stream) == {"things/a.parquet": 3}
    bad.unlink()
    write_things(lake.settings.data_dir, "b", ["good"] * 3, format_="parquet")
    assert ingest(lake, stream).rows == 3


def test_a_table_of_nothing_but_dead_letters_still_moves_on(lake: Lake) -> None:
    stream = make_stream("json")
    put(lake, "a.jsonl", b"{", b"{}", b"{")
    assert ingest(lake, stream).dead_letters == 3
    assert ingest(lake, stream).commits == 0
    assert status(lake, stream).dead_letters == 3
    assert status(lake, stream).watermark is None


def test_rows_older_than_the_watermark_are_kept_and_counted(lake: Lake) -> None:
    stream = make_stream("json")
    put(lake, "a.jsonl", json_line())
    ingest(lake, stream)
    put(lake, "b.jsonl", json_line(at="2019-11-24T08:00:00Z"), json_line(at="2019-11-24T09:30:00Z"))
    result = ingest(lake, stream)
    assert (result.rows, result.late_rows) == (2, 1)
    assert result.watermark == AT - timedelta(hours=1)
    head = lake.table(stream.table).head()
    said = {name: head.summary.get(f"headrace.{name}") for name in ("late_rows", "dirty_days")}
    assert said == {"late_rows": "1", "dirty_days": '["2019-11-24"]'}
    assert head.properties["headrace.late_rows_total"] == "1"
    assert head.summary["headrace.contract_version"] == "1"


def test_a_file_that_was_read_does_not_hold_the_watermark_back(lake: Lake) -> None:
    stream = make_stream("json", allowed_lateness="0s")
    for day in (1, 2, 3):
        put(lake, f"{day}.jsonl", json_line(at=f"2019-11-0{day}T00:00:00Z"))
        if day > 1:
            assert ingest(lake, stream).watermark == datetime(2019, 11, day, tzinfo=UTC)
    put(lake, "4.jsonl", json_line(at="2019-10-01T00:00:00Z"))
    assert ingest(lake, stream).watermark == datetime(2019, 11, 3, tzinfo=UTC)
    assert lake.table(stream.table).head().properties["headrace.event_times"] == "{}"


def test_known_at_is_stamped_taken_or_derived_as_the_contract_says(lake: Lake) -> None:
    received = {"received": {"type": "timestamptz", "required": True}}
    line = json_line(received="2019-11-24T12:00:00Z")
    put(lake, "a.jsonl", line)
    before = datetime.now(UTC)
    for name, known_at in (
        ("stamped", "ingested"),
        ("taken", {"column": "received"}),
        ("derived", {"after_event": "90m"}),
    ):
        stream = make_stream(
            "json", stream=name, table=f"raw.{name}", known_at=known_at, more_fields=received
        )
        ingest(lake, stream)
        (row,) = rows_of(lake, stream).to_pylist()
        if name == "stamped":
            assert before <= row["known_at"] <= datetime.now(UTC)
        elif name == "taken":
            assert row["known_at"] == datetime(2019, 11, 24, 12, tzinfo=UTC)
        else:
            assert row["known_at"] == AT + timedelta(minutes=90)


def test_an_unknown_field_is_ignored_or_refused_as_the_contract_says(lake: Lake) -> None:
    put(lake, "a.jsonl", json_line(other=1), json_line(other=None), json_line())
    ignoring = make_stream("json")
    assert ingest(lake, ignoring).dead_letters == 0
    strict = make_stream("json", stream="strict", table="raw.strict", unknown_fields="dead_letter")
    assert ingest(lake, strict).dead_letters == 1
    (letter,) = dead_of(lake, strict).to_pylist()
    assert (letter["error_code"], letter["field"]) == ("unknown_field", "other")


def test_a_contract_that_grows_changes_the_table_before_the_data(lake: Lake) -> None:
    put(lake, "a.jsonl", json_line(extra="x"))
    ingest(lake, make_stream("json"))
    wider = make_stream(
        "json", version=2, more_fields={"small": {"type": "long"}, "extra": {"type": "string"}}
    )
    put(lake, "b.jsonl", json_line(extra="y", small=2**40))
    assert ingest(lake, wider).rows == 1
    rows = {row["_source"]: row for row in rows_of(lake, wider).to_pylist()}
    assert rows["things/a.jsonl"]["extra"] is None
    assert rows["things/b.jsonl"]["small"] == 2**40
    with pytest.raises(ContractError) as raised:
        ingest(lake, make_stream("json"))
    assert (raised.value.table, "`small`" in raised.value.detail) == ("raw.things", True)


class _Overtaken(FileSource):
    """A source during whose reading a rival ingests everything."""

    def __init__(self, lake: Lake, stream: Stream) -> None:
        super().__init__(stream, data_dir=lake.settings.data_dir)
        self._lake = lake

    def read(self, split: Split, *, rows_per_commit: int) -> Generator[Records]:
        yield from super().read(split, rows_per_commit=rows_per_commit)
        with Lake.open(self._lake.settings) as rival:
            ingest(rival, make_stream("json"))


@pytest.mark.parametrize("kinds", [["good"], ["good", "missing"], ["missing"]])
def test_an_overtaken_ingester_is_fenced_and_leaves_nothing(lake: Lake, kinds: list[str]) -> None:
    stream = make_stream("json")
    write_things(lake.settings.data_dir, "a", kinds, format_="json")
    slow = _Overtaken(lake, stream)
    with pytest.raises(FencedError):
        ingest(lake, stream, source=slow)
    ingest(lake, stream)
    if "missing" in kinds:
        assert audit(lake, stream) == {"things/a.jsonl": len(kinds)}
    assert rows_of(lake, stream).num_rows == kinds.count("good")


def test_status_changes_nothing_and_says_what_waits(lake: Lake) -> None:
    stream = make_stream("json")
    put(lake, "a.jsonl", json_line())
    said = status(lake, stream)
    assert (said.rows, said.sources_taken, said.sources_waiting) == (0, 0, ("things/a.jsonl",))
    assert not lake.exists(stream.table)
    ingest(lake, stream)
    said = status(lake, stream)
    assert (said.rows, said.sources_taken, said.sources_waiting) == (1, 1, ())


def test_the_table_describes_itself(lake: Lake) -> None:
    stream = make_stream("json", feature_view={"entity": ["id"]}, cluster_by=["id", "event_time"])
    ingest(lake, stream)
    properties = lake.table(stream.table).head().properties
    assert properties["headrace.stream"] == "things"
    assert '"entity": ["id"]' in properties["headrace.feature_view"]
    assert properties["headrace.cluster_by"] == '["id", "event_time"]'
    assert properties["headrace.lateness_s"] == "3600"
    assert properties["headrace.key"] == '["id"]'
    assert lake.table(stream.table).head().schema.field("_source_offset").type == pa.int64()


def test_an_event_of_the_far_future_is_refused_and_leaves_the_watermark(lake: Lake) -> None:
    stream = make_stream("json")
    put(lake, "a.jsonl", json_line(id="a"), json_line(id="b", at="2199-01-01T00:00:00Z"))
    result = ingest(lake, stream)
    assert (result.rows, result.dead_letters) == (1, 1)
    assert result.watermark == AT - timedelta(hours=1)
    (dead,) = dead_of(lake, stream).to_pylist()
    assert (dead["error_code"], dead["field"]) == ("future_time", "at")
    assert "more than 1d in the future" in dead["reason"]


def test_a_clock_that_is_a_little_ahead_is_believed(lake: Lake) -> None:
    ahead = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    put(lake, "a.jsonl", json_line(id="a", at=ahead))
    assert ingest(lake, make_stream("json")).rows == 1
    put(lake, "b.jsonl", json_line(id="b", at=ahead))
    assert ingest(lake, make_stream("json", allowed_clock_skew="0s")).dead_letters == 1


def test_coordinates_by_their_former_names_are_renamed_by_the_next_run(lake: Lake) -> None:
    stream = make_stream("json")
    write_things(lake.settings.data_dir, "a", ["good", "missing"], format_="json")
    ingest(lake, stream)
    tables = (lake.table(stream.table), lake.table(TABLE))
    ids = [name_coordinates_as_before(table) for table in tables]
    assert status(lake, stream).dead_letters == 1
    write_things(lake.settings.data_dir, "b", ["missing", "good"], format_="json")
    assert ingest(lake, stream).rows == 1
    assert audit(lake, stream) == {"things/a.jsonl": 2, "things/b.jsonl": 2}
    found = [table.iceberg().schema().fields for table in tables]
    assert [{each.name: each.field_id for each in fields} for fields in found] == ids


def test_a_backlog_of_many_days_keeps_few_files_open(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 37 of the failures of others: one open writer for each day of a backlog."""
    monkeypatch.setattr("headrace.tables.writer.OPEN_PARTITIONS_MAX", 4)
    days = [datetime(2015, 1, 1, tzinfo=UTC) + timedelta(days=90 * at) for at in range(20)]
    put(lake, "a.jsonl", *[json_line(id=f"{at:%Y%m%d}", at=at.isoformat()) for at in days])
    opened: list[int] = []
    close_one = TableWriter._close_one

    def closing(writer: TableWriter, key: PartitionKey) -> None:
        opened.append(len(writer._open))
        close_one(writer, key)

    monkeypatch.setattr(TableWriter, "_close_one", closing)
    assert ingest(lake, make_stream("json")).rows == len(days)
    assert max(opened) == 4
    assert rows_of(lake, make_stream("json")).num_rows == len(days)
