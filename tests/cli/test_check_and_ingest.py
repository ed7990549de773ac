"""`headrace check` and `headrace ingest`, run as a user runs them."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.cli.failures import EXIT_FAILED, EXIT_REFUSED, EXIT_TRY_AGAIN, exit_status
from headrace.cli.main import make_app
from headrace.errors import CatalogBusyError, RecordsRefusedError, SourceFileError
from tests.conftest import ROOT
from tests.ingest.factories import write_things

pytestmark = pytest.mark.slow

STREAM = """\
stream: things
table: raw.things
source: {files: "things/*.csv"}
format: csv
event_time: at
known_at: {after_event: 0s}
fields:
  id: {type: string, required: true}
  at: {type: timestamptz, required: true}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lake" / "streams").mkdir(parents=True)
    (tmp_path / "lake" / "lake.toml").write_text('profile = "p"\n[profiles.p]\n')
    (tmp_path / "lake" / "streams" / "things.yaml").write_text(STREAM)
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    return tmp_path


def headrace(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), list(arguments))


def test_check_counts_what_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
    done = headrace("check")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith("declarations fine")


def test_check_shows_every_problem_and_fails(folder: Path) -> None:
    write_things(folder / ".headrace" / "data", "a", ["good"], format_="csv")
    wrong = folder / "lake" / "streams" / "wrong.yaml"
    wrong.write_text(STREAM.replace("things", "others") + "window: 5m\n")
    done = headrace("check")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "lake/streams/wrong.yaml:10  `window` is not a field of a stream; did you mean `allowed_lateness`?",
        "1 problem, 1 declaration fine",
    ]
    told = json.loads(headrace("check", "--output", "json").stdout)
    assert told["fine"] == 1
    (problem,) = told["problems"]
    assert set(problem) == {"file", "line", "column", "message", "allowed"}
    assert "allowed_lateness" in problem["allowed"]
    assert problem["column"] == 1
    assert problem["file"].endswith(".yaml")
    assert isinstance(problem["line"], int)


def test_ingest_says_what_it_took_and_then_that_nothing_is_new(folder: Path) -> None:
    write_things(folder / ".headrace" / "data", "a", ["good", "missing", "good"], format_="csv")
    first = headrace("ingest", "run")
    assert first.exit_code == 0, first.output
    words = " ".join(first.stdout.split())
    assert words == (
        "things 2 rows 1 commits 1 dead letters watermark 2019-11-24 10:00:00 "
        "refused: 1 missing_required `id` "
        "not declared: `n`, `small`, `x`, `flag`, `day`, `price`"
    )
    assert "nothing new" in headrace("ingest", "run", "things").stdout
    (told,) = json.loads(headrace("ingest", "status", "--output", "json").stdout)
    assert (told["rows"], told["dead_letters"], told["waiting"]) == (2, 1, 0)
    assert "raw.things" in headrace("ingest", "status").stdout


def test_ingest_warns_of_a_second_name_and_status_of_a_line_that_waits(folder: Path) -> None:
    data = folder / ".headrace" / "data" / "things"
    write_things(data.parent, "a", ["good"], format_="csv")
    (data / "b.csv").write_bytes((data / "a.csv").read_bytes())
    (data / "c.csv").write_bytes((data / "a.csv").read_bytes() + b"t9,2019")
    warned = [line for line in headrace("ingest", "run").stdout.splitlines() if "warning" in line]
    assert len(warned) == 2  # of `b`, and so far of `c`
    assert "`things/a.csv`" in warned[0]
    assert "`things/c.csv`" in headrace("ingest", "status").stdout
    (told,) = json.loads(headrace("ingest", "status", "--output", "json").stdout)
    assert told["sources_unfinished"] == ["things/c.csv"]


def test_a_refused_file_is_one_line_on_stderr_and_the_other_streams_go_on(folder: Path) -> None:
    data = folder / ".headrace" / "data"
    write_things(data, "a", ["good"], format_="csv")
    other = STREAM.replace("things", "broken")
    (folder / "lake" / "streams" / "broken.yaml").write_text(other)
    (data / "broken").mkdir()
    (data / "broken" / "a.csv").write_bytes(b"\x1f\x8b")
    done = headrace("ingest", "run", "--output", "json")
    assert done.exit_code == 1
    assert json.loads(done.stderr)["facts"]["path"] == "broken/a.csv"
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be ingested" not in headrace("ingest", "run").stdout
    assert [taken["rows"] for taken in json.loads(done.stdout)] == [1]


def test_a_run_whose_records_are_all_refused_fails_by_a_status_of_its_own(folder: Path) -> None:
    data = folder / ".headrace" / "data"
    write_things(data, "a", ["missing", "missing", "a naive time"], format_="csv")
    done = headrace("ingest", "run", "--output", "json")
    assert done.exit_code == EXIT_REFUSED
    assert json.loads(done.stderr)["code"] == "records-refused"
    (told,) = json.loads(done.stdout)
    assert (told["rows"], told["dead_letters"], told["commits"]) == (0, 3, 1)
    assert told["reasons"] == {"missing_required `id`": 2, "naive_time `at`": 1}
    assert headrace("ingest", "run").exit_code == 0  # nothing new is no failure
    write_things(data, "b", ["missing", "good"], format_="csv")
    assert headrace("ingest", "run").exit_code == 0  # half of them
    contract = folder / "lake" / "streams" / "things.yaml"
    contract.write_text(STREAM + "refused_share_limit: 0.5\n")
    write_things(data, "c", ["missing", "good"], format_="csv")
    assert headrace("ingest", "run").exit_code == EXIT_REFUSED


def test_one_status_for_several_errors_is_that_of_the_most_serious() -> None:
    refused = RecordsRefusedError("things", records=1, reasons={"malformed": 1})
    failed, again = (
        SourceFileError("a.csv", "it is not a file"),
        CatalogBusyError("raw.things", attempts=1),
    )
    assert exit_status(again, again) == EXIT_TRY_AGAIN
    assert exit_status(again, refused) == EXIT_REFUSED
    assert exit_status(refused, failed, again) == EXIT_FAILED


@pytest.mark.parametrize("create", [False, True])
def test_a_source_without_a_single_file_is_said(folder: Path, create: bool) -> None:
    data = folder / ".headrace" / "data"
    if create:
        write_things(data, "a", ["good"], format_="csv")
        (data / "things" / "a.csv").rename(data / "things" / "a.tsv")
    (told,) = json.loads(headrace("ingest", "run", "--output", "json").stdout)
    (status,) = json.loads(headrace("ingest", "status", "--output", "json").stdout)
    checked = json.loads(headrace("check", "--output", "json").stdout)
    named = "things/*.csv" if create else "does not exist"
    for said in (
        told["missing"],
        status["sources_missing"],
        *(each["message"] for each in checked["warnings"]),
    ):
        assert named in said
    assert len(checked["warnings"]) == 1
    for command in (("ingest", "run"), ("ingest", "status"), ("check",)):
        done = headrace(*command)
        assert done.exit_code == 0
        assert named in done.stdout


def test_a_misspelt_optional_field_is_said_by_run_and_status(folder: Path) -> None:
    contract = folder / "lake" / "streams" / "things.yaml"
    contract.write_text(STREAM + "  user_segment: {type: string}\n")
    data = folder / ".headrace" / "data" / "things"
    data.mkdir(parents=True)
    (data / "a.csv").write_text("id,at,userSegment\na,2019-11-24T10:00:00Z,x\n")
    (told,) = json.loads(headrace("ingest", "run", "--output", "json").stdout)
    (status,) = json.loads(headrace("ingest", "status", "--output", "json").stdout)
    for said in (told, status):
        assert said["undeclared_fields"] == {"userSegment": 1}
        assert said["absent_fields"] == ["user_segment"]
    assert "did you mean `user_segment`?" in headrace("ingest", "status").stdout


def test_an_unknown_stream_is_named_beside_the_one_that_was_meant(folder: Path) -> None:
    done = headrace("ingest", "run", "thing")
    assert done.exit_code == 1
    assert "`things`" in done.stderr


def test_outside_a_lake_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADRACE_LAKE", raising=False)
    done = headrace("check")
    assert done.exit_code == 1
    assert "HEADRACE_LAKE" in done.stderr
    verbose = headrace("--verbose", "check")
    assert "Traceback" in verbose.stderr


def test_dead_letters_are_listed_shown_replayed_and_dropped(folder: Path) -> None:
    write_things(
        folder / ".headrace" / "data", "a", ["good", "missing", "a naive time"], format_="csv"
    )
    headrace("ingest", "run", "things")
    listed = headrace("dead-letters", "list", "things", "--output", "json")
    found = {each["code"]: each for each in json.loads(listed.stdout)}
    assert {code: each["count"] for code, each in found.items()} == {
        "missing_required": 1, "naive_time": 1,
    }  # fmt: skip
    assert found["naive_time"]["example"] == "things/a.csv:0:2"
    shown = headrace("dead-letters", "show", "things", "--offset", "2").stdout
    assert shown.startswith("things/a.csv:0:2, line 4  naive_time: ")
    assert "still refused: 1 missing_required, 1 naive_time" in (
        headrace("dead-letters", "replay", "things").stdout
    )
    planned = headrace("dead-letters", "drop", "things", "--code", "naive_time").stdout
    assert "1 dead letters (1 naive_time) would be dropped" in planned
    done = headrace("dead-letters", "drop", "things", "--code", "naive_time", "--apply").stdout
    assert done == "things: 1 dead letters dropped\n"
    assert (
        headrace("dead-letters", "show", "things", "--offset", "2").stdout
        == "no dead letter matches\n"
    )
    assert headrace("dead-letters", "list", "others").exit_code == 1


def test_an_audit_says_exact_prints_its_statement_and_fails_where_a_row_is_missing(
    folder: Path,
) -> None:
    write_things(folder / ".headrace" / "data", "a", ["good", "missing", "good"], format_="csv")
    headrace("ingest", "run", "things")
    done = headrace("ingest", "audit", "things")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "things: 1 partition exact")
    assert headrace("ingest", "audit", "things", "--sql").stdout.startswith("with expected (")
    headrace("tables", "delete", "raw.things", "--where", "_source_offset = 2", "--apply")
    done = headrace("ingest", "audit", "things")
    assert (done.exit_code, "things/a.csv:0 1 offsets missing" in done.output) == (1, True)
