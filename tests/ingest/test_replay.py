"""Replaying dead letters: each becomes a row once, equal to the one of direct ingestion, whatever is killed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.api import Lake
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.ingest import drop as dropping
from headrace.ingest import replay as replaying
from headrace.ingest.absent import Absent
from headrace.ingest.audit import plan_audit, run_audit
from headrace.ingest.drop import apply_drop, plan_drop
from headrace.ingest.letters import Choice, groups, letters, readable
from headrace.ingest.replay import is_open, replay, settle
from headrace.ingest.run import ingest
from headrace.ingest.sources.base import Batch, PositionsOf, Records, TimeType
from headrace.ingest.values import shown
from headrace.maintenance.compaction.compact import compact
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from tests.ingest.factories import (
    audit,
    dead_of,
    json_line,
    make_stream,
    rows_of,
    write_things,
)
from tests.ingest.log_source import Entry, Log, LogReader, LogSource
from tests.processes import exit_code, start

pytestmark = pytest.mark.slow

STRICT = make_stream("json")
KINDS = ["good", "text for a number", "missing", "text for a number", "good"]


def without(stream: Stream, *names: str) -> Stream:
    """The next version of a contract, without fields that refuse some records."""
    told = stream.model_dump(mode="json", exclude_none=True)
    for name in names:
        del told["fields"][name]
    return Stream.model_validate(told | {"version": 2})


NOW = without(STRICT, "n")


def by_offset(table: pa.Table) -> dict[tuple[str, int, int], dict[str, Any]]:
    rows = table.to_pylist()
    return {(r["_source"], r["_source_partition"], r["_source_offset"]): r for r in rows}


FAULTY: dict[str, list[str]] = {
    "json": ["good", "beyond int", "missing", "beyond the scale", "good"],
    "csv": ["good", "beyond int", "missing", "beyond the scale", "good"],
    "parquet": ["good", "beyond int", "missing", "beyond the scale", "good"],
}


@pytest.mark.parametrize("format_", ["json", "csv", "parquet"])
def test_a_replayed_row_is_the_row_of_direct_ingestion(
    lake: Lake, tmp_path_factory: pytest.TempPathFactory, format_: str
) -> None:
    """Row 12: a replay that gives another row than the first try."""
    write_things(lake.settings.data_dir, "a", FAULTY[format_], format_=format_)
    strict, now = make_stream(format_), without(make_stream(format_), "small", "price")
    ingest(lake, strict)
    assert dead_of(lake, strict).num_rows == 3
    done = replay(lake, now)
    assert (done.rows, done.refused, done.commits) == (2, {"missing_required": 1}, 1)
    assert audit(lake, now) == {f"things/a.{'jsonl' if format_ == 'json' else format_}": 5}
    state = {"state_dir": tmp_path_factory.mktemp("direct"), "data_dir": lake.settings.data_dir}
    with Lake.open(replace(lake.settings, **state)) as other:
        ingest(other, now)
        direct, replayed = (by_offset(rows_of(each, now)) for each in (other, lake))
    assert {key: {k: replayed[key][k] for k in row} for key, row in direct.items()} == direct
    again = replay(lake, now)
    assert (again.rows, again.commits) == (0, 0)
    assert rows_of(lake, now).num_rows == 4


NAMES = {
    "a field for a column of then": ({}, {"cost": {"from": "Price"}}),
    "a field of another name": ({"price": {"from": "Price"}}, {"cost": {"from": "Price"}}),
    "the name of another column": ({"price": {}}, {"price": {"from": "Price"}}),
    "two that are exchanged": (
        {"price": {}, "cost": {"from": "Price"}},
        {"cost": {"from": "price"}, "price": {"from": "Price"}},
    ),
}


@pytest.mark.parametrize("format_", ["csv", "parquet"])
@pytest.mark.parametrize("case", NAMES)
def test_columns_are_found_by_their_names_in_the_source_in_a_replay_too(
    lake: Lake, tmp_path: Path, case: str, format_: str
) -> None:
    base: dict[str, Any] = {"id": {"type": "string", "required": True}}

    def contract(fields: dict[str, Any], at: dict[str, Any], version: int) -> Stream:
        named = {name: {"type": "double"} | said for name, said in fields.items()}
        own = {"type": "timestamptz", "required": True} | at
        told = make_stream("csv").model_dump(mode="json", exclude_none=True)
        told |= {"format": format_, "source": {"files": "things/*", "complete_files": True}}
        return Stream.model_validate(
            told | {"version": version, "fields": named | base | {"at": own}}
        )

    columns = {"id": ["a"], "at": ["2026-03-01T00:00:00"], "Price": [9.5], "price": [1.5]}
    folder = lake.settings.data_dir / "things"
    folder.mkdir(parents=True, exist_ok=True)
    if format_ == "csv":
        (folder / "a").write_text("id,at,Price,price\na,2026-03-01T00:00:00,9.5,1.5\n")
    else:
        pq.write_table(pa.table(columns), folder / "a")
    then, now = NAMES[case]
    ingest(lake, contract(then, {}, 1))
    fixed = contract(now, {"timezone": "UTC"}, 2)
    assert replay(lake, fixed).rows == 1
    with Lake.open(replace(lake.settings, state_dir=tmp_path / "direct")) as other:
        ingest(other, fixed)
        (direct,), (replayed,) = (rows_of(each, fixed).to_pylist() for each in (other, lake))
    assert {name: replayed[name] for name in direct} == direct
    assert {replayed[name] for name in now} <= {9.5, 1.5}


class _Keyed(LogSource):
    """A log whose records have keys, headers and the broker's times."""

    def open(
        self, positions: PositionsOf, *, rows_per_commit: int, follow: bool = False
    ) -> LogReader:
        reader = super().open(positions, rows_per_commit=rows_per_commit, follow=follow)
        poll = reader.poll

        def keyed(max_rows: int, *, max_s: float) -> Batch | None:
            batch = poll(max_rows, max_s=max_s)
            return batch and Batch(parts=tuple(_keyed(records) for records in batch.parts))

        reader.poll = keyed
        return reader


def _keyed(records: Records) -> Records:
    keys: Sequence[bytes | None] = [b"k%d" % at for at in records.offsets]
    headers = [[("h", b"1"), ("h", None)] for _ in keys]
    return replace(records, keys=keys, headers=headers, time_type=TimeType.APPENDED)


def test_records_of_a_log_are_replayed_with_key_headers_and_times(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json_line(id="a"), json_line(id="b", n="x"), json_line(id="c", n="y")]
    log = _Keyed({3: Log(entries=[Entry(at, line) for at, line in zip((4, 7, 9), lines)], end=12)})
    ingest(lake, STRICT, source=log)
    seen: list[Records] = []
    decode = replaying.decode
    monkeypatch.setattr(
        replaying,
        "decode",
        lambda records, stream: (seen.append(records), decode(records, stream))[1],
    )
    assert replay(lake, NOW).rows == 2
    (records,) = [each for each in seen if each.count]
    assert (records.offsets.tolist(), list(records.keys or ())) == ([7, 9], [b"k7", b"k9"])
    assert records.time_type is TimeType.APPENDED
    assert records.headers == [[("h", b"1"), ("h", None)]] * 2
    times = {row["_source_offset"]: row["_source_time"] for row in rows_of(lake, NOW).to_pylist()}
    assert times == {at: Entry(at, b"").time for at in (4, 7, 9)}


POINTS = (
    "commit.after_data_files",
    "commit.after_manifests",
    "commit.after_swap",
    "commit.after_record",
    "replay.after_rows",
    "replay.after_letters",
    "updates.before_swap",
    "updates.after_swap",
)


def _replay(settings: Settings, stream: Stream) -> None:
    with Lake.open(settings) as lake:
        replay(lake, stream)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_replay_is_closed_by_the_next_and_nothing_is_lost_or_doubled(
    lake: Lake, point: str
) -> None:
    write_things(lake.settings.data_dir, "a", KINDS, format_="json")
    ingest(lake, STRICT)
    ingest(lake, NOW)  # the column stays, the contract has it no more
    counts = {"things/a.jsonl": 5}
    # of the commits the first is that of the rows and the second that of the letters
    for passage in (1, 2) if point.startswith("commit.") else (1,):
        killed = start(_replay, lake.settings, NOW, crash_at=f"{point}:{passage}")
        assert exit_code(killed) == -9 or passage == 2
        consistent(lake, counts)
    for _ in range(2):
        replay(lake, NOW)
        assert audit(lake, NOW) == counts
        assert (rows_of(lake, NOW).num_rows, dead_of(lake, NOW).num_rows) == (4, 1)
    assert not is_open(lake.table(NOW.table).head().properties, NOW)


def consistent(lake: Lake, counts: dict[str, int]) -> None:
    """At every moment a letter is also a row only while the table says that a replay is open."""
    rows, dead = (set(by_offset(each)) for each in (rows_of(lake, NOW), dead_of(lake, NOW)))
    assert len(rows | dead) == sum(counts.values())
    if rows & dead:
        assert is_open(lake.table(NOW.table).head().properties, NOW)


def test_two_replays_at_once_make_each_row_once(lake: Lake) -> None:
    write_things(lake.settings.data_dir, "a", KINDS * 3, format_="json")
    ingest(lake, STRICT)
    ingest(lake, NOW)
    rivals = [start(_replay, lake.settings, NOW) for _ in range(2)]
    assert [exit_code(each) for each in rivals] == [0, 0]
    assert audit(lake, NOW) == {"things/a.jsonl": 15}
    assert rows_of(lake, NOW).num_rows == 12


def before(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
    """Let something happen once, right before a function that a replay calls."""
    real = getattr(replaying, name)

    def overtaken(*given: Any, **more: Any) -> Any:  # noqa: ANN401  (of each function of `replay`)
        monkeypatch.setattr(replaying, name, real)
        act()
        return real(*given, **more)

    monkeypatch.setattr(replaying, name, overtaken)


def test_a_replay_that_another_one_overtakes_makes_no_row_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_things(lake.settings.data_dir, "a", KINDS, format_="json")
    ingest(lake, STRICT)
    ingest(lake, NOW)
    others = list[int]()
    before(monkeypatch, "append", lambda: others.append(replay(lake, NOW).rows))
    assert (replay(lake, NOW).rows, others) == (0, [2])
    assert audit(lake, NOW) == {"things/a.jsonl": 5}


def test_a_replay_closes_another_one_that_was_killed_since_it_began(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_things(lake.settings.data_dir, "a", KINDS, format_="json")
    ingest(lake, STRICT)
    ingest(lake, NOW)

    def killed(point: str) -> None:
        if point == "replay.after_rows":
            raise InterruptedError

    def another() -> None:
        with monkeypatch.context() as patch, pytest.raises(InterruptedError):
            patch.setattr(replaying, "crash_point", killed)
            replay(lake, NOW)

    before(monkeypatch, "taken_by", another)
    assert replay(lake, NOW).rows == 0
    assert audit(lake, NOW) == {"things/a.jsonl": 5}
    assert not is_open(lake.table(NOW.table).head().properties, NOW)


def test_letters_whose_commit_is_rolled_back_beside_their_replay_make_no_row_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_things(lake.settings.data_dir, "a", KINDS, format_="json")
    ingest(lake, STRICT)
    table = lake.table(STRICT.table)
    first = table.head().snapshot_id
    assert first is not None
    write_things(lake.settings.data_dir, "b", KINDS, format_="json")
    ingest(lake, STRICT)
    before(monkeypatch, "append", lambda: apply_rollback(table, plan_rollback(table, first)))
    assert replay(lake, NOW, choice=Choice(source="things/b.jsonl")).rows == 0
    ingest(lake, NOW)
    assert audit(lake, NOW) == {"things/a.jsonl": 5, "things/b.jsonl": 5}


def test_letters_of_a_commit_that_is_not_complete_are_left_to_the_next_run(lake: Lake) -> None:
    kinds = ["text for a number", *KINDS]  # also of the first record, at the position itself
    write_things(lake.settings.data_dir, "a", kinds, format_="json")
    killed = start(_ingest, lake.settings, STRICT, crash_at="ingest.after_dead_letters")
    assert exit_code(killed) == -9
    assert dead_of(lake, STRICT).num_rows == 4
    assert replay(lake, NOW).rows == 0
    assert plan_drop(lake, NOW, choice=Choice()).not_yet == 4
    ingest(lake, NOW)
    assert audit(lake, NOW) == {"things/a.jsonl": 6}
    assert replay(lake, NOW).rows == 3


def _ingest(settings: Settings, stream: Stream) -> None:
    with Lake.open(settings) as lake:
        ingest(lake, stream)


def test_a_replay_in_parts_beside_compaction_takes_the_chosen_letters_only(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        write_things(lake.settings.data_dir, name, KINDS, format_="json")
    ingest(lake, STRICT)
    ingest(lake, NOW)
    compact(lake.table("dead_letters.records"))
    monkeypatch.setattr(replaying, "ROWS_PER_COMMIT", 1)
    assert replay(lake, NOW, choice=Choice(source="things/b.jsonl")).rows == 2
    assert replay(lake, NOW).rows == 4
    assert audit(lake, NOW) == {f"things/{name}.jsonl": 5 for name in "abc"}


def test_letters_are_grouped_by_reason_with_the_newest_of_each(lake: Lake) -> None:
    write_things(lake.settings.data_dir, "a", KINDS, format_="json")
    ingest(lake, STRICT)
    write_things(lake.settings.data_dir, "b", ["missing", "cut short"], format_="json")
    ingest(lake, STRICT)
    found = {(each.code, each.field): each for each in groups(lake, STRICT)}
    assert {key: each.count for key, each in found.items()} == {
        ("wrong_type", "n"): 2, ("missing_required", "id"): 2, ("malformed", None): 1,
    }  # fmt: skip
    missing = found["missing_required", "id"]
    assert missing.example == ("things/b.jsonl", 0, 0)
    assert missing.first_seen < missing.last_seen
    assert missing.first_bytes == letters(lake, STRICT, choice=Choice(offset=0))[0]["raw"][:80]
    assert [each["_source_offset"] for each in letters(lake, STRICT, limit=3)] == [0, 1, 1]
    assert [each["_source"][-7] for each in letters(lake, STRICT)[:3]] == ["b", "b", "a"]
    (only,) = groups(lake, STRICT, choice=Choice(code="malformed"))
    assert (only.count, only.example.source) == (1, "things/b.jsonl")


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert readable(b"\x00\x1b[2J\xff\nok \xc3\xa9") == r"\x00\x1b[2J\xff\nok é"
    assert shown("\x1b[2J") == r"`\x1b[2J`"


def test_a_drop_removes_what_was_planned_and_notes_how_much(lake: Lake) -> None:
    write_things(lake.settings.data_dir, "a", KINDS, format_="json")
    ingest(lake, STRICT)
    plan = plan_drop(lake, STRICT, choice=Choice(code="wrong_type"))
    assert (plan.count, plan.reasons, plan.not_yet) == (2, {"wrong_type": 2}, 0)
    assert dead_of(lake, STRICT).num_rows == 3
    assert apply_drop(lake, plan, STRICT) == 2
    assert apply_drop(lake, plan, STRICT) == 0
    assert dead_of(lake, STRICT)["error_code"].to_pylist() == ["missing_required"]
    properties = lake.table("dead_letters.records").head().properties
    noted = Absent.read(properties, stream="things").by_key
    assert noted == {"things/a.jsonl": {"dropped": (2, 1 + 3)}}


def test_a_drop_beside_another_one_notes_the_letters_of_both(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_things(lake.settings.data_dir, name, KINDS, format_="json")
        ingest(lake, STRICT)
    plans = {
        name: plan_drop(lake, STRICT, choice=Choice(source=f"things/{name}.jsonl"))
        for name in ("a", "b")
    }
    real = dropping.remove_from

    def overtaken(*given: Any, **more: Any) -> bool:  # noqa: ANN401  (of `letter_removal.remove_from`)
        monkeypatch.setattr(dropping, "remove_from", real)
        assert apply_drop(lake, plans["b"], STRICT) == 3
        return real(*given, **more)

    monkeypatch.setattr(dropping, "remove_from", overtaken)
    assert apply_drop(lake, plans["a"], STRICT) == 3
    assert not run_audit(lake, plan_audit(lake, STRICT)).wrong


def test_settling_without_an_open_replay_changes_nothing(lake: Lake) -> None:
    assert settle(lake, STRICT) == 0
    write_things(lake.settings.data_dir, "a", KINDS, format_="json")
    ingest(lake, STRICT)
    before = lake.table(STRICT.table).head().metadata_location
    assert settle(lake, STRICT) == 0
    assert lake.table(STRICT.table).head().metadata_location == before
