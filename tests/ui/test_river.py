"""The river that findings are painted on, as plain functions."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.maintenance.health.health import HealthPart
from headrace.registry.checks import FailedCheck
from headrace.standing.facts import JobStanding, StreamStanding, Unreadable
from headrace.standing.findings import findings
from headrace.standing.flow import Edge
from ui.facts import LakeFacts, ModelFacts, OnlineView, TableFacts, VersionFacts
from ui.graph import graph_of
from ui.river import STAGES, river, stage_text, today_text
from ui.wording import compact

NOW = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def table(name: str, *, score: int = 100, watermark: dt.datetime | None = None) -> TableFacts:
    part = HealthPart(name="small files", finding="many", penalty=100 - score, gain="speed")
    return TableFacts(
        name=name,
        snapshot_id=1,
        metadata_location=name,
        score=score,
        parts=(part,),
        rows=1_000,
        files=1,
        small_files=0,
        bytes=1,
        snapshots=1,
        committed_at=NOW - HOUR,
        watermark=watermark,
    )


def edge(source: str, target: str, *, behind: int | None) -> Edge:
    return Edge(source=source, target=target, snapshot=1, commits=behind)


def view(name: str, *, behind: int | None) -> OnlineView:
    return OnlineView(
        view=name,
        table=name,
        rows=1,
        newest_event_time=NOW,
        snapshot_id=1,
        published_at=NOW,
        behind=behind,
    )


CHAIN = LakeFacts(
    tables=tuple(
        table(name) for name in ("raw.clicks", "staging.clicks", "features.item", "samples.ctr")
    ),
    edges=(
        edge("raw.clicks", "staging.clicks", behind=2),
        edge("staging.clicks", "features.item", behind=0),
        edge("features.item", "samples.ctr", behind=0),
    ),
    online=(view("features.item", behind=0),),
    sample_sets={"samples.ctr": "ctr"},
)
EVERYTHING = LakeFacts(
    tables=(table("raw.a", score=10), table("features.f"), table("samples.ctr")),
    unreadable=(Unreadable(name="staging.a", code="corrupt", text="torn"),),
    failed_checks=(FailedCheck(subject="samples.ctr", check="no_leaks", at=NOW),),
    streams=(
        StreamStanding(stream="a", table="raw.a", source="a/*.csv", trouble="vanished"),
        StreamStanding(stream="b", table="raw.b", source="b/*.csv", lag=7),
    ),
    edges=(
        edge("raw.a", "features.f", behind=1),
        edge("features.f", "samples.ctr", behind=1),
        edge("raw.a", "features.gone", behind=1),
        edge("raw.gone", "features.f", behind=1),
    ),
    online=(view("features.f", behind=1),),
    no_online=None,
    sample_sets={"samples.ctr": "ctr"},
)


def test_pages_are_judged_by_what_still_exists() -> None:
    standing = EVERYTHING.standing
    assert {(each.source, each.target) for each in standing.edges} == {
        ("raw.a", "features.f"),
        ("features.f", "samples.ctr"),
        ("features.f", "online store"),
    }
    (only,) = standing.unfit
    assert (only.name, only.part, only.score) == ("raw.a", "small files", 10)


def test_the_river_has_every_stage_and_paints_faults_on_it() -> None:
    found = findings(EVERYTHING.standing)
    stages = {each.name: each for each in river(EVERYTHING, found, now=NOW)}
    assert tuple(stages) == STAGES
    assert stages["sources"].state == "failed"
    assert stages["sources"].stops[1].lag == "7 records behind"
    assert stages["raw"].state == "failed"
    assert stages["staging"].stops[0].lag == "cannot be read"
    assert stages["features"].state == "behind"
    assert stages["features"].stops[0].lag == "1 commit behind"
    assert "no_leaks" in stages["samples"].stops[0].fault
    assert stages["online"].state == "behind"
    assert stages["versions"].state is None
    assert stage_text(stages["versions"]) == "none"


def test_what_waits_at_a_source_that_did_not_tell_is_unknown() -> None:
    silent = StreamStanding(stream="a", table="raw.a", source="topic a", waiting=None)
    stages = {each.name: each for each in river(LakeFacts(streams=(silent,)), (), now=NOW)}
    (stop,) = stages["sources"].stops
    assert (stop.state, stop.lag) == ("fresh", "unknown")


def test_a_job_of_flink_lies_between_what_it_reads_and_what_it_writes() -> None:
    rows = JobStanding(
        subject="features.i", table="features.i_rows", reads=("raw.a",), state="RUNNING"
    )
    topic = JobStanding(subject="a", table="raw.a", reads=("topic a",), trouble="is lost")
    lake = LakeFacts(
        tables=(table("raw.a"), table("features.i_rows")),
        streams=(
            StreamStanding(
                stream="a", table="raw.a", source="topic a", waiting=2, is_of_flink=True
            ),
        ),
        jobs=(topic, rows),
        edges=(edge("raw.a", "features.i_rows", behind=5),),
    )
    graph = graph_of(lake)
    assert [(each.source, each.target) for each in graph.arrows] == [
        ("topic a", "Flink job of a"),
        ("Flink job of a", "raw.a"),
        ("raw.a", "Flink job of features.i"),
        ("Flink job of features.i", "features.i_rows"),
    ]
    node = graph.node("Flink job of features.i")
    assert node is not None
    assert (node.kind, node.detail) == ("job", "running")
    found = findings(lake.standing)
    assert [each.subject for each in found] == ["Flink job of a"]
    stages = {each.name: each for each in river(lake, found, now=NOW)}
    (source,) = stages["sources"].stops
    assert (source.state, source.lag, source.fault) == ("failed", "taken by Flink", "is lost")
    assert [each.state for each in stages["features"].stops] == ["fresh"]


def test_what_waits_for_something_further_up_is_behind_too() -> None:
    stages = {each.name: each for each in river(CHAIN, (), now=NOW)}
    assert [stages[name].stops[0].lag for name in ("staging", "features", "samples")] == [
        "2 commits behind",
        "waits upstream",
        "waits upstream",
    ]
    assert stages["raw"].state == "fresh"
    assert stage_text(stages["features"]) == "1 of 1 behind"


def test_a_model_of_an_older_version_is_behind(version: VersionFacts) -> None:
    made = ModelFacts(dataset="ctr", version=version.version - 1, folder="ctr-0", trained_at=NOW)
    lake = LakeFacts(versions=(version,), models=(made,))
    stages = {each.name: each for each in river(lake, (), now=NOW)}
    assert stages["models"].state == "behind"
    assert stages["versions"].state == "fresh"


def test_rows_of_today_are_said_for_a_stage() -> None:
    lake = LakeFacts(tables=(table("raw.a"), table("raw.b")), rows_today={"raw.b": 12_345})
    raw = next(each for each in river(lake, (), now=NOW) if each.name == "raw")
    assert today_text(raw) == "+12.3 K rows today"


@pytest.fixture
def version() -> VersionFacts:
    return VersionFacts(
        name="ctr", version=2, table="samples.ctr", snapshot_id=1, first_day=NOW.date(),
        last_day=NOW.date(), filter_labels="mature", left_out=(), rows=1, positives=0,
        content_hash="0", code="c", created_at=NOW, watermarks={}, labels=(), days=(), pins=(),
        dense=(), sparse=(), sequence=(), label_names=(),
    )  # fmt: skip


def test_large_numbers_stay_short() -> None:
    assert [compact(n) for n in (9_999, 41_953, 233_000, 999_960, -12_000)] == [
        "9,999", "42 K", "233 K", "1 M", "-12 K",
    ]  # fmt: skip


@given(st.integers(0, 10**15))
def test_a_number_in_short_is_close_to_it(number: int) -> None:
    value, _, unit = compact(number).partition(" ")
    said = float(value.replace(",", "")) * 1000 ** " KMGT".index(unit or " ")
    assert said == pytest.approx(number, rel=0.051)
