"""The watermark never goes back, and waits for the slowest active partition."""

from collections.abc import Collection, Generator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api import Lake
from headrace.definitions.stream import Stream
from headrace.errors import SourceFileError
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import Records, SourcePartition
from headrace.ingest.sources.file_splits import Split
from headrace.ingest.sources.files import FileSource
from headrace.ingest.watermark import Watermark, as_time, read
from tests.ingest.factories import json_line, make_stream

TIMES = st.one_of(st.none(), st.integers(-(10**15), 10**15))
LATENESS = st.timedeltas(timedelta(0), timedelta(days=30))
SLOW, FAST = SourcePartition("topic", 0), SourcePartition("topic", 1)


@given(TIMES, st.lists(TIMES, max_size=20), LATENESS)
def test_of_files_it_is_the_greatest_of_all_batches_in_any_order(
    start: int | None, batches: list[int | None], lateness: timedelta
) -> None:
    mark = Watermark(reached_us=start)
    for number, latest in enumerate(batches):
        before, file = mark.reached_us, SourcePartition(f"f{number}")
        newest = {} if latest is None else {file: latest}
        mark = mark.advanced(newest, active=[file], now_ms=number, allowed_lateness=lateness)
        mark = mark.kept([file])
        assert before is None or (mark.reached_us is not None and mark.reached_us >= before)
    late_us = lateness // timedelta(microseconds=1)
    known = [latest - late_us for latest in batches if latest is not None]
    reached = max([*known, *([] if start is None else [start])], default=None)
    assert mark.reached_us == reached


def reached(mark: Watermark, **newest_us: int) -> Watermark:
    names = {"slow": SLOW, "fast": FAST}
    return mark.advanced(
        {names[name]: at for name, at in newest_us.items()},
        active=[SLOW, FAST],
        now_ms=0,
        allowed_lateness=timedelta(microseconds=5),
    )


def test_it_waits_for_the_slowest_active_partition() -> None:
    mark = reached(Watermark(reached_us=None), slow=100, fast=900)
    assert mark.reached_us == 95
    mark = reached(mark, fast=2_000)
    assert mark.reached_us == 95
    mark = reached(mark, slow=1_000, fast=1_500)  # the newest counts, not the last
    assert mark.reached_us == 995


def test_an_active_partition_without_events_holds_it_and_an_idle_one_does_not() -> None:
    mark = reached(Watermark(reached_us=None), fast=900)
    assert mark.reached_us is None
    mark = later(mark, active=[FAST])
    assert mark.reached_us == 900
    assert later(mark).reached_us == 900


def later(
    mark: Watermark,
    *,
    active: Collection[SourcePartition] = (),
    now_ms: int = 0,
    idle_after_ms: int = 0,
    **newest_us: int,
) -> Watermark:
    names = {"slow": SLOW, "fast": FAST}
    return mark.advanced(
        {names[name]: at for name, at in newest_us.items()},
        active=active,
        now_ms=now_ms,
        allowed_lateness=timedelta(0),
        idle_after=timedelta(milliseconds=idle_after_ms),
    )


def test_a_partition_read_to_its_end_counts_until_it_is_idle_also_after_a_restart() -> None:
    mark = later(Watermark(reached_us=None), now_ms=0, idle_after_ms=10, slow=100, fast=900)
    assert mark.reached_us == 100
    mark = Watermark.read(mark.note() | mark.note_times())
    mark = later(mark, now_ms=9, idle_after_ms=10, fast=2_000)
    assert mark.reached_us == 100
    mark = Watermark.read(mark.note() | mark.note_times())
    assert later(mark, now_ms=10, idle_after_ms=10).reached_us == 2_000


def test_a_paused_partition_is_not_idle_however_long_it_is_paused() -> None:
    mark = later(Watermark(reached_us=None), slow=100, fast=900, idle_after_ms=10)
    mark = later(mark, active=[SLOW], now_ms=10**9, idle_after_ms=10, fast=2_000)
    assert mark.reached_us == 100


def test_an_empty_partition_read_to_its_end_is_idle_from_the_start() -> None:
    """Row 28: a partition without records holds the watermark for ever."""
    mark = later(Watermark(reached_us=None), active=[], idle_after_ms=10**6, fast=900)
    assert mark.reached_us == 900


def test_with_every_partition_idle_it_is_the_latest_event_and_not_beyond() -> None:
    """Row 28: a watermark at the maximum, as no partition counts."""
    mark = later(Watermark(reached_us=None), slow=100, fast=900, idle_after_ms=10)
    for now_ms in (100, 10**12):
        mark = later(mark, now_ms=now_ms, idle_after_ms=10)
        assert mark.reached_us == 900
    assert later(Watermark(reached_us=None), now_ms=10**12).reached_us is None


def test_a_host_clock_that_went_back_makes_no_partition_idle_too_early() -> None:
    mark = later(Watermark(reached_us=None), slow=100, fast=900, now_ms=10**9, idle_after_ms=10)
    assert later(mark, now_ms=5, idle_after_ms=10, fast=2_000).reached_us == 100


def test_it_reads_back_from_properties() -> None:
    assert Watermark.read(Watermark(reached_us=-5).note()).reached_us == -5
    assert Watermark.read(Watermark(reached_us=None).note()).reached_us is None
    assert read({}) is None
    assert as_time(2**62) is None


def put(lake: Lake, name: str, hours: tuple[int, ...]) -> None:
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json_line(at=f"2026-03-01T{at:02}:00:00Z") for at in hours]
    (folder / name).write_bytes(b"\n".join([*lines, b""]))


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [True, False])
def test_a_file_whose_last_row_ended_a_commit_holds_it_no_longer(
    lake: Lake, *, at_once: bool
) -> None:
    stream = make_stream("json", allowed_lateness="0s", idle_after="1h")
    source = FileSource(stream, data_dir=lake.settings.data_dir, read_bytes=50)
    commits = 0
    for name, hours in {"a": (1, 2, 3), "b": (5, 6, 7), "c": (4, 6, 8)}.items():
        put(lake, f"{name}.jsonl", hours)
        if not at_once:
            commits += ingest(lake, stream, source=source, rows_per_commit=3).commits
    done = ingest(lake, stream, source=source, rows_per_commit=3)
    assert commits + done.commits == 3
    head = lake.table(stream.table).head()
    assert done.watermark == datetime(2026, 3, 1, 8, tzinfo=UTC)
    assert head.properties["headrace.late_rows_total"] == "2"  # of c, behind the end of b


class _Stops(FileSource):
    """A source that fails behind the second block of a file."""

    def read(self, split: Split, *, rows_per_commit: int) -> Generator[Records]:
        found = super().read(split, rows_per_commit=rows_per_commit)
        yield next(found)
        yield next(found)
        raise SourceFileError(split.source, "it cannot be read")


def _read_half(lake: Lake, stream: Stream) -> None:
    source = _Stops(stream, data_dir=lake.settings.data_dir, read_bytes=50)
    with suppress(SourceFileError):
        ingest(lake, stream, source=source, rows_per_commit=2)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [2, 100])
@pytest.mark.parametrize("idle_after", ["0s", "1h"])
def test_a_file_that_is_half_read_holds_it_though_another_comes_before(
    lake: Lake, rows: int, idle_after: str
) -> None:
    stream = make_stream("json", allowed_lateness="0s", idle_after=idle_after)
    put(lake, "b.jsonl", (1, 2, 3, 4))
    folder = lake.settings.data_dir
    _read_half(lake, stream)
    assert lake.table(stream.table).head().row_count == 2
    put(lake, "a.jsonl", (8, 9))
    source = FileSource(stream, data_dir=folder, read_bytes=50)
    done = ingest(lake, stream, source=source, rows_per_commit=rows)
    assert (done.rows, done.late_rows) == (4, 0)
    assert done.watermark == datetime(2026, 3, 1, 4, tzinfo=UTC)


@pytest.mark.slow
def test_a_file_that_is_half_read_and_left_out_then_holds_it_no_longer(lake: Lake) -> None:
    files = {"files": "things/*.jsonl", "on_bad_file": "skip"}
    stream = make_stream("json", allowed_lateness="0s", idle_after="1h", source=files)
    put(lake, "b.jsonl", (1, 2, 3, 4))
    folder = lake.settings.data_dir
    _read_half(lake, stream)
    put(lake, "b.jsonl", (1,))  # what was taken of it is gone
    watermarks: list[datetime | None] = []
    for name, hour in {"a": 9, "c": 11}.items():
        put(lake, f"{name}.jsonl", (hour,))
        done = ingest(lake, stream, source=FileSource(stream, data_dir=folder))
        assert [error.code for error in done.skipped] == ["source-changed"]
        watermarks.append(done.watermark)
    assert watermarks == [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (9, 11)]
