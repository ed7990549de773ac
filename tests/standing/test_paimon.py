"""Tables of a Paimon warehouse as status, pages and Dagster see them: written by pypaimon, read in full."""

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.flink.paimon_ties import ties_of
from headrace.identifiers import TableName
from headrace.interop.paimon.summary import UNMERGED_MAX
from headrace.interop.paimon.take import take_changes
from headrace.standing.facts import PaimonImport, Standing, taken_by
from headrace.standing.finding import Finding
from headrace.standing.findings import findings
from headrace.standing.paimon import PaimonRead, read_paimon
from tests.interop.warehouses import Written, users

TARGET = TableName.parse("raw.users")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return users(tmp_path / "paimon")


def read(lake: Lake, written: Written) -> PaimonRead:
    settings = dataclasses.replace(lake.settings, paimon_warehouse=str(written.folder))
    with Lake.open(settings) as opened:
        return read_paimon(settings, ties_of(opened).tokens)


def judged(found: PaimonRead) -> tuple[Finding, ...]:
    return findings(
        Standing(unreadable=found.unreadable, paimon=found.tables, imports=found.imports)
    )


def test_a_table_that_was_taken_lacks_nothing_and_then_what_came_since(
    lake: Lake, written: Written
) -> None:
    written.put(1, 2, name="a")
    take_changes(lake, written.table(), TARGET)
    assert judged(read(lake, written)) == ()
    written.put(1, name="b")
    written.put(1, name="c")
    found = read(lake, written)
    (taken,) = found.imports
    assert (taken.target, taken.snapshot_id, taken.lacks) == ("raw.users", 1, 2)
    (behind,) = judged(found)
    assert (behind.kind, behind.subject) == ("behind", "raw.users")
    assert behind.command == "headrace paimon import k.users --to raw.users"


def test_snapshots_that_expired_before_they_were_taken_are_a_finding_of_the_target(
    lake: Lake, written: Written
) -> None:
    for name in "abc":
        written.put(1, name=name)
        if name == "a":
            take_changes(lake, written.table(), TARGET)
    written.expire(1, 2)
    (lost,) = judged(read(lake, written))
    assert (lost.kind, lost.breaks, lost.table) == ("wrong", True, "raw.users")
    assert "after 1 expired" in lost.text


def test_a_table_that_nobody_compacts_and_one_that_cannot_be_read_are_found(
    lake: Lake, written: Written
) -> None:
    for number in range(UNMERGED_MAX + 1):
        written.put(number, name="a")
    broken = Written(written.folder, "k.broken", written.schema, ("id",), {"bucket": "1"})
    (broken.path / "schema" / "schema-0").write_text("{")
    unreadable, unmerged = judged(read(lake, written))
    assert (unreadable.kind, unreadable.subject) == ("wrong", "paimon:k.broken")
    assert (unmerged.kind, unmerged.subject) == ("slow", "paimon:k.users")
    assert unmerged.text.startswith("up to 9 files of one bucket")
    assert "sys.compact" in unmerged.advice


def test_a_warehouse_that_is_gone_is_one_finding(lake: Lake, written: Written) -> None:
    written.folder.rename(written.folder.with_name("elsewhere"))
    (only,) = judged(read(lake, written))
    assert (only.subject, only.code) == ("Paimon", "unreadable")


def test_a_lake_without_a_warehouse_has_no_paimon_tables(lake: Lake) -> None:
    assert read_paimon(lake.settings, ties_of(lake).tokens) == PaimonRead()


def test_tables_of_paimon_are_listed_after_those_of_the_lake(
    lake: Lake, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.put(1, 2, name="a")
    written.table().create_tag("monday", snapshot_id=1)
    take_changes(lake, written.table(), TARGET)
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    monkeypatch.setenv("HEADRACE_PAIMON_WAREHOUSE", str(written.folder))
    done = CliRunner().invoke(make_app(), ["tables", "list", "--output", "json"])
    assert done.exit_code == 0, done.output
    own, other = json.loads(done.stdout)
    assert own["table"] == "raw.users"
    expected = {
        "table": "paimon:k.users",
        "format": "paimon",
        "rows": 2,
        "tags": ["monday"],
        "health": "reads upserts",
    }
    assert {name: other[name] for name in expected} == expected
    told = json.loads(CliRunner().invoke(make_app(), ["status", "--output", "json"]).stdout)
    assert [each["table"] for each in told["paimon"]] == ["k.users"]
    assert [(each["target"], each["lacks"]) for each in told["imports"]] == [("raw.users", 0)]
    monkeypatch.setenv("HEADRACE_PAIMON_WAREHOUSE", str(written.folder / "nowhere"))
    done = CliRunner().invoke(make_app(), ["tables", "list", "--output", "json"])
    assert done.exit_code == 1
    assert [each["table"] for each in json.loads(done.stdout)] == ["raw.users"]
    assert json.loads(done.stderr)["code"] == "paimon-warehouse"


def test_every_table_that_takes_a_paimon_table_is_named_with_the_most_that_one_lacks() -> None:
    imports = [
        PaimonImport(table="k.users", target=target, taken_as="rows", snapshot_id=1, lacks=lacks)
        for target, lacks in (("raw.users", 3), ("raw.users_2", 0))
    ]
    assert taken_by(imports, "k.users") == ("raw.users, raw.users_2", 3)
    assert taken_by(imports, "k.others") == ("", None)
