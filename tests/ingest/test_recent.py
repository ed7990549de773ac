"""Which refused records still count against a stream."""

import datetime as dt

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.definitions.load import load_streams
from headrace.definitions.stream import Stream
from headrace.ingest.recent import acknowledge, recent
from headrace.ingest.run import ingest
from tests.conftest import ROOT
from tests.ingest.factories import write_clicks

MOMENT = dt.timedelta(microseconds=1)


@pytest.fixture
def clicks(lake: Lake) -> Stream:
    return load_streams(lake.settings)["clicks"]


def bring(lake: Lake, stream: Stream, *, file: str, good: int = 0, bad: int = 0) -> None:
    write_clicks(lake.settings.data_dir, file=file, count=good)
    path = lake.settings.data_dir / "clicks" / f"{file}.csv"
    with path.open("a") as lines:
        lines.write("x,x,never,x,x,1,1,x\n" * bad)
    ingest(lake, stream)


def test_the_newest_window_counts_and_not_all_of_history(lake: Lake, clicks: Stream) -> None:
    assert recent(lake, clicks).dead_share == 0
    bring(lake, clicks, file="a", good=3, bad=40)
    first = recent(lake, clicks)
    assert (first.rows, first.dead_letters, first.sources) == (3, 40, ("clicks/a.csv",))
    assert sum(first.reasons.values()) == 40
    bring(lake, clicks, file="b", good=5)
    assert recent(lake, clicks).dead_letters == 40  # of the same day
    newest = recent(lake, clicks, window=MOMENT)
    assert (newest.dead_letters, newest.dead_share) == (0, 0)


def test_a_stream_of_which_nothing_could_be_taken_is_wholly_dead(
    lake: Lake, clicks: Stream
) -> None:
    bring(lake, clicks, file="a", bad=2)
    assert recent(lake, clicks).dead_share == 1


def test_what_a_person_acknowledged_counts_no_more_and_what_comes_does(
    lake: Lake, clicks: Stream
) -> None:
    bring(lake, clicks, file="a", good=1, bad=4)
    assert acknowledge(lake, clicks).dead_letters == 4
    seen = recent(lake, clicks)
    assert (seen.rows, seen.dead_letters) == (0, 0)
    assert seen.acknowledged_at is not None
    bring(lake, clicks, file="b", good=3, bad=1)
    assert recent(lake, clicks).dead_share == 0.25


def test_the_command_line_acknowledges(
    lake: Lake, clicks: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(lake, clicks, file="a", good=1, bad=4)
    monkeypatch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    done = CliRunner().invoke(make_app(), ["ingest", "acknowledge", "clicks"])
    assert (done.exit_code, "4 dead letters" in done.output) == (0, True)
    assert recent(lake, clicks).dead_letters == 0
