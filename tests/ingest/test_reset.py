"""The way back from a wrong contract: a stream begins again, exactly once, whatever is killed."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.definitions.properties import OFFSETS_PREFIX, RESET_PREFIX
from headrace.definitions.stream import Stream
from headrace.errors import (
    AlterRefusedError,
    FencedError,
    ResetRefusedError,
    ResetUnfinishedError,
    StreamOwnedError,
)
from headrace.ingest import dead_letters, watermark
from headrace.ingest.audit import plan_audit, run_audit
from headrace.ingest.open_batch import OpenBatch
from headrace.ingest.owner import FLINK, Owner
from headrace.ingest.replay import replay
from headrace.ingest.reset import apply_reset, plan_reset
from headrace.ingest.run import ingest
from headrace.ingest.status import status
from headrace.tables.commits.operations import move_properties
from headrace.tables.refs.rollback import apply_rollback, plan_rollback
from tests.ingest.factories import audit, dead_of, make_stream, rows_of, write_things
from tests.processes import exit_code, start
from tests.raising import refused

pytestmark = pytest.mark.slow

KINDS = ["good", "text for a number", "good", "missing", "good"]


def changed(stream: Stream, **fields: dict[str, Any] | None) -> Stream:
    """The next version of a contract, with other fields."""
    said = stream.model_dump(mode="json", exclude_none=True)
    said["fields"] |= {name: each for name, each in fields.items() if each is not None}
    for name in [name for name, each in fields.items() if each is None]:
        del said["fields"][name]
    return Stream.model_validate(said | {"version": said["version"] + 1})


def land(lake: Lake, *names: str) -> None:
    for at, name in enumerate(names):
        write_things(lake.settings.data_dir, name, KINDS, format_="csv", first=10 * at)


def test_a_wrong_first_contract_leaves_nothing_behind(lake: Lake) -> None:
    wrong = changed(make_stream("csv"), n={"type": "timestamptz"})
    land(lake, "a", "b")
    assert ingest(lake, wrong).rows == 0
    right = changed(wrong, n={"type": "string", "required": True})
    plan = plan_reset(lake, right)
    assert (plan.rows, plan.dead_letters, plan.sources) == (0, 10, 2)
    assert plan.columns == ("n",)
    assert dead_of(lake, wrong).num_rows == 10  # a plan changes nothing

    apply_reset(lake, right)
    assert (rows_of(lake, right).num_rows, dead_of(lake, right).num_rows) == (0, 0)
    assert len(status(lake, right).sources_waiting) == 2
    done = ingest(lake, right)
    assert (done.rows, done.dead_letters) == (8, 2)
    assert audit(lake, right) == {"things/a.csv": 5, "things/b.csv": 5}
    assert set(rows_of(lake, right)["n"].to_pylist()) == {"7", "seven"}
    assert not run_audit(lake, plan_audit(lake, right)).wrong


def test_after_a_reset_the_table_says_what_it_said_before_the_first_run(lake: Lake) -> None:
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    first = dict(lake.table(stream.table).head().properties)
    apply_reset(lake, stream)
    head = lake.table(stream.table).head()
    assert watermark.read(head.properties) is None
    assert json.loads(head.properties[OFFSETS_PREFIX + stream.name]) == {}
    ingest(lake, stream)
    again = dict(lake.table(stream.table).head().properties)
    volatile = {name for name in first if "window" in name or "source_files" in name}
    kept = {
        name: text for name, text in again.items() if "replay" not in name and "begun" not in name
    }
    assert kept.keys() == first.keys()
    assert {n: kept[n] for n in kept.keys() - volatile} == {
        n: first[n] for n in first.keys() - volatile
    }


def test_a_second_reset_has_nothing_to_do(lake: Lake) -> None:
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    assert plan_reset(lake, stream)
    apply_reset(lake, stream)
    assert not plan_reset(lake, stream)


def test_the_snapshot_before_brings_rows_and_offsets_back(lake: Lake) -> None:
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    before = rows_of(lake, stream)
    plan = plan_reset(lake, stream)
    assert plan.snapshot_id is not None
    apply_reset(lake, stream)
    table = lake.table(stream.table)
    apply_rollback(table, plan_rollback(table, plan.snapshot_id))
    assert rows_of(lake, stream).equals(before)
    assert ingest(lake, stream).commits == 0


def test_sources_that_were_sealed_are_new_again(lake: Lake) -> None:
    stream = make_stream("csv")
    land(lake, *(f"f{number:03d}" for number in range(40)))
    ingest(lake, stream)
    assert plan_reset(lake, stream).sources == 40
    apply_reset(lake, stream)
    assert len(status(lake, stream).sources_waiting) == 40
    assert ingest(lake, stream).rows == 40 * 3


def test_an_ingester_at_work_is_fenced_off(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    land(lake, "a", "b")
    real = OpenBatch.commit

    def late(self: OpenBatch, **given: Any) -> Any:  # noqa: ANN401
        with Lake.open(lake.settings) as other:
            apply_reset(other, stream)
        return real(self, **given)

    with monkeypatch.context() as patch:
        patch.setattr(OpenBatch, "commit", late)
        with pytest.raises(FencedError):
            ingest(lake, stream)
    ingest(lake, stream)
    assert audit(lake, stream) == {"things/a.csv": 5, "things/b.csv": 5}


def test_letters_of_an_ingester_at_work_are_not_lost_where_nothing_was_taken_yet(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    apply_reset(lake, stream)

    def beside(point: str) -> None:  # offsets are the same before and after it
        if point == "ingest.after_dead_letters":
            apply_reset(lake, stream)

    with monkeypatch.context() as patch:
        patch.setattr("headrace.ingest.open_batch.crash_point", beside)
        with refused(FencedError, table="raw.things"):
            ingest(lake, stream)
    assert audit(lake, stream) == {}
    ingest(lake, stream)
    assert audit(lake, stream) == {"things/a.csv": 5}
    assert not run_audit(lake, plan_audit(lake, stream)).wrong


def test_letters_of_before_cannot_be_replayed(lake: Lake) -> None:
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    apply_reset(lake, stream)
    assert replay(lake, changed(stream, n=None)).rows == 0


def test_other_streams_keep_their_letters(lake: Lake) -> None:
    stream = make_stream("csv")
    other = Stream.model_validate(
        stream.model_dump(mode="json", exclude_none=True) | {"stream": "more", "table": "raw.more"}
    )
    land(lake, "a")
    ingest(lake, stream)
    ingest(lake, other)
    apply_reset(lake, stream)
    assert dead_of(lake, other).num_rows == 2
    assert ingest(lake, other).commits == 0


def test_a_table_of_two_streams_is_not_reset(lake: Lake) -> None:
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    table = lake.table(stream.table)
    move_properties(table, lambda _: {OFFSETS_PREFIX + "foreign": "{}"})
    with refused(ResetRefusedError, stream="things", other="foreign"):
        apply_reset(lake, stream)
    assert rows_of(lake, stream).num_rows == 3


def test_a_stream_of_flink_is_not_reset(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job would go on behind the rows that are gone; nor may it become the owner in between."""
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    table, by_flink = lake.table(stream.table), Owner(by=FLINK, epoch=1).note(stream=stream.name)
    for act in (plan_reset, apply_reset):
        move_properties(table, lambda _: dict(by_flink))
        with refused(StreamOwnedError, stream="things", owner=FLINK, epoch=1):
            act(lake, stream)
        assert RESET_PREFIX + stream.name not in table.head().properties
        move_properties(table, lambda _: dict(Owner(epoch=2).note(stream=stream.name)))
    for point, rows in (("reset.after_mark", 3), ("reset.after_rows", 0)):

        def handed_over(reached: str, point: str = point) -> None:
            if reached == point:
                move_properties(table, lambda _: dict(by_flink))

        with monkeypatch.context() as patch:
            patch.setattr("headrace.ingest.reset.crash_point", handed_over)
            with refused(StreamOwnedError, stream="things", owner=FLINK, epoch=1):
                apply_reset(lake, stream)
        assert (rows_of(lake, stream).num_rows, dead_of(lake, stream).num_rows) == (rows, 2)
        move_properties(table, lambda _: dict(Owner(epoch=2).note(stream=stream.name)))


def test_a_column_that_partitions_the_table_keeps_its_type(lake: Lake) -> None:
    stream = make_stream("csv", partition_by=["small"])
    land(lake, "a")
    ingest(lake, stream)
    with pytest.raises(AlterRefusedError):
        plan_reset(lake, changed(stream, small={"type": "string"}))
    assert rows_of(lake, stream).num_rows == 3


POINTS = (
    "reset.after_mark",
    "reset.after_rows",
    "reset.after_letters",
    "commit.after_manifests",
    "commit.after_swap",
    "updates.before_swap:1",
    "updates.before_swap:2",
)


def reset_in_a_process(settings: Settings, stream: Stream) -> None:
    with Lake.open(settings) as lake:
        apply_reset(lake, stream)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_reset_lets_nobody_ingest_until_it_is_complete(lake: Lake, point: str) -> None:
    stream = make_stream("csv")
    land(lake, "a", "b")
    ingest(lake, stream)
    killed = start(reset_in_a_process, lake.settings, stream, crash_at=point)
    assert exit_code(killed) == -9, "the crash point was never passed"
    if point == "updates.before_swap:1":  # nothing was done yet
        assert ingest(lake, stream).commits == 0
    else:
        with refused(ResetUnfinishedError, stream="things"):
            ingest(lake, stream)
        assert plan_reset(lake, stream).is_unfinished
    apply_reset(lake, stream)
    ingest(lake, stream)
    assert audit(lake, stream) == {"things/a.csv": 5, "things/b.csv": 5}
    assert not run_audit(lake, plan_audit(lake, stream)).wrong


def test_the_command_plans_first(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "declared" / "lake" / "streams"
    folder.mkdir(parents=True)
    stream = make_stream("csv")
    said = stream.model_dump(mode="json", exclude_none=True)
    (folder / "things.yaml").write_text(json.dumps(said))
    monkeypatch.setenv("HEADRACE_LAKE", str(folder.parent / "lake.toml"))
    (folder.parent / "lake.toml").write_text("[profiles.local]\n")
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(lake.settings.data_dir))
    land(lake, "a")
    ingest(lake, stream)
    reset = ["ingest", "reset", "things", "--output", "json"]
    planned = json.loads(CliRunner().invoke(make_app(), reset).stdout)
    assert (planned["applied"], planned["rows"], planned["dead_letters"]) == (False, 3, 2)
    assert rows_of(lake, stream).num_rows == 3
    assert json.loads(CliRunner().invoke(make_app(), [*reset, "--apply"]).stdout)["applied"]
    assert rows_of(lake, stream).num_rows == 0
    assert lake.table(dead_letters.TABLE).head().row_count == 0
