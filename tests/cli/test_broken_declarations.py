"""A declaration that cannot be used stops the commands that are about it, and no other."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.cli.main import make_app

STREAM = """\
stream: things
table: raw.things
source: {files: "things/*.csv", complete_files: true}
format: csv
event_time: at
fields:
  id: {type: long, required: true}
  at: {type: timestamptz, required: true}
"""
SAMPLES = """\
samples: feed
table: samples.feed
exposures: {table: raw.things, id: id, entities: [id]}
"""
CUT = "stream: others\ntable: raw.others\nsource: [{files\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "lake/lake.toml": '[profiles.local]\ndata_dir = "data"\n',
        "lake/streams/things.yaml": STREAM,
        "lake/streams/file_of_others.yaml": CUT,
        "lake/samples/feed.yaml": SAMPLES,
        "lake/samples/more.yaml": "samples: more\nexposures: 7\n",
        "data/things/a.csv": "id,at\n1,2026-01-01T00:00:00Z\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("HEADRACE_LAKE", str(tmp_path / "lake" / "lake.toml"))
    return tmp_path


def headrace(*arguments: str) -> Result:
    return CliRunner().invoke(make_app(), [*arguments, "--output", "json"])


def warned(done: Result) -> set[str]:
    """The files that warnings name."""
    lines = (line for line in done.stderr.splitlines() if line.startswith("warning: "))
    return {line.removeprefix("warning: ").partition(":")[0] for line in lines}


@pytest.mark.slow
def test_a_stream_is_taken_beside_one_whose_file_is_broken(folder: Path) -> None:
    done = headrace("ingest", "run", "things")
    assert done.exit_code == 0
    assert [each["stream"] for each in json.loads(done.stdout)] == ["things"]
    assert warned(done) == {"lake/streams/file_of_others.yaml"}
    built = headrace("samples", "build", "feed")
    assert built.exit_code == 0
    assert warned(built) == {"lake/samples/more.yaml"}


@pytest.mark.slow
def test_a_run_of_all_streams_takes_the_others_and_fails(folder: Path) -> None:
    done = headrace("ingest", "run")
    assert done.exit_code == 1
    assert [each["stream"] for each in json.loads(done.stdout)] == ["things"]
    assert warned(done) == {"lake/streams/file_of_others.yaml"}
    (folder / "lake" / "streams" / "file_of_others.yaml").unlink()
    assert headrace("ingest", "run").exit_code == 0


@pytest.mark.parametrize("name", ["others", "file_of_others"])
def test_a_command_about_the_broken_stream_says_what_is_wrong_with_it(
    folder: Path, name: str
) -> None:
    done = headrace("ingest", "run", name)
    assert done.exit_code == 1
    error = json.loads(done.stderr)
    assert error["code"] == "definition"
    assert "file_of_others.yaml:" in error["facts"]["problems"][0]


def test_a_name_that_no_file_has_is_not_declared(folder: Path) -> None:
    done = headrace("ingest", "run", "nothing")
    assert done.exit_code == 1
    assert json.loads(done.stderr)["code"] == "not-declared"
    more = headrace("samples", "build", "more")
    assert json.loads(more.stderr)["code"] == "definition"
