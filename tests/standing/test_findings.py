"""Findings by root cause: rules over plain facts, without a lake."""

import dataclasses
import datetime as dt
import shlex

import click
import pytest
import typer.main
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.cli.main import make_app
from headrace.errors import FindingCode, Remedy
from headrace.interop.paimon.facts import PaimonFiles
from headrace.registry.checks import FailedCheck
from headrace.standing.causes import causes, out_of_date
from headrace.standing.facts import (
    JobStanding,
    PaimonImport,
    PaimonSummary,
    Standing,
    StreamStanding,
    UnfitTable,
    Unreadable,
)
from headrace.standing.finding import Finding
from headrace.standing.findings import findings
from headrace.standing.flow import ONLINE_STORE, Edge, followed, in_order, reached
from headrace.standing.wording import listed

NOW = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
FINE = Standing(sample_sets={"samples.ctr": "ctr"})


def edge(source: str, target: str, commits: int | None = 0, *, hours: int = 1) -> Edge:
    since = NOW - hours * HOUR if commits else None
    return Edge(source=source, target=target, snapshot=1, commits=commits, since=since)


def stream(name: str, **changes: object) -> StreamStanding:
    facts = StreamStanding(stream=name, table=f"raw.{name}", source=f"{name}/*.csv")
    return dataclasses.replace(facts, **changes)


def unfit(name: str, *, part: str = "small files") -> UnfitTable:
    return UnfitTable(name=name, score=60, part=part, finding="many", gain="speed")


def judged(**facts: object) -> tuple[Finding, ...]:
    return findings(dataclasses.replace(FINE, **facts))


def lines(found: tuple[Finding, ...]) -> list[list[str]]:
    return [[remedy.line for remedy in each.remedies] for each in found]


FLOW = (
    edge("raw.clicks", "staging.clicks", 2, hours=3),
    edge("raw.views", "staging.views"),
    edge("staging.clicks", "features.ctr"),
    edge("staging.views", "features.ctr"),
    edge("features.ctr", "samples.ctr"),
    edge("features.ctr", ONLINE_STORE),
)


def test_a_healthy_lake_has_no_finding() -> None:
    assert judged() == ()
    assert judged(streams=(stream("clicks"),)) == ()
    assert judged(edges=tuple(edge(each.source, each.target) for each in FLOW)) == ()


def test_one_table_that_moved_is_one_finding_with_every_step_that_follows_in_order() -> None:
    (only,) = judged(edges=FLOW)
    assert (only.kind, only.subject, only.since) == ("behind", "raw.clicks", NOW - 3 * HOUR)
    assert only.concerns[:2] == ("staging.clicks", "features.ctr")
    assert set(only.concerns[2:]) == {"samples.ctr", ONLINE_STORE}
    steps = ["headrace features build", "headrace samples build ctr", "headrace online publish"]
    assert lines((only,)) == [steps]
    assert only.command.replace("\\\n", "") == " && ".join(steps)
    assert (only.advice, only.table) == ("", "staging.clicks")


def test_a_feature_that_was_rebuilt_leaves_samples_and_the_online_store_to_do() -> None:
    rebuilt = (
        edge("staging.clicks", "features.ctr"),
        edge("features.ctr", "samples.ctr", 1),
        edge("features.ctr", ONLINE_STORE, 1),
    )
    assert lines(judged(edges=rebuilt)) == [
        ["headrace samples build ctr", "headrace online publish"]
    ]


def test_an_online_store_that_was_not_published_again_needs_only_that() -> None:
    behind = (edge("features.ctr", "samples.ctr"), edge("features.ctr", ONLINE_STORE, 1))
    assert lines(judged(edges=behind)) == [["headrace online publish"]]


def test_what_was_computed_from_stale_tables_is_out_of_date_and_what_is_unknown_is_not() -> None:
    stale = ("staging.clicks", "features.ctr", "samples.ctr", ONLINE_STORE)
    assert set(out_of_date(FLOW)) == set(stale)
    assert out_of_date(FLOW)[:2] == stale[:2]
    assert out_of_date((edge("a.a", "b.b", None),)) == ()


def test_causes_that_meet_further_down_are_one() -> None:
    first, second = causes(
        (
            edge("raw.a", "staging.a", 1),
            edge("raw.b", "staging.b", 1, hours=5),
            edge("raw.c", "staging.c", 1),
            edge("staging.a", "samples.ctr"),
            edge("staging.b", "samples.ctr"),
        )
    )
    assert first.roots == ("raw.a", "raw.b")
    assert first.since == NOW - 5 * HOUR
    assert second.affected == ("staging.c",)


@example([("b", "d", 1), ("c", "a", 1), ("c", "b", None), ("d", "b", 1)])
@example([("a", "d", 1), ("b", "c", 1), ("c", "b", 1)])
@given(
    st.lists(
        st.tuples(*[st.sampled_from("abcdefg")] * 2, st.sampled_from([None, 0, 1, 3])),
        max_size=15,
    )
)
def test_whatever_is_behind_has_exactly_one_cause(
    drawn: list[tuple[str, str, int | None]],
) -> None:
    edges = tuple(edge(a, b, n) for a, b, n in drawn if a != b)
    found = causes(edges)
    behind = {each.target for each in edges if each.commits}
    named = [name for cause in found for name in (*cause.affected, *cause.roots)]
    assert behind <= set(named)
    affected = [name for cause in found for name in cause.affected]
    assert len(affected) == len(set(affected))
    assert set(affected) <= set(out_of_date(edges))


def test_a_hundred_small_tables_are_one_finding() -> None:
    (found,) = judged(unfit=tuple(unfit(f"raw.t{n}") for n in range(100)))
    assert len(found.concerns) == 100
    assert found.command == "headrace maintain --apply"
    assert lines(judged(unfit=(unfit("raw.a"),))) == [["headrace tables compact raw.a --apply"]]
    assert lines(judged(unfit=(unfit("raw.a", part="manifests"),))) == [
        ["headrace maintain raw.a --apply"]
    ]


def test_a_failed_service_and_an_old_watermark_are_found() -> None:
    old = NOW - dt.timedelta(days=9)
    live = stream("live", trouble="failed gone", trouble_at=NOW, watermark=old, stale=True)
    failed, stale = judged(streams=(live, stream("history", watermark=old)))
    assert (failed.kind, failed.command) == ("wrong", "headrace ingest run live --follow")
    assert "failed gone" in failed.text
    assert (stale.kind, stale.subject, stale.since) == ("behind", "raw.live", old)
    assert "2024-04-22 12:00" in stale.text
    assert lines((stale,)) == [["headrace ingest status live"]]


def test_streams_that_nothing_follows_any_more_are_one_finding_with_what_ended_the_service_before() -> (
    None
):
    end = "ended at 2024-05-01 11:50 UTC with fenced: another writer"
    fenced = stream("views", service="stopped", stopped_at=NOW, former=end, waiting=2)
    other = stream("clicks", service="stopped", stopped_at=NOW - HOUR, waiting=1)
    (found,) = judged(streams=(other, fenced))
    assert (found.kind, found.code, found.since) == (
        "behind", FindingCode.NOT_FOLLOWED, NOW - HOUR,
    )  # fmt: skip
    assert found.command == "headrace ingest run views clicks --follow"
    assert "until 2024-05-01 12:00 UTC" in found.text
    assert "2 files of `views/*.csv` not ingested yet" in found.text
    assert f"a service before that {end}; clicks also not followed" in found.text
    assert found.concerns == ("views", "raw.views", "clicks", "raw.clicks")


def test_files_that_a_live_service_takes_do_not_wait() -> None:
    (found,) = judged(streams=(stream("clicks", waiting=4),))
    assert (found.kind, found.command) == ("behind", "headrace ingest run clicks")
    assert judged(streams=(stream("clicks", waiting=4, lag=0, service="following"),)) == ()


def test_what_a_job_of_flink_takes_does_not_wait_and_its_watermark_moves_by_notes() -> None:
    both = stream("clicks", waiting=4), stream("views", waiting=1, parts="partition")
    (found,) = judged(streams=both)
    assert found.text.startswith("4 files and 1 partition of ")
    taken = stream("views", waiting=4, is_of_flink=True)
    assert judged(streams=(taken,)) == ()
    (stale,) = judged(streams=(dataclasses.replace(taken, stale=True, watermark=NOW),))
    assert lines((stale,)) == [["headrace flink note views", "headrace ingest status views"]]
    stopped = JobStanding(subject="views", table="raw.views", state="STOPPED")
    streams = (dataclasses.replace(taken, stale=True, watermark=NOW),)
    (stale,) = judged(streams=streams, jobs=(stopped,))
    assert lines((stale,)) == [["headrace flink restore views", "headrace ingest status views"]]


def test_each_job_that_is_not_well_is_a_finding_with_its_command() -> None:
    well = JobStanding(subject="clicks", table="raw.clicks", state="RUNNING")
    restore = Remedy.run("flink", "restore", "views")
    lost = JobStanding(subject="views", table="raw.views", trouble="is gone", remedy=restore)
    (only,) = judged(jobs=(well, lost))
    assert (only.kind, only.code, only.breaks) == ("wrong", FindingCode.FLINK_JOB, True)
    assert (only.subject, only.text) == ("Flink job of views", "is gone")
    assert (only.command, only.concerns) == ("headrace flink restore views", ("views", "raw.views"))


def test_a_stopped_job_that_keeps_snapshots_is_a_finding_until_it_runs() -> None:
    stopped = JobStanding(
        subject="views", table="raw.views", state="STOPPED", kept=120, kept_since=NOW
    )
    (only,) = judged(jobs=(stopped,))
    assert (only.kind, only.code, only.since) == ("slow", FindingCode.STOPPED_JOB, NOW)
    assert "120 snapshots of raw.views since then do not expire" in only.text
    assert lines((only,)) == [
        ["headrace flink restore views", "headrace flink handover views --to headrace"]
    ]
    assert len(judged(jobs=(dataclasses.replace(stopped, state=""),))) == 1  # Flink is away
    for changes in ({"kept": 0}, {"state": "RUNNING"}):
        assert judged(jobs=(dataclasses.replace(stopped, **changes),)) == ()


def test_a_table_that_a_job_follows_lacks_no_commits_of_what_it_follows() -> None:
    edges = (edge("raw.a", "features.a_rows", 3), edge("features.a_rows", "samples.a", 1))
    kept = tuple(followed(edges, {"features.a_rows"}))
    assert [each.commits for each in kept] == [None, 1]
    assert [each.affected for each in causes(kept)] == [("samples.a",)]


def test_refused_records_of_declared_streams_and_of_others_are_one_finding() -> None:
    clicks = stream("clicks", refused=3, reasons={"wrong_type": 3}, dead_letters=9)
    (alone,) = judged(streams=(clicks,))
    assert (alone.kind, alone.text) == ("wrong", "3 records rejected: wrong_type (3)")
    assert alone.command == "headrace dead-letters list clicks"
    (both,) = judged(streams=(clicks,), letters={"gone": {"wrong_type": 1, "malformed": 2}})
    assert both.text == "6 records rejected: wrong_type (4), malformed (2)"
    assert both.subject == "raw.clicks and stream gone"
    assert both.command == "headrace dead-letters list"  # it takes declared streams only
    acknowledged = stream("clicks", dead_letters=9)
    assert judged(streams=(acknowledged,)) == ()


EVERYTHING = Standing(
    problems=("lake/streams/c.yaml:1  broken", "lake/streams/c.yaml:2  broken"),
    unreadable=(
        Unreadable(name="staging.a", code="corrupt", text="torn", remedy=Remedy.run("check")),
    ),
    streams=(
        stream(
            "a", waiting=2, trouble="vanished", stale=True, watermark=NOW,
            refused=3, reasons={"wrong_type": 3}, absent=("x",), misspelt={"y": "x"},
        ),
        stream("b", missing="no", service="stopped", stopped_at=NOW),
    ),
    jobs=(
        JobStanding(
            subject="c", table="raw.c", trouble="lost", remedy=Remedy.run("flink", "restore", "c")
        ),
        JobStanding(subject="d", table="raw.d", state="STOPPED", kept=120, kept_since=NOW),
    ),
    paimon=(
        PaimonSummary(table="k.u", snapshot_id=5, files=PaimonFiles(unmerged_per_bucket_max=9)),
    ),
    imports=(
        PaimonImport(table="k.u", target="raw.u", taken_as="changes", snapshot_id=4, lacks=1),
        PaimonImport(
            table="k.u", target="f.u", taken_as="features", snapshot_id=1, lacks=4, is_lost=True
        ),
    ),
    failed_checks=(FailedCheck(subject="samples.ctr", check="no_leaks", at=NOW),),
    edges=(edge("raw.a", "features.f", 1), edge("features.f", "samples.ctr", 1)),
    sample_sets={"samples.ctr": "ctr"},
    unfit=(unfit("raw.a"),),
)  # fmt: skip


def test_every_kind_of_finding_is_found_and_what_is_wrong_comes_first() -> None:
    found = findings(EVERYTHING)
    assert {each.code for each in found} == set(FindingCode)
    kinds = [each.kind for each in found]
    assert kinds == sorted(kinds, key=["wrong", "behind", "slow", "unused"].index)
    for kind in ("wrong", "behind", "slow", "unused"):
        sizes = [len(each.concerns) for each in found if each.kind == kind]
        assert sizes == sorted(sizes, reverse=True)
    assert all(each.remedies for each in found)


def test_every_command_that_findings_advise_exists() -> None:
    app = typer.main.get_command(make_app())
    remedies = [remedy for each in findings(EVERYTHING) for remedy in each.remedies]
    assert all(remedy.command or remedy.advice for remedy in remedies)
    advised = [remedy.line for remedy in remedies if remedy.command]
    assert len(advised) >= 10
    for line in advised:
        _, *words = shlex.split(line)
        command: click.Command = app
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_context("headrace", words)


def test_a_finding_without_a_remedy_advises_nothing() -> None:
    bare = Finding(kind="wrong", code=FindingCode.UNREADABLE, subject="a", text="b")
    assert (bare.command, bare.advice) == ("", "")


def test_lineage_is_in_the_order_of_the_flow_and_leads_both_ways() -> None:
    shuffled = sorted(FLOW, key=lambda each: each.source, reverse=True)
    targets = [each.target for each in in_order(shuffled)]
    assert targets.index("staging.clicks") < targets.index("features.ctr")
    assert targets.index("features.ctr") < targets.index("samples.ctr")
    assert reached("staging.views", FLOW) == {
        "raw.views", "staging.views", "features.ctr", "samples.ctr", ONLINE_STORE,
    }  # fmt: skip
    circle = (edge("a.a", "b.b"), edge("b.b", "a.a"))
    assert len(in_order(circle)) == 2


@pytest.mark.parametrize(
    ("names", "said"), [("a", "a"), ("ab", "a and b"), ("abcdefg", "a, b, c and 4 more")]
)
def test_long_lists_stay_short(names: str, said: str) -> None:
    assert listed(list(names)) == said
