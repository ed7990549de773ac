"""`headrace paimon`: what the commands show, and that they do what the library does."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from tests.interop.commands import run
from tests.interop.warehouses import Written, replayed, rows_of, users


@pytest.fixture
def written(tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Written:
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    monkeypatch.setenv("HEADRACE_PAIMON_WAREHOUSE", str(tmp_path / "paimon"))
    return users(tmp_path / "paimon")


def test_tables_are_listed_with_snapshots_tags_files_and_health(
    tmp_path: Path, written: Written
) -> None:
    written.put(1, 2, name="a")
    written.put(1, name="b")
    Written(tmp_path / "paimon", "k.other", written.schema, ("id",), {"ignore-delete": "true"})
    run("tag", "k.users", "monday", "--at", "1")
    other, listed = run("tables")
    assert (other["table"], other["health"]) == ("k.other", "cannot be read: option")
    expected = {
        "table": "k.users",
        "key": "id",
        "records": 3,
        "files": 2,
        "unmerged_files": 2,
        "snapshots": 2,
        "tags": ["monday"],
        "health": "reads upserts",
    }
    assert {name: listed[name] for name in expected} == expected
    shown = run("show", "k.users", "--snapshots", "1")
    assert [each["snapshot"] for each in shown["commits"]] == [2]
    assert [each["column"] for each in shown["columns"]] == written.schema.names


def test_a_damaged_table_does_not_hide_the_others_and_the_exit_status_says_so(
    lake: Lake, written: Written
) -> None:
    _ = lake
    written.put(1, name="a")
    broken = Written(written.folder, "k.broken", written.schema, ("id",), {"bucket": "1"})
    (broken.path / "schema" / "schema-0").write_text("{")
    for words, prefix in ((["paimon", "tables"], ""), (["tables", "list"], "paimon:")):
        done = CliRunner().invoke(make_app(), [*words, "--output", "json"])
        assert done.exit_code == 1
        damaged, sound = json.loads(done.stdout)
        assert (damaged["table"], damaged["error"]) == (f"{prefix}k.broken", "paimon-read")
        assert (sound["table"], sound["health"]) == (f"{prefix}k.users", "reads upserts")
        assert json.loads(done.stderr)["facts"]["table"] == "k.broken"
        shown = CliRunner().invoke(make_app(), words).stdout.splitlines()
        assert shown[1].split()[0] == f"{prefix}k.broken"
        assert shown[1].split()[-1] == "paimon-read"


def test_an_import_goes_on_and_an_export_comes_back(lake: Lake, written: Written) -> None:
    written.put(1, 2, name="a")
    assert run("import", "k.users", "--to", "raw.users")["rows"] == 2
    written.remove(1)
    said = run("import", "k.users", "--to", "raw.users")
    assert (said["rows"], said["commits"], said["snapshot"]) == (1, 1, 2)
    assert replayed(lake, "raw.users") == {2: "a"}
    run("import", "k.users", "--to", "features.users", "--as", "features", "--ttl-s", "60")
    assert len(rows_of(lake, "features.users", "id")) == 3
    run("import", "k.users", "--to", "raw.now", "--as", "state")
    first = run("export", "raw.now", "--to", "out.users", "--key", "id")
    assert (first["rows"], first["written"]) == (1, True)
    assert not run("export", "raw.now", "--to", "out.users")["written"]


@pytest.mark.parametrize(
    "words",
    [
        ("import", "k.users", "--to", "raw.users", "--as", "rows"),
        ("import", "k.users", "--to", "raw.users", "--tag", "monday"),
        ("import", "k.users", "--to", "raw.users", "--ttl-s", "3"),
        ("import", "k.users", "--to", "raw.users", "--begin", "soon"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(written: Written, words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(make_app(), ["paimon", *words]).exit_code == 2


def test_errors_have_a_code_and_leave_nothing(lake: Lake, written: Written) -> None:
    assert run("show", "k.user", ends=1)["code"] == "paimon-table-not-found"
    assert run("tag", "k.users", "x", ends=1)["code"] == "paimon-snapshot-not-found"
    missing = ("tables", "--warehouse", str(written.folder / "nowhere"))
    assert run(*missing, ends=1)["code"] == "paimon-warehouse"
    assert lake.names() == []


def test_without_the_client_it_is_said_what_to_install(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("headrace.interop.paimon.client.metadata.version", absent)
    said = run("tables", ends=1)
    assert said["code"] == "paimon-missing"
    assert said["facts"]["package"] == "pypaimon"


def test_a_tag_is_dropped_only_when_that_is_asked_for(written: Written) -> None:
    written.put(1, name="a")
    assert run("tag", "k.users", "monday")["snapshot"] == 1
    assert not run("tag", "k.users", "monday", "--drop")["dropped"]
    assert list(written.table().tags()) == ["monday"]
    assert run("tag", "k.users", "monday", "--drop", "--apply")["dropped"]
    assert written.table().tags() == {}
