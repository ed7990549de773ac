"""`headrace tables refs|branch|tag|leases|rollback|publish`, on a real lake."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.datasets.publish import publish
from headrace.identifiers import TableName
from headrace.tables.commits import operations
from headrace.tables.commits.operations import Provenance
from headrace.tables.lake import LakeTable
from headrace.tables.refs import leases, refs
from tests.conftest import ROOT
from tests.datasets.conftest import (
    CLICKS,
    INPUT,
    SAMPLE_SET,
    SAMPLES,
    SCHEMA,
    SHOWN,
    River,
    sample,
)
from tests.tables.factories import add, events_table, ids_of
from tests.tables.histories import branch_ids, take, write
from tests.tables.publishing.test_write_audit_publish import rows_with

pytestmark = pytest.mark.slow

Headrace = Callable[..., Result]


@pytest.fixture
def headrace(settings: Settings) -> Headrace:
    """Run a command against the test's own lake."""
    env = {
        "HEADRACE_LAKE": str(ROOT / "lake" / "lake.toml"),
        "HEADRACE_STATE_DIR": str(settings.state_dir),
        "COLUMNS": "200",
    }
    return lambda *words: CliRunner().invoke(make_app(), ["tables", *words], env=env)


@pytest.fixture
def table(lake: Lake) -> LakeTable:
    """Two commits on main, a tag on the first, and a branch with one more."""
    table = events_table(lake)
    first = add(table, [1])
    refs.tag(table, "good", snapshot_id=first.snapshot_id)
    add(table, [2])
    refs.create_branch(table, "trial")
    write(table, [3, 4], branch="trial")
    return table


def test_refs_lists_branches_tags_and_leases_with_what_they_lead_to(
    table: LakeTable, headrace: Headrace
) -> None:
    add(table, [5])
    leases.lease(table, holder="a trainer", ttl_s=60)
    listed = json.loads(headrace("refs", "raw.events", "--output", "json").stdout)
    assert [(r["name"].partition("-")[0], r["kind"], r["rows"]) for r in listed] == [
        ("main", "branch", 3),
        ("trial", "branch", 4),
        ("good", "tag", 1),
        ("lease", "lease", 3),
    ]
    assert listed[1]["note"] == "1 ahead of main, 1 behind"
    assert listed[3]["note"] == "held by a trainer"
    assert listed[3]["ends"].endswith("+00:00")
    text = headrace("refs", "raw.events").stdout
    assert "1 ahead of main, 1 behind" in text


def test_a_table_without_commits_has_no_refs(lake: Lake, headrace: Headrace) -> None:
    events_table(lake)
    assert "no commits yet" in headrace("refs", "raw.events").stdout
    assert json.loads(headrace("refs", "raw.events", "--output", "json").stdout) == []
    result = headrace("branch", "raw.events", "trial")
    assert result.exit_code == 1
    assert "snapshot-not-found" in result.stderr


def test_branch_begins_at_main_or_where_it_is_told(table: LakeTable, headrace: Headrace) -> None:
    assert headrace("branch", "raw.events", "one").exit_code == 0
    made = headrace("branch", "raw.events", "two", "--at", "good", "--output", "json")
    assert json.loads(made.stdout)["snapshot"] == str(refs.tags(table)["good"])
    assert branch_ids(table, "one") == [1, 2]
    assert branch_ids(table, "two") == [1]
    again = headrace("branch", "raw.events", "one", "--at", "good")
    assert again.exit_code == 1
    assert "ref-exists" in again.stderr


def test_dropping_a_branch_shows_what_is_lost_and_wants_apply(
    table: LakeTable, headrace: Headrace
) -> None:
    shown = headrace("branch", "raw.events", "trial", "--drop")
    assert "only it leads to 1 commits with 2 rows" in shown.stdout
    assert "--apply" in shown.stdout
    assert "trial" in refs.branches(table)
    planned = headrace("branch", "raw.events", "trial", "--drop", "--output", "json")
    assert json.loads(planned.stdout)["lost"][0]["rows_added"] == 2
    assert headrace("branch", "raw.events", "trial", "--drop", "--apply").exit_code == 0
    assert refs.branches(table).keys() == {"main"}
    gone = headrace("branch", "raw.events", "trial", "--drop", "--apply")
    assert gone.exit_code == 1
    assert "snapshot-not-found" in gone.stderr


def test_main_cannot_be_dropped_and_kinds_are_not_mixed_up(
    table: LakeTable, headrace: Headrace
) -> None:
    for words in (("branch", "main"), ("branch", "good"), ("tag", "trial")):
        result = headrace(words[0], "raw.events", words[1], "--drop", "--apply")
        assert result.exit_code == 1
    assert {ref.name for ref in refs.refs(table)} == {"main", "trial", "good"}


def test_tag_names_a_snapshot_for_good_or_for_some_days(
    table: LakeTable, headrace: Headrace
) -> None:
    assert headrace("tag", "raw.events", "v1").exit_code == 0
    assert headrace("tag", "raw.events", "short", "--max-age-days", "1.5").exit_code == 0
    assert headrace("tag", "raw.events", "of-trial", "--at", "trial").exit_code == 0
    found = {ref.name: ref for ref in refs.refs(table)}
    assert found["v1"].snapshot_id == found["main"].snapshot_id
    assert found["of-trial"].snapshot_id == found["trial"].snapshot_id
    short = found["short"]
    assert short.ends_at_ms == (short.committed_at_ms or 0) + 129_600_000
    assert headrace("tag", "raw.events", "x", "--max-age-days", "0").exit_code == 2
    assert headrace("tag", "raw.events", "v1", "--drop", "--apply").exit_code == 0
    assert "v1" not in refs.tags(table)


def test_a_tag_that_a_published_dataset_rests_on_is_not_dropped(
    lake: Lake, headrace: Headrace
) -> None:
    for name, schema in ((str(INPUT), SHOWN), ("staging.clicks", CLICKS), (str(SAMPLES), SCHEMA)):
        lake.create(TableName.parse(name), schema, partition_by=["day(event_time)"])
    River(lake).build(0, [sample(0, 0)], watermark=3_000)
    lock = publish(lake, SAMPLE_SET).lock
    result = headrace("tag", lock.table, lock.tag, "--drop", "--apply")
    assert result.exit_code == 1
    assert "`ctr` v1 is published and rests on it" in result.stderr
    assert lock.tag in refs.tags(lake.table(lock.table))


def test_rollback_shows_commits_rows_and_offsets_and_wants_apply(
    lake: Lake, headrace: Headrace
) -> None:
    table = events_table(lake)
    refs.tag(table, "good", snapshot_id=take(table, 2).snapshot_id)
    take(table, 7)
    shown = headrace("rollback", "raw.events", "good")
    assert "7 rows → 2" in shown.stdout
    assert "reads part-0 again from 2" in shown.stdout
    assert "--apply" in shown.stdout
    assert ids_of(table) == list(range(7))
    planned = json.loads(headrace("rollback", "raw.events", "good", "--output", "json").stdout)
    assert (planned["rows_before"], planned["rows_after"], planned["applied"]) == (7, 2, False)
    assert planned["offsets"] == [{"stream": "log", "source": "part-0", "before": 7, "after": 2}]
    done = json.loads(
        headrace("rollback", "raw.events", "good", "--apply", "--output", "json").stdout
    )
    assert done["applied"]
    assert ids_of(table) == [0, 1]
    assert operations.offsets(table.head(), "log") == {"part-0": 2}
    assert "already" in headrace("rollback", "raw.events", "good", "--apply").stdout


def test_rollback_to_what_main_never_was_is_refused(table: LakeTable, headrace: Headrace) -> None:
    result = headrace("rollback", "raw.events", "trial", "--apply")
    assert result.exit_code == 1
    assert "not-an-ancestor" in result.stderr
    assert ids_of(table) == [1, 2]


def test_publish_shows_commits_and_checks_and_wants_apply(
    table: LakeTable, headrace: Headrace
) -> None:
    words = ("publish", "raw.events", "trial", "--not-null", "name", "--unique", "id")
    shown = headrace(*words)
    assert "adds 2 rows and removes 0, by fast-forward" in shown.stdout
    for check in ("readable", "not null", "unique"):
        assert f"check {check}: passed" in shown.stdout
    assert ids_of(table) == [1, 2]
    done = json.loads(headrace(*words, "--apply", "--output", "json").stdout)
    assert (done["way"], done["applied"], done["rows_added"]) == ("fast-forward", True, 2)
    assert done["snapshot_after"] == str(table.head().snapshot_id)
    assert ids_of(table) == [1, 2, 3, 4]
    assert "has all of `trial` already" in headrace(*words, "--apply").stdout


def test_publish_refuses_what_fails_a_check(table: LakeTable, headrace: Headrace) -> None:
    rows_with(table, [1, 9], ["x", None])
    words = ("publish", "raw.events", "trial", "--not-null", "name", "--unique", "id")
    shown = headrace(*words, "--rows-min", "100")
    assert "check not null: `name` is null in 1 rows" in shown.stdout
    assert "check unique: 1 values of `id`" in shown.stdout
    assert "check rows: 4 rows were written" in shown.stdout
    assert "--apply" not in shown.stdout
    refused = headrace(*words, "--apply")
    assert refused.exit_code == 1
    assert "audit-failed" in refused.stderr
    assert ids_of(table) == [1, 2]
    assert headrace("publish", "raw.events", "trial", "--unique", "nothing").exit_code == 2


def test_publish_picks_or_refuses_when_main_has_moved_on(
    table: LakeTable, headrace: Headrace
) -> None:
    add(table, [5])
    assert "by cherry-pick" in headrace("publish", "raw.events", "trial", "--apply").stdout
    assert ids_of(table) == [1, 2, 3, 4, 5]
    operations.overwrite(table, [], provenance=Provenance(), branch="trial")
    assert "refused: `main` has commits" in headrace("publish", "raw.events", "trial").stdout
    refused = headrace("publish", "raw.events", "trial", "--apply")
    assert refused.exit_code == 1
    assert "branch-diverged" in refused.stderr
    assert ids_of(table) == [1, 2, 3, 4, 5]


def test_leases_are_listed_and_ended_by_id(table: LakeTable, headrace: Headrace) -> None:
    assert "raw.events has no leases" in headrace("leases", "raw.events").stdout
    held = leases.lease(table, holder="a trainer", ttl_s=60)
    assert "a trainer" in headrace("leases", "raw.events").stdout
    assert "--apply" in headrace("leases", "raw.events", "--end", held.id).stdout
    assert leases.leases(table) == (held,)
    done = headrace("leases", "raw.events", "--end", held.id, "--apply", "--output", "json")
    assert json.loads(done.stdout)[0]["ended"] is True
    assert leases.leases(table) == ()
    assert headrace("leases", "raw.events", "--end", held.id).exit_code == 2
