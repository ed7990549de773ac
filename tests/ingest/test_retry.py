"""One file of a stream: left out for good, or taken again from its beginning, each record once."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.definitions.stream import Stream
from headrace.dml.delete import delete_where
from headrace.errors import (
    FencedError,
    NoSuchSourceFileError,
    RetryUnfinishedError,
    SourceChangedError,
    SourceFileError,
)
from headrace.ingest import retry
from headrace.ingest.audit import plan_audit, run_audit
from headrace.ingest.drop import apply_drop, plan_drop
from headrace.ingest.letters import Choice
from headrace.ingest.open_batch import Committed, OpenBatch
from headrace.ingest.retry import apply_retry, apply_skip, plan_file
from headrace.ingest.run import ingest
from headrace.ingest.sources.files import FileSource
from headrace.ingest.status import status
from headrace.maintenance.compaction.compact import compact
from headrace.tables.commits.operations import Provenance
from tests.ingest.factories import audit, dead_of, make_stream, rows_of, write_things
from tests.processes import exit_code, start
from tests.raising import refused

pytestmark = pytest.mark.slow

A, B = "things/a.csv", "things/b.csv"
KINDS = ["good", "missing", "good", "good", "yes"]


def land(lake: Lake, name: str, kinds: list[str] = KINDS, *, first: int = 0) -> Path:
    write_things(lake.settings.data_dir, name, kinds, format_="csv", first=first)
    return lake.settings.data_dir / "things" / f"{name}.csv"


def is_exact(lake: Lake, stream: Stream) -> bool:
    return not run_audit(lake, plan_audit(lake, stream)).wrong


def ids(lake: Lake, stream: Stream, source: str) -> list[str]:
    found = rows_of(lake, stream).sort_by("_source_offset").to_pylist()
    return [row["id"] for row in found if row["_source"] == source]


def test_a_bad_file_is_left_out_and_taken_when_it_is_mended(lake: Lake) -> None:
    stream = make_stream("csv")
    bad = land(lake, "a")
    land(lake, "b")
    whole = bad.read_bytes()
    bad.write_bytes(b"\x1f\x8b" + whole)
    with refused(SourceFileError, path=A):
        ingest(lake, stream)
    with refused(NoSuchSourceFileError, path="things/aa.csv", near=A):
        plan_file(lake, stream, "things/aa.csv")
    plan = plan_file(lake, stream, A)
    assert (plan.rows, plan.records, plan.is_skipped) == (0, 0, False)
    apply_skip(lake, stream, A)
    apply_skip(lake, stream, A)
    assert (ingest(lake, stream).rows, audit(lake, stream)) == (3, {B: 5})
    assert (status(lake, stream).sources_waiting, status(lake, stream).sources_skipped) == (
        (),
        (A,),
    )
    bad.write_bytes(whole)
    assert ingest(lake, stream).commits == 0
    apply_retry(lake, stream, A)
    assert status(lake, stream).sources_skipped == ()
    assert ingest(lake, stream).rows == 3
    assert audit(lake, stream) == {A: 5, B: 5}
    assert is_exact(lake, stream)


def test_a_plan_opens_no_data_file_of_other_files(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make_stream("csv")
    names = [f"of_the_year_2026_part_{number}" for number in range(4)]
    for name in names:
        land(lake, name)
        ingest(lake, stream)
    opened = list[str]()
    monkeypatch.setattr(retry, "live_rows", lambda _, entry, __: opened.append(entry.path) or ())
    plan = plan_file(lake, stream, f"things/{names[2]}.csv")
    assert (plan.rows, plan.dead_letters, opened) == (3, 2, [])


def test_rows_are_counted_where_data_files_hold_several_files(lake: Lake) -> None:
    stream = make_stream("csv")
    for at, name in enumerate(("a", "b")):
        land(lake, name, first=10 * at)
        ingest(lake, stream)
    table = lake.table(stream.table)
    compact(table)
    assert len(table.head().files()) == 1
    assert [plan_file(lake, stream, each).rows for each in (A, B)] == [3, 3]
    delete_where(table, "id = 't0'", provenance=Provenance())
    assert [plan_file(lake, stream, each).rows for each in (A, B)] == [2, 3]


def half_taken(lake: Lake, stream: Stream, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Take a part of `a.csv`, which is then replaced by another file."""
    path = land(lake, "a", KINDS * 20)
    land(lake, "b")
    source = FileSource(stream, data_dir=lake.settings.data_dir, read_bytes=500)
    real, done = OpenBatch.commit, list[int]()

    def once(self: OpenBatch, **given: object) -> Committed:
        if done:
            raise KeyboardInterrupt
        done.append(self.rows)
        return real(self, **given)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(OpenBatch, "commit", once)
        with pytest.raises(KeyboardInterrupt):
            ingest(lake, stream, rows_per_commit=10, source=source)
    assert 0 < rows_of(lake, stream).num_rows < 60
    assert dead_of(lake, stream).num_rows
    land(lake, "a", [*KINDS, "good", "good"], first=100)
    with refused(SourceChangedError, path=A):
        ingest(lake, stream)
    return path


def points() -> tuple[str, ...]:
    return ("retry.after_mark", "retry.after_rows", "retry.after_letters")


@pytest.mark.parametrize("point", points()[1:2])  # each of them is killed below
def test_a_retry_of_a_half_taken_file_that_stops_anywhere_takes_each_record_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    stream = make_stream("csv")
    half_taken(lake, stream, monkeypatch)

    def stop(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retry, "crash_point", stop)
        with pytest.raises(KeyboardInterrupt):
            apply_retry(lake, stream, A)
    with refused(RetryUnfinishedError, path=A):
        ingest(lake, stream)
    with refused(RetryUnfinishedError, path=A):
        apply_retry(lake, stream, B)
    assert plan_file(lake, stream, A).is_unfinished
    apply_retry(lake, stream, A)
    ingest(lake, stream)
    assert audit(lake, stream) == {A: 7, B: 5}
    assert ids(lake, stream, A) == ["t100", "t102", "t103", "t105", "t106"]
    assert is_exact(lake, stream)
    assert ingest(lake, stream).commits == 0


def retry_in_a_process(settings: Settings, stream: Stream) -> None:
    with Lake.open(settings) as lake:
        apply_retry(lake, stream, A)


@pytest.mark.proof
@pytest.mark.parametrize(
    "point",
    [
        *points(),
        "commit.after_data_files",
        "commit.after_manifests",
        "commit.after_swap",
        "updates.before_swap:1",
        "updates.before_swap:2",
        "updates.after_swap:1",
        "updates.after_swap:2",
    ],
)
def test_a_retry_that_is_killed_anywhere_takes_each_record_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    stream = make_stream("csv")
    half_taken(lake, stream, monkeypatch)
    killed = start(retry_in_a_process, lake.settings, stream, crash_at=point)
    assert exit_code(killed) == -9, "the crash point was never passed"
    apply_retry(lake, stream, A)
    ingest(lake, stream)
    assert audit(lake, stream) == {A: 7, B: 5}
    assert is_exact(lake, stream)


def test_an_ingester_at_work_is_fenced_off_by_a_retry(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make_stream("csv")
    land(lake, "a")
    ingest(lake, stream)
    land(lake, "b")
    real = OpenBatch.commit

    def late(self: OpenBatch, **given: object) -> Committed:
        with monkeypatch.context() as patch:
            patch.setattr(OpenBatch, "commit", real)
            apply_retry(lake, stream, A)
        return real(self, **given)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(OpenBatch, "commit", late)
        with refused(FencedError):
            ingest(lake, stream)
    ingest(lake, stream)
    assert audit(lake, stream) == {A: 5, B: 5}
    assert is_exact(lake, stream)


def test_letters_of_an_ingester_at_work_are_not_lost_by_a_retry_of_what_was_not_taken(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make_stream("csv")
    land(lake, "b")
    ingest(lake, stream)
    land(lake, "a")

    def beside(point: str) -> None:
        if point == "ingest.after_dead_letters":
            apply_retry(lake, stream, A)

    with monkeypatch.context() as patch:
        patch.setattr("headrace.ingest.open_batch.crash_point", beside)
        with refused(FencedError):
            ingest(lake, stream)
    ingest(lake, stream)
    assert audit(lake, stream) == {A: 5, B: 5}
    assert is_exact(lake, stream)


def test_a_file_of_dead_letters_alone_is_taken_again_also_if_some_were_dropped(lake: Lake) -> None:
    stream = make_stream("csv")
    land(lake, "a", ["missing", "yes"])
    land(lake, "b")
    ingest(lake, stream)
    apply_drop(lake, plan_drop(lake, stream, choice=Choice(code="wrong_type")), stream)
    apply_retry(lake, stream, A)
    assert (dead_of(lake, stream).num_rows, rows_of(lake, stream).num_rows) == (1, 3)
    land(lake, "a", ["good", "good"])
    ingest(lake, stream)
    # of the file that was taken again nothing is dropped, of the other one still is
    assert audit(lake, stream) == {A: 2, B: 4}
    assert is_exact(lake, stream)


def test_a_replaced_file_that_had_only_a_header_is_taken_again(lake: Lake) -> None:
    stream = make_stream("csv")
    path = land(lake, "a", [])
    ingest(lake, stream)
    land(lake, "a", ["good"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with refused(SourceChangedError):
        ingest(lake, stream)
    apply_retry(lake, stream, A)
    ingest(lake, stream)
    assert rows_of(lake, stream).num_rows == 1


def test_the_commands_plan_first(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "declared" / "lake" / "streams"
    folder.mkdir(parents=True)
    stream = make_stream("csv")
    (folder / "things.yaml").write_text(
        json.dumps(stream.model_dump(mode="json", exclude_none=True))
    )
    (folder.parent / "lake.toml").write_text("[profiles.local]\n")
    monkeypatch.setenv("HEADRACE_LAKE", str(folder.parent / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(lake.settings.data_dir))
    land(lake, "a")
    ingest(lake, stream)

    def said(*arguments: str) -> dict[str, object]:
        done = CliRunner().invoke(make_app(), ["ingest", *arguments, "--output", "json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def check(told: dict[str, object]) -> tuple[object, ...]:
        return told["applied"], told["rows"], told["dead_letters"]

    assert check(said("retry", "things", A)) == (False, 3, 2)
    assert rows_of(lake, stream).num_rows == 3
    assert check(said("retry", "things", A, "--apply")) == (True, 3, 2)
    assert rows_of(lake, stream).num_rows == 0
    assert not said("skip", "things", A)["applied"]
    assert status(lake, stream).sources_skipped == ()
    assert said("skip", "things", A, "--apply")["applied"]
    assert status(lake, stream).sources_skipped == (A,)
