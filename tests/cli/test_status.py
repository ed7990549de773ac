"""The findings of `headrace status`: one for each cause, with the commands that remove it."""

import dataclasses
import datetime as dt
import json
from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace import clock
from headrace.api import Lake
from headrace.cli.findings import Finding, findings, out_of_date
from headrace.cli.flow import ONLINE_STORE, Edge, in_order, reached
from headrace.cli.main import make_app
from headrace.cli.output import as_age
from headrace.cli.standing import Standing, StreamStanding, Trouble, read_standing
from headrace.definitions.load import load_streams
from headrace.errors import Remedy
from headrace.ingest.progress import Phase, Progress, write
from headrace.ingest.run import ingest
from headrace.registry.checks import FailedCheck, record_check
from tests.conftest import ROOT
from tests.ingest.factories import write_clicks
from tests.tables.factories import add, events_table

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
QUIET = StreamStanding(
    stream="clicks",
    rows=10,
    committed_at=NOW,
    watermark=NOW,
    waiting=0,
    dead_letters=0,
    refused=0,
    lag=None,
    service=None,
)
FINE = Standing(
    problems=(),
    streams=(QUIET,),
    unreadable=(),
    edges=(),
    sample_sets={"samples.ctr": "ctr"},
    failed_checks=(),
    unfit=(),
    actions=0,
    actions_bytes=0,
    waiting_actions=0,
    online=(),
    versions=(),
)


def edge(source: str, target: str, commits: int | None = 0) -> Edge:
    return Edge(source=source, target=target, snapshot=1, commits=commits)


RIVER = (
    edge("raw.clicks", "staging.clicks", 2),
    edge("raw.views", "staging.views"),
    edge("staging.clicks", "features.ctr"),
    edge("staging.views", "features.ctr"),
    edge("features.ctr", "samples.ctr"),
    edge("features.ctr", ONLINE_STORE),
)


def lines(found: tuple[Finding, ...]) -> list[list[str]]:
    return [[remedy.line for remedy in each.remedies] for each in found]


def test_a_healthy_lake_has_no_finding() -> None:
    assert findings(FINE) == ()
    fresh = tuple(edge(each.source, each.target) for each in RIVER)
    assert findings(dataclasses.replace(FINE, edges=fresh)) == ()


def test_one_table_that_moved_is_one_finding_with_every_step_that_follows_in_order() -> None:
    (only,) = findings(dataclasses.replace(FINE, edges=RIVER))
    assert only.kind == "behind"
    assert "raw.clicks (2)" in only.text
    assert "raw.views" not in only.text
    assert lines((only,)) == [
        ["headrace features build", "headrace samples build ctr", "headrace online publish"]
    ]


def test_what_was_computed_from_stale_tables_is_out_of_date_and_what_is_unknown_is_not() -> None:
    stale = ("staging.clicks", "features.ctr", "samples.ctr", ONLINE_STORE)
    assert set(out_of_date(RIVER)) == set(stale)
    assert out_of_date(RIVER)[:2] == stale[:2]
    assert out_of_date((edge("a.a", "b.b", None),)) == ()


def test_an_online_store_that_was_not_published_again_needs_only_that() -> None:
    behind = (edge("features.ctr", "samples.ctr"), edge("features.ctr", ONLINE_STORE, 1))
    found = findings(dataclasses.replace(FINE, edges=behind))
    assert lines(found) == [["headrace online publish"]]


def test_what_is_wrong_comes_first_then_what_is_behind_then_what_is_slow() -> None:
    troubled = dataclasses.replace(QUIET, refused=3, dead_letters=3, waiting=2, trouble="failed")
    standing = dataclasses.replace(
        FINE,
        problems=("lake/streams/a.yaml:3  wrong",),
        streams=(troubled,),
        unreadable=(Trouble(subject="raw.a", text="damaged", remedy=Remedy.run("tables", "list")),),
        edges=RIVER,
        failed_checks=(FailedCheck(subject="samples.ctr", check="no_leaks", at=NOW),),
        unfit=(("raw.clicks", "9 of 9 files are small"),),
    )
    found = findings(standing)
    assert [each.kind for each in found] == [*["wrong"] * 5, *["behind"] * 2, "slow"]
    assert all(each.remedies for each in found)
    assert lines(found)[4:6] == [
        ["headrace dead-letters list clicks"],
        ["headrace ingest run clicks"],
    ]


def test_files_that_a_live_service_takes_do_not_wait() -> None:
    followed = dataclasses.replace(QUIET, waiting=4, lag=0, service="following")
    assert findings(dataclasses.replace(FINE, streams=(followed,))) == ()


def test_a_followed_stream_whose_events_stopped_is_behind() -> None:
    silent = dataclasses.replace(QUIET, stale=True)
    (only,) = findings(dataclasses.replace(FINE, streams=(silent,)))
    assert only.kind == "behind"
    assert "clicks 2026-11-30 12:00" in only.text
    assert lines((only,)) == [["headrace ingest status clicks"]]


def test_lineage_is_in_the_order_of_the_flow_and_leads_both_ways() -> None:
    shuffled = sorted(RIVER, key=lambda each: each.source, reverse=True)
    targets = [each.target for each in in_order(shuffled)]
    assert targets.index("staging.clicks") < targets.index("features.ctr")
    assert targets.index("features.ctr") < targets.index("samples.ctr")
    assert reached("staging.views", RIVER) == {
        "raw.views", "staging.views", "features.ctr", "samples.ctr", ONLINE_STORE,
    }  # fmt: skip
    circle = (edge("a.a", "b.b"), edge("b.b", "a.a"))
    assert len(in_order(circle)) == 2


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (8_000, "2 h"), (200_000, "2 d"), (-5, "0 s")],
)
def test_ages_have_one_unit(seconds: int, shown: str) -> None:
    assert as_age(NOW - dt.timedelta(seconds=seconds), now=NOW) == shown


@pytest.fixture
def headrace(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    return lambda *words: CliRunner().invoke(make_app(), list(words))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "trouble", "stale"),
    [(Phase.FAILED, "failed gone", True), (Phase.RETRYING, "", True), (None, "", False)],
)
def test_a_stream_is_judged_by_what_its_service_said_last(
    lake: Lake, phase: Phase | None, trouble: str, stale: bool
) -> None:
    declared = load_streams(lake.settings)["clicks"]
    write_clicks(lake.settings.data_dir, file="a", count=3)
    ingest(lake, declared)  # events of 2019
    if phase is not None:
        said = Progress(stream="clicks", phase=phase, updated_ms=clock.now_ms(), error="gone")
        write(lake.settings, said)
    (found,) = [each for each in read_standing(lake.settings).streams if each.stream == "clicks"]
    assert (found.trouble, found.stale) == (trouble, stale)


@pytest.mark.slow
def test_status_reads_a_real_lake_and_survives_a_table_that_cannot_be_read(
    lake: Lake, headrace: Callable[..., Result]
) -> None:
    for number in range(9):
        add(events_table(lake), [number])
    record_check(lake.registry, "raw.events", "no_duplicates", passed=False)
    damaged = add(events_table(lake, "raw.other"), [1])
    assert damaged is not None
    location = lake.table("raw.other").iceberg().metadata_location.removeprefix("file://")
    with open(location, "r+b") as file:  # noqa: PTH123
        file.truncate(10)
    result = headrace("status", "--output", "json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    kinds = [each["kind"] for each in told["findings"]]
    assert kinds == sorted(kinds, key=["wrong", "behind", "slow"].index)
    texts = " ".join(each["text"] for each in told["findings"])
    assert "raw.other" in texts
    assert "raw.events no_duplicates" in texts
    assert "→ headrace" in headrace("status").stdout
