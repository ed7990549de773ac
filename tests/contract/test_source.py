"""What every source promises, and what `ingest` makes of it, whatever the source."""

import random
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from headrace.api import Lake
from headrace.errors import SourceOrderError, SourceStalledError
from headrace.ingest import run
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import (
    Batch,
    Position,
    PositionsOf,
    Reader,
    ReaderStatus,
    Records,
    Source,
    SourcePartition,
)
from headrace.ingest.status import status
from headrace.tables.commits import operations
from tests.contract.source_worlds import STREAM, WORLDS, Pair, World, log_of
from tests.ingest.factories import dead_of, json_line, make_stream, rows_of
from tests.ingest.log_source import Entry, Log, LogReader, LogSource

_FIRST_S_MAX = 10.0


@pytest.fixture(params=sorted(WORLDS))
def make_world(request: pytest.FixtureRequest) -> Callable[[Path], World]:
    return WORLDS[request.param]


@pytest.fixture
def world(make_world: Callable[[Path], World], tmp_path: Path) -> World:
    return make_world(tmp_path / "data")


def at(positions: Mapping[SourcePartition, Position]) -> PositionsOf:
    return lambda partitions: {each: positions[each] for each in partitions if each in positions}


def open_at(source: Source, positions: Mapping[SourcePartition, Position]) -> Reader:
    return source.open(at(positions), rows_per_commit=1000)


def drain(reader: Reader, *, max_rows: int = 3) -> list[Records]:
    """Read to the end, which must come: every poll returns something before it."""
    found: list[Records] = []
    while not reader.drained:
        batch = reader.poll(max_rows, max_s=_FIRST_S_MAX)
        assert batch is not None
        partitions = [records.partition for records in batch.parts]
        assert len(set(partitions)) == len(partitions)
        found += batch.parts
    return found


def as_read(parts: list[Records]) -> dict[SourcePartition, list[Pair]]:
    found: dict[SourcePartition, list[Pair]] = {}
    for records in parts:
        assert len(records.offsets) == records.count == len(records.times_of(range(records.count)))
        pairs = zip(records.offsets.tolist(), records.lines, strict=True)
        found.setdefault(records.partition, []).extend(pairs)
    return {partition: pairs for partition, pairs in found.items() if pairs}


def test_a_drain_gives_every_record_with_its_offset_and_ends(world: World) -> None:
    with closing(open_at(world.source(), {})) as reader:
        assert set(reader.status().waiting) >= world.records().keys()
        assert as_read(drain(reader)) == world.records()
        assert (reader.drained, list(reader.active)) == (True, [])


def test_offsets_rise_and_positions_never_go_back(world: World) -> None:
    reached: dict[SourcePartition, int] = {}
    with closing(open_at(world.source(), {})) as reader:
        for records in drain(reader):
            steps = [reached.get(records.partition, -1), *records.offsets.tolist()]
            assert steps == sorted(set(steps))
            assert records.end.offset > steps[-1]
            reached[records.partition] = records.end.offset - 1


def test_reading_resumes_from_any_position_with_the_same_records(world: World) -> None:
    whole = world.records()
    with closing(open_at(world.source(), {})) as reader:
        parts = drain(reader)
    positions: dict[SourcePartition, Position] = {}
    for records in parts:
        positions[records.partition] = records.end
        with closing(open_at(world.source(), positions)) as reader:
            rest = as_read(drain(reader))
        taken = {each: position.offset for each, position in positions.items()}
        expected = {
            partition: [pair for pair in pairs if pair[0] >= taken.get(partition, 0)]
            for partition, pairs in whole.items()
        }
        assert rest == {partition: pairs for partition, pairs in expected.items() if pairs}


def test_a_batch_holds_no_more_than_was_asked_for_and_one_unit(world: World) -> None:
    for max_rows in (1, 2, 5):
        with closing(open_at(world.source(), {})) as reader:
            while not reader.drained:
                batch = reader.poll(max_rows, max_s=_FIRST_S_MAX)
                assert batch is not None
                count = sum(records.count for records in batch.parts)
                assert count <= max(max_rows, world.unit_rows)


def test_a_poll_at_the_end_returns_nothing_and_a_grown_source_is_read_on(world: World) -> None:
    with closing(open_at(world.source(), {})) as reader:
        parts = drain(reader)
        assert reader.poll(5, max_s=0.01) is None
        before = world.records()
        world.grow()
        # the ends are those of the opening
        assert (reader.drained, reader.poll(5, max_s=0.01)) == (True, None)
    positions = {records.partition: records.end for records in parts}
    with closing(open_at(world.source(), positions)) as reader:
        new = as_read(drain(reader))
    assert new
    for partition, pairs in world.records().items():
        assert before.get(partition, []) + new.get(partition, []) == pairs


def test_closing_twice_is_closing_once_and_a_closed_reader_is_not_polled(world: World) -> None:
    reader = open_at(world.source(), {})
    reader.poll(1, max_s=0.0)
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.poll(1, max_s=0.0)


def coordinates(lake: Lake) -> dict[SourcePartition, list[int]]:
    """Which offsets are rows or dead letters; raises if one is both, or there twice."""
    found: dict[SourcePartition, list[int]] = {}
    for table in (rows_of(lake, STREAM), dead_of(lake, STREAM)):
        for row in table.select(["_source", "_source_partition", "_source_offset"]).to_pylist():
            partition = SourcePartition(row["_source"], row["_source_partition"])
            found.setdefault(partition, []).append(row["_source_offset"])
    return {partition: sorted(offsets) for partition, offsets in found.items()}


def expected(world: World) -> dict[SourcePartition, list[int]]:
    return {each: [offset for offset, _ in pairs] for each, pairs in world.records().items()}


class _Killed(Exception):
    """Ends a run as a kill between two steps would."""


class _KilledAt:
    """A source whose reader ends the run at the n-th poll."""

    def __init__(self, inner: Source, polls: int) -> None:
        self._inner, self._polls = inner, polls
        self.is_log = inner.is_log

    def missing(self) -> str | None:
        return self._inner.missing()

    def open(self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False) -> Reader:
        reader = self._inner.open(positions, rows_per_commit=rows_per_commit, follow=follow)
        poll, left = reader.poll, [self._polls]

        def killed(max_rows: int, *, max_s: float) -> Batch | None:
            if not left[0]:
                raise _Killed
            left[0] -= 1
            return poll(max_rows, max_s=max_s)

        reader.poll = killed  # pyright: ignore[reportAttributeAccessIssue]
        return reader


def world_of(lake: Lake, make_world: Callable[[Path], World]) -> World:
    return make_world(lake.settings.data_dir)


@pytest.mark.slow
def test_runs_killed_between_polls_take_every_record_exactly_once(
    lake: Lake, make_world: Callable[[Path], World]
) -> None:
    world = world_of(lake, make_world)
    chance = random.Random(7)
    for polls in range(8):
        source = _KilledAt(world.source(), polls)
        try:
            ingest(lake, STREAM, source=source, rows_per_commit=chance.choice((1, 2, 3)))
        except _Killed:
            taken = coordinates(lake) if lake.exists(STREAM.table) else {}
            for partition, offsets in taken.items():
                assert offsets == expected(world)[partition][: len(offsets)]
    ingest(lake, STREAM, source=world.source())
    assert coordinates(lake) == expected(world)
    world.grow()
    ingest(lake, STREAM, source=world.source())
    assert coordinates(lake) == expected(world)
    assert ingest(lake, STREAM, source=world.source()).commits == 0


@pytest.mark.slow
def test_a_run_that_dies_between_dead_letters_and_rows_doubles_neither(
    lake: Lake, make_world: Callable[[Path], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(lake, make_world)
    real, commits = operations.append, []

    def append(*args: object, **kwargs: object) -> object:
        commits.append(1)
        if len(commits) % 2 == 0:  # even ones are the rows'
            raise _Killed
        return real(*args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr("headrace.ingest.open_batch.append", append)
    for _ in range(2):
        with pytest.raises(_Killed):
            ingest(lake, STREAM, source=world.source(), rows_per_commit=2)
        commits.clear()
    monkeypatch.undo()
    assert dead_of(lake, STREAM).num_rows
    ingest(lake, STREAM, source=world.source())
    assert coordinates(lake) == expected(world)


def test_status_tells_what_waits_and_commits_nothing(
    lake: Lake, make_world: Callable[[Path], World]
) -> None:
    world = world_of(lake, make_world)
    waiting = status(lake, STREAM, source=world.source()).sources_waiting
    assert set(waiting) >= {partition.key for partition in world.records()}
    ingest(lake, STREAM, source=world.source())
    assert status(lake, STREAM, source=world.source()).sources_waiting == ()


def test_sixteen_partitions_are_one_commit_with_the_times_of_their_records(lake: Lake) -> None:
    logs = {number: log_of(f"p{number}-", [1, 2, 40], end=50) for number in range(16)}
    done = ingest(lake, STREAM, source=LogSource(logs))
    assert (done.commits, len(done.splits), done.rows) == (1, 16, 16 * 3)
    assert len(lake.registry.commits(str(STREAM.table))) == 1
    for row in rows_of(lake, STREAM).to_pylist():
        entry = Entry(row["_source_offset"], b"")
        assert row["_source_time"] == entry.time
        assert row["id"] == f"p{row['_source_partition']}-{entry.offset:03}"
    assert ingest(lake, STREAM, source=LogSource(logs)).commits == 0


@pytest.mark.parametrize("unknown_fields", ["ignore", "refuse"])
def test_a_log_is_polled_in_large_steps_also_where_no_part_may_be_committed(
    lake: Lake, unknown_fields: str
) -> None:
    stream = make_stream("json", unknown_fields=unknown_fields)
    logs = {0: Log(entries=[Entry(at, json_line(id=f"{at}")) for at in range(60)], end=60)}
    polls: list[int] = []
    source = _Counting(logs, polls)
    done = ingest(lake, stream, source=source, rows_per_commit=20)
    assert done.rows == 60
    assert len(polls) <= 3


class _Counting(LogSource):
    """Notes how many rows each poll asks for."""

    def __init__(self, logs: Mapping[int, Log], polls: list[int]) -> None:
        super().__init__(logs)
        self._polls = polls

    def open(
        self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False
    ) -> LogReader:
        reader = super().open(positions, rows_per_commit=rows_per_commit, follow=follow)
        polls, poll = self._polls, reader.poll

        def counted(max_rows: int, *, max_s: float) -> Batch | None:
            polls.append(max_rows)
            return poll(max_rows, max_s=max_s)

        reader.poll = counted
        return reader


class _Scripted:
    """A source that returns what it is told to."""

    is_log = True

    def __init__(self, *batches: Batch | None) -> None:
        self._batches = list(batches)
        self.active: tuple[SourcePartition, ...] = ()

    def missing(self) -> str | None:
        return None

    def open(
        self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False
    ) -> "_Scripted":
        _ = positions, rows_per_commit, follow
        return self

    @property
    def drained(self) -> bool:
        return not self._batches

    def status(self) -> ReaderStatus:
        return ReaderStatus()

    def poll(self, max_rows: int, *, max_s: float) -> Batch | None:
        _ = max_rows, max_s
        return self._batches.pop(0) if self._batches[0] is not None else None

    def confirm(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("second", "due", "found"),
    [([2, 5], 4, 2), ([4, 4], 5, 4), ([5, 4], 6, 4), ([7], 8, 7)],
    ids=["taken already", "twice", "backwards", "beyond its end"],
)
def test_a_reader_that_breaks_the_order_is_refused_before_anything_is_committed(
    lake: Lake, second: list[int], due: int, found: int
) -> None:
    log = LogSource({0: log_of("p", [1, 2, 3], end=4)})
    (first,) = drain(open_at(log, {}), max_rows=10)
    wrong = LogSource({0: log_of("p", second, end=max(second) + 1)})
    (again,) = drain(open_at(wrong, {}), max_rows=10)
    if second == [7]:
        again = Records(
            partition=again.partition, offsets=again.offsets, end=Position(7), times=again.times,
            lines=again.lines,
        )  # fmt: skip
    source = _Scripted(Batch(parts=(first,)), Batch(parts=(again,)))
    with pytest.raises(SourceOrderError) as raised:
        ingest(lake, STREAM, source=source)
    assert (raised.value.expected, raised.value.found) == (due, found)
    assert rows_of(lake, STREAM).num_rows == 0


def test_a_source_that_stays_silent_before_its_end_stops_the_run_by_name(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "STALLED_S_MAX", 0.0)
    log = LogSource({0: log_of("p", [1, 2, 3], end=4)})
    (first,) = drain(open_at(log, {}), max_rows=10)
    with pytest.raises(SourceStalledError) as raised:
        ingest(lake, STREAM, source=_Scripted(Batch(parts=(first,)), None), rows_per_commit=1)
    assert (raised.value.stream, raised.value.retryable) == ("things", True)
    assert coordinates(lake) == {SourcePartition("things"): [1, 2, 3]}


def test_the_name_of_a_partition_in_table_properties_reads_back() -> None:
    for partition in (
        SourcePartition("a/b.jsonl"), SourcePartition("topic", 0), SourcePartition("topic", 12),
        SourcePartition("a/12"),
    ):  # fmt: skip
        assert SourcePartition.of_key(partition.key) == partition
