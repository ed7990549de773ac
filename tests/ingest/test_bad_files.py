"""One bad file: it stops its stream, or is left out where the contract says so, and is never half taken."""

import gzip
import json
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.definitions.stream import Stream
from headrace.errors import SourceChangedError, SourceFileError
from headrace.ingest.cadence import Cadence
from headrace.ingest.follow import follow
from headrace.ingest.open_batch import Committed
from headrace.ingest.progress import Progress
from headrace.ingest.run import ingest
from headrace.ingest.status import status
from tests.ingest.factories import audit, make_stream, write_things
from tests.raising import refused

pytestmark = pytest.mark.slow

FORMATS = ("csv", "json", "parquet")


def contract(format_: str, *, on_bad_file: str = "skip") -> Stream:
    stream = make_stream(format_)
    files = stream.source.text
    return make_stream(format_, source={"files": files, "on_bad_file": on_bad_file})


def land(lake: Lake, format_: str) -> Path:
    """Three files, of which the second is compressed, which the contract does not say."""
    for name in ("a", "b", "c"):
        write_things(lake.settings.data_dir, name, ["good", "missing"], format_=format_)
    (bad,) = (lake.settings.data_dir / "things").glob("b.*")
    bad.write_bytes(gzip.compress(bad.read_bytes()))
    return bad


@pytest.mark.parametrize("format_", FORMATS)
def test_the_others_are_taken_and_the_bad_one_is_tried_again(lake: Lake, format_: str) -> None:
    bad = land(lake, format_)
    with refused(SourceFileError, path=f"things/{bad.name}"):
        ingest(lake, contract(format_, on_bad_file="stop"))
    done = ingest(lake, contract(format_))
    assert [type(each) for each in done.skipped] == [SourceFileError]
    assert done.rows == 1  # of the third file; the first was taken before the stop
    assert len(status(lake, contract(format_)).sources_waiting) == 1
    again = ingest(lake, contract(format_))
    assert (again.rows, again.commits, len(again.skipped)) == (0, 0, 1)

    bad.write_bytes(gzip.decompress(bad.read_bytes()))
    whole = ingest(lake, contract(format_))
    assert (whole.rows, whole.skipped) == (1, ())
    assert set(audit(lake, contract(format_)).values()) == {2}


def test_a_file_that_changed_is_left_out_too_and_its_rows_stay(lake: Lake) -> None:
    stream = contract("csv")
    write_things(lake.settings.data_dir, "a", ["good", "good"], format_="csv")
    ingest(lake, stream)
    path = lake.settings.data_dir / "things" / "a.csv"
    path.write_bytes(path.read_bytes().replace(b"t0", b"x0") + path.read_bytes().splitlines()[1])
    write_things(lake.settings.data_dir, "b", ["good"], format_="csv")
    done = ingest(lake, stream)
    assert [type(each) for each in done.skipped] == [SourceChangedError]
    assert audit(lake, stream) == {"things/a.csv": 2, "things/b.csv": 1}


def test_a_stream_that_is_followed_goes_on_and_says_which_file_it_left_out(lake: Lake) -> None:
    land(lake, "csv")
    stop = threading.Event()

    class Watch:
        def changed(self, progress: Progress) -> None:
            if "things/b.csv" in progress.error:
                stop.set()

        def committed(self, stream: str, done: Committed, *, seconds: float) -> None:
            pass

        def failed(self, stream: str, code: str) -> None:
            raise AssertionError(code)

    stream = contract("csv")
    cadence = Cadence(seconds=0.1, rows=100, bytes=1_000_000)
    done = follow(lake, stream, stop=stop, cadence=cadence, listeners=[Watch()])
    assert done.rows == 2


def test_the_command_takes_the_others_and_fails_for_the_bad_one(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lake" / "streams").mkdir(parents=True)
    (tmp_path / "lake" / "lake.toml").write_text("[profiles.local]\n")
    said = contract("json").model_dump(mode="json", exclude_none=True)
    (tmp_path / "lake" / "streams" / "things.yaml").write_text(json.dumps(said))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(lake.settings.data_dir))
    land(lake, "json")
    done = CliRunner().invoke(make_app(), ["ingest", "run", "--output", "json"])
    assert done.exit_code == 1
    (told,) = json.loads(done.stdout)
    assert told["rows"] == 2
    assert [each["code"] for each in told["skipped"]] == ["source-file"]
    assert json.loads(done.stderr)["facts"]["path"] == "things/b.jsonl"
