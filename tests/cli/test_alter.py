"""`headrace tables alter`, on a real lake."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.config import Settings
from headrace.errors import AlterRefusedError
from headrace.tables.lake import LakeTable
from tests.conftest import ROOT
from tests.tables.factories import add, events_table

Alter = Callable[..., Result]


@pytest.fixture
def table(lake: Lake) -> LakeTable:
    table = events_table(lake)
    add(table, [1])
    return table


@pytest.fixture
def alter(settings: Settings, table: LakeTable) -> Alter:
    """Run `headrace tables alter raw.events` against the test's own lake."""
    env = {
        "HEADRACE_LAKE": str(ROOT / "lake" / "lake.toml"),
        "HEADRACE_STATE_DIR": str(settings.state_dir),
    }
    command = ["tables", "alter", str(table.name)]
    return lambda *words: CliRunner().invoke(make_app(), [*command, *words], env=env)


ALL_AT_ONCE = (
    *("--drop", "tags", "--rename", "name=title", "--add", "tags:list<string>"),
    *("--add", "place:struct<city: string, labels: map<string, long>>"),
    *("--optional", "id", "--move", "place first", "--move", "title after tags"),
    *("--partition-by", "month(event_time)", "--partition-by", "bucket(16, id)"),
)


def test_without_apply_the_plan_is_shown_and_nothing_changes(
    alter: Alter, table: LakeTable
) -> None:
    before = table.iceberg().metadata_location
    result = alter(*ALL_AT_ONCE)
    assert result.exit_code == 0
    assert "drop `tags`" in result.stdout
    assert "partition by month(event_time), bucket(16, id)" in result.stdout
    assert "add --apply to do it" in result.stdout
    assert table.iceberg().metadata_location == before


def test_with_apply_everything_is_done_in_the_order_of_the_help(
    alter: Alter, table: LakeTable
) -> None:
    result = alter(*ALL_AT_ONCE, "--apply")
    assert result.exit_code == 0
    assert result.stdout.endswith("done\n")
    head = table.head()
    assert head.schema.names == ["place", "id", "event_time", "tags", "title"]
    assert head.schema.field("id").nullable
    assert head.partition_by == ("month(event_time)", "bucket(16, id)")
    (row,) = head.to_arrow().to_pylist()
    assert (row["tags"], row["title"], row["place"]) == (None, "event 1", None)


def test_programs_get_the_plan_as_json(alter: Alter) -> None:
    asked = ("--widen", "id:long", "--output", "json", "--apply")
    shown = json.loads(alter(*asked).stdout)
    assert (shown["table"], shown["changes"], shown["applied"]) == ("raw.events", False, False)
    shown = json.loads(alter("--add", "note:string", "--output", "json", "--apply").stdout)
    assert shown["steps"] == ["add `note` string: older rows read null"]
    assert (shown["changes"], shown["applied"]) == (True, True)


def test_partitioning_can_be_given_up(alter: Alter, table: LakeTable) -> None:
    assert alter("--no-partitions", "--apply").exit_code == 0
    assert table.head().partition_by == ()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "nothing is asked for"),
        (("--add", "note"), "`note` is not of the form COLUMN:TYPE"),
        (("--rename", "name="), "`name=` is not of the form COLUMN=NAME"),
        (("--add", "note:text"), "`text` is not a type; allowed are `string`"),
        (("--add", "note:timestamp_ns"), "a type of format version 3"),
        (("--add", "note:list<>"), "`` is not a type"),
        (("--add", "note:struct<a:int,a:int>"), "has a field twice"),
        (("--add", "note:map<string>"), "is not a type"),
        (("--move", "name up"), "is none of `COLUMN first`"),
        (("--partition-by", "id", "--no-partitions"), "not both"),
    ],
)
def test_bad_words_are_explained(alter: Alter, words: tuple[str, ...], complaint: str) -> None:
    result = alter(*words)
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())


def test_a_refusal_is_named_and_changes_nothing(alter: Alter, table: LakeTable) -> None:
    before = table.iceberg().metadata_location
    result = alter("--add", "fine:long", "--drop", "event_time", "--apply")
    assert result.exit_code == 1
    assert isinstance(result.exception, AlterRefusedError | SystemExit)
    assert "partitions it" in result.stderr + str(result.exception)
    assert table.iceberg().metadata_location == before
