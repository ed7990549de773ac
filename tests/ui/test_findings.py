"""Findings by root cause, and the river that they are painted on, as plain functions."""

import datetime as dt
import shlex

import click
import pytest
import typer.main
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.cli.main import make_app
from headrace.errors import FindingCode
from ui.causes import causes
from ui.facts import (
    EdgeFacts,
    FailedCheck,
    HealthPart,
    LakeFacts,
    ModelFacts,
    OnlineView,
    ServiceFacts,
    StreamFacts,
    TableFacts,
    UnreadableFacts,
    VersionFacts,
)
from ui.findings import Finding, findings
from ui.river import STAGES, river, stage_text, today_text
from ui.wording import compact, listed

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


def edge(source: str, target: str, *, behind: int | None, hours: int = 1) -> EdgeFacts:
    return EdgeFacts(
        source=source,
        source_snapshot_id=1,
        target=target,
        target_snapshot_id=1,
        behind=behind,
        since=NOW - hours * HOUR if behind else None,
    )


def view(name: str, *, behind: int | None) -> OnlineView:
    return OnlineView(
        view=name,
        rows=1,
        newest_event_time=NOW,
        snapshot_id=1,
        published_at=NOW,
        behind=behind,
        since=NOW - HOUR if behind else None,
    )


def stream(name: str, **changes: object) -> StreamFacts:
    values: dict[str, object] = {
        "name": name,
        "table": f"raw.{name}",
        "source": f"{name}/*.csv",
        "dead_letters": 0,
        "reasons": {},
    }
    return StreamFacts(**{**values, **changes})  # type: ignore[arg-type]


def flow(*edges: EdgeFacts, online: tuple[OnlineView, ...] = ()) -> LakeFacts:
    names = {name for each in edges for name in (each.source, each.target)}
    return LakeFacts(
        tables=tuple(table(name) for name in sorted(names)),
        edges=edges,
        online=online,
        sample_sets={"samples.ctr": "ctr"},
    )


CHAIN = flow(
    edge("raw.clicks", "staging.clicks", behind=2, hours=3),
    edge("staging.clicks", "features.item", behind=0),
    edge("features.item", "samples.ctr", behind=0),
    online=(view("features.item", behind=0),),
)


def test_one_table_that_moved_is_one_finding_with_all_that_is_behind() -> None:
    (found,) = findings(CHAIN, now=NOW)
    assert found.subject == "raw.clicks"
    assert found.concerns == ("features.item", "online store", "samples.ctr", "staging.clicks")
    assert found.since == NOW - 3 * HOUR
    assert found.remedy is not None
    assert found.remedy.lines == (
        "headrace features build",
        "headrace samples build ctr",
        "headrace online publish",
    )
    assert found.command.replace("\\\n", "") == " && ".join(found.remedy.lines)
    assert found.advice == ""


def test_a_feature_that_was_rebuilt_leaves_samples_and_the_online_store_to_do() -> None:
    lake = flow(
        edge("staging.clicks", "features.item", behind=0),
        edge("features.item", "samples.ctr", behind=1),
        online=(view("features.item", behind=1),),
    )
    (found,) = findings(lake, now=NOW)
    assert found.remedy is not None
    assert found.remedy.lines == ("headrace samples build ctr", "headrace online publish")


def test_causes_that_meet_further_down_are_one() -> None:
    lake = flow(
        edge("raw.a", "staging.a", behind=1),
        edge("raw.b", "staging.b", behind=1, hours=5),
        edge("raw.c", "staging.c", behind=1),
        edge("staging.a", "samples.ctr", behind=0),
        edge("staging.b", "samples.ctr", behind=0),
    )
    first, second = causes(lake)
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
    lake = flow(*(edge(a, b, behind=n) for a, b, n in drawn if a != b))
    found = causes(lake)
    behind = {each.target for each in lake.edges if each.behind}
    listed_ = [name for cause in found for name in (*cause.affected, *cause.roots)]
    assert behind <= set(listed_)
    affected = [name for cause in found for name in cause.affected]
    assert len(affected) == len(set(affected))


def test_a_hundred_small_tables_are_one_finding() -> None:
    lake = LakeFacts(tables=tuple(table(f"raw.t{n}", score=60) for n in range(100)))
    (found,) = findings(lake, now=NOW)
    assert len(found.concerns) == 100
    assert found.command == "headrace maintain --apply"


def test_a_failed_service_and_an_old_watermark_are_found_and_history_loads_are_not() -> None:
    old = NOW - dt.timedelta(days=9)
    lake = LakeFacts(
        tables=(table("raw.live", watermark=old), table("raw.history", watermark=old)),
        streams=(stream("live"), stream("history")),
        services=(
            ServiceFacts(
                stream="live", phase="failed", lag=0, behind_s=0, error="gone",
                updated_at=NOW, failed=True, watermark_lag_s_max=3_660,
            ),
        ),
    )  # fmt: skip
    failed, stale = findings(lake, now=NOW)
    assert (failed.severity, failed.command) == ("error", "headrace ingest run live --follow")
    assert stale.subject == "raw.live"
    assert stale.since == old


EVERYTHING = LakeFacts(
    tables=(table("raw.a", score=10), table("features.f"), table("samples.ctr")),
    unreadable=(UnreadableFacts(name="staging.a", code="corrupt", text="torn"),),
    failed_checks=(FailedCheck(subject="samples.ctr", check="no_leaks", at=NOW),),
    letters={"a": {"wrong_type": 3}},
    streams=(stream("a", waiting=2, absent=("x",), misspelt={"y": "x"}), stream("b", missing="no")),
    edges=(edge("raw.a", "features.f", behind=1), edge("features.f", "samples.ctr", behind=1)),
    online=(view("features.f", behind=1),),
    problems=("lake/streams/c.yaml:1  broken", "lake/streams/c.yaml:2  broken"),
    services=(
        ServiceFacts(
            stream="a",
            phase="vanished",
            lag=4,
            behind_s=9,
            error="",
            updated_at=None,
            failed=True,
            watermark_lag_s_max=3_600,
        ),
    ),
    sample_sets={"samples.ctr": "ctr"},
    models=(ModelFacts(dataset="ctr", version=None, folder="ctr-0", trained_at=NOW),),
)


def test_every_command_that_findings_advise_exists() -> None:
    app = typer.main.get_command(make_app())
    lines = [
        line for each in findings(EVERYTHING, now=NOW) if each.remedy for line in each.remedy.lines
    ]
    assert len(lines) >= 8
    for line in lines:
        _, *words = shlex.split(line)
        command: click.Command = app
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_context("headrace", words)


def test_errors_come_first_and_then_what_concerns_most() -> None:
    found = findings(EVERYTHING, now=NOW)
    assert [each.severity for each in found] == sorted(each.severity for each in found)
    for severity in ("error", "warning"):
        sizes = [len(each.concerns) for each in found if each.severity == severity]
        assert sizes == sorted(sizes, reverse=True)


def test_the_river_has_every_stage_and_paints_faults_on_it() -> None:
    stages = {each.name: each for each in river(EVERYTHING, findings(EVERYTHING, now=NOW), now=NOW)}
    assert tuple(stages) == STAGES
    assert stages["sources"].state == "failed"
    assert stages["raw"].state == "failed"
    assert stages["staging"].stops[0].lag == "cannot be read"
    assert stages["features"].state == "behind"
    assert stages["features"].stops[0].lag == "1 commit behind"
    assert "no_leaks" in stages["samples"].stops[0].fault
    assert stages["online"].state == "behind"
    assert stages["versions"].state is None
    assert stage_text(stages["versions"]) == "none"


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


def test_a_finding_without_a_remedy_advises_nothing() -> None:
    bare = Finding(severity="error", code=FindingCode.UNREADABLE, subject="a", text="b")
    assert (bare.command, bare.advice) == ("", "")


def test_long_lists_and_large_numbers_stay_short() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(list("abcdefg")) == "a, b, c and 4 more"
    assert [compact(n) for n in (9_999, 41_953, 233_000, 999_960, -12_000)] == [
        "9,999", "42 K", "233 K", "1 M", "-12 K",
    ]  # fmt: skip


@given(st.integers(0, 10**15))
def test_a_number_in_short_is_close_to_it(number: int) -> None:
    value, _, unit = compact(number).partition(" ")
    said = float(value.replace(",", "")) * 1000 ** " KMGT".index(unit or " ")
    assert said == pytest.approx(number, rel=0.051)
