"""`headrace tables … --catalog`: the tables of any catalog that PyIceberg's configuration names."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.utils.config import Config
from typer.testing import CliRunner

from headrace.cli.main import make_app
from tests.conftest import ROOT
from tests.tables.catalogs.test_foreign import rows
from tests.tables.factories import EVENTS
from tests.waiting import WAIT_S

pytestmark = pytest.mark.slow

Headrace = Callable[..., Result]
_RUN = "from headrace.cli.main import run; run()"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqlCatalog]:
    """A stock catalog that PyIceberg's configuration calls `theirs`, with a table of six files."""
    address = {"uri": f"sqlite:///{tmp_path}/theirs.db", "warehouse": f"file://{tmp_path}/wh"}
    lines = ["catalog:", "  theirs:", "    type: sql"]
    lines += [f"    {key}: {value}" for key, value in address.items()]
    (tmp_path / ".pyiceberg.yaml").write_text("\n".join(lines))
    catalog = SqlCatalog("theirs", **address)
    catalog.create_namespace("mydb")
    table = catalog.create_table("mydb.events", EVENTS)
    for number in range(6):
        table.append(rows([number]))
    yield catalog
    catalog.close()


@pytest.fixture
def headrace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Headrace:
    """Run a command in a folder that is no lake."""
    for name in [each for each in os.environ if each.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        # which PyIceberg reads once, when it is imported
        monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())
        return CliRunner().invoke(make_app(), list(words))

    return run


def test_a_program_of_its_own_finds_the_declared_catalog(
    catalog: SqlCatalog, tmp_path: Path
) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "tables", "list", "--catalog", catalog.name],
        cwd=tmp_path,
        env=env | {"PYICEBERG_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (done.returncode, "mydb.events" in done.stdout) == (0, True), done.stderr


def test_reading_a_declared_catalog_creates_nothing(
    catalog: SqlCatalog, headrace: Headrace, tmp_path: Path
) -> None:
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    for words in (
        ["tables", "list"],
        ["tables", "show", "mydb.events"],
        ["tables", "health"],
        ["tables", "refs", "mydb.events"],
        ["tables", "trash", "mydb.events"],
        ["maintain", "--plan"],
    ):
        result = headrace(*words, "--catalog", catalog.name)
        assert result.exit_code == 0, result.output
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def test_tables_of_a_declared_catalog_are_listed_and_shown(
    catalog: SqlCatalog, headrace: Headrace
) -> None:
    (listed,) = json.loads(
        headrace("tables", "list", "--catalog", "theirs", "--output", "json").stdout
    )
    assert (listed["table"], listed["rows"], listed["files"]) == ("mydb.events", 6, 6)
    shown = json.loads(
        headrace("tables", "show", "mydb.events", "--catalog", "theirs", "--output", "json").stdout
    )
    snapshots = catalog.load_table("mydb.events").metadata.snapshots
    assert [each["snapshot"] for each in shown["snapshots"]] == [
        str(each.snapshot_id) for each in reversed(snapshots)
    ]
    assert "6 of 6 files are small" in headrace("tables", "health", "--catalog", "theirs").stdout


def test_a_catalog_that_is_not_declared_or_damaged_is_named(
    catalog: SqlCatalog, headrace: Headrace, tmp_path: Path
) -> None:
    unknown = headrace("tables", "list", "--catalog", "nowhere")
    assert unknown.exit_code == 1
    assert "settings" in unknown.stderr
    assert "PYICEBERG_CATALOG__NOWHERE__URI" in unknown.stderr
    catalog.close()
    (tmp_path / "theirs.db").write_bytes(b"no database any more" * 500)
    damaged = headrace("tables", "list", "--catalog", "theirs")
    assert damaged.exit_code == 75
    assert "`theirs` cannot be used now: " in damaged.stderr
    assert "Traceback" not in damaged.stderr


def test_a_table_of_a_declared_catalog_is_compacted_after_its_plan_was_shown(
    catalog: SqlCatalog, headrace: Headrace
) -> None:
    planned = headrace("tables", "compact", "mydb.events", "--catalog", "theirs")
    assert "6 files → 1" in planned.stdout
    assert "6 small" in planned.stdout
    assert len(catalog.load_table("mydb.events").inspect.files()) == 6
    wanted = ("mydb.events", "--catalog", "theirs", "--sort-by", "name", "--apply")
    done = json.loads(headrace("tables", "compact", *wanted, "--output", "json").stdout)
    assert (done["applied"], done["sort_by"], done["commits"]) == (True, ["name"], 1)
    table = catalog.load_table("mydb.events")
    assert len(table.inspect.files()) == 1
    assert sorted(table.scan().to_arrow()["id"].to_pylist()) == list(range(6))
    again = headrace("tables", "compact", *wanted)
    assert "nothing to compact" in again.stdout
    assert len(table.refresh().metadata.snapshots) == 7


def test_tables_of_a_declared_catalog_are_maintained_and_the_second_run_finds_nothing(
    catalog: SqlCatalog, headrace: Headrace
) -> None:
    words = ("maintain", "mydb.events", "--catalog", "theirs", "--cold-after-s", "0")
    planned = headrace(*words)
    assert "major compaction" in planned.stdout, planned.stderr
    assert headrace(*words, "--apply").exit_code == 0
    table = catalog.load_table("mydb.events")
    assert len(list(table.scan().plan_files())) == 1
    assert sorted(table.scan().to_arrow().column("id").to_pylist()) == list(range(6))
    assert "nothing to do" in headrace(*words, "--apply").stdout


def test_what_nobody_needs_of_a_declared_catalogs_table_goes_to_the_trash_and_back(
    catalog: SqlCatalog, headrace: Headrace, tmp_path: Path
) -> None:
    where = ("mydb.events", "--catalog", "theirs")
    (data,) = (tmp_path / "wh").rglob("data")
    old, young = data / "old.parquet", data / "young.parquet"
    for path, hours in ((old, 100), (young, 71)):  # another engine may still be writing the second
        path.write_text("x")
        at_s = time.time() - hours * 3600
        os.utime(path, (at_s, at_s))
    assert "1 orphan file" in headrace("tables", "cleanup", *where).stdout
    assert headrace("tables", "cleanup", *where, "--older-than", "71h").exit_code != 0
    assert old.exists()
    done = headrace("tables", "cleanup", *where, "--apply")
    assert (old.exists(), young.exists()) == (False, True)
    (run,) = json.loads(headrace("tables", "trash", *where, "--output", "json").stdout)
    undo = f"headrace tables restore mydb.events {run['run']} --catalog theirs"
    assert undo in " ".join(done.stdout.split())
    assert "nothing in the trash" in headrace("tables", "empty-trash", *where, "--apply").stdout
    assert headrace(*undo.split()[1:], "--apply").exit_code == 0
    assert old.exists()
    assert len(catalog.load_table("mydb.events").scan().to_arrow()) == 6


def test_a_table_of_a_declared_catalog_is_altered_and_gets_refs(
    catalog: SqlCatalog, headrace: Headrace
) -> None:
    where = ("mydb.events", "--catalog", "theirs")
    altered = headrace("tables", "alter", *where, "--rename", "name=title", "--apply")
    assert altered.exit_code == 0, altered.output
    assert headrace("tables", "tag", *where[:1], "v1", *where[1:]).exit_code == 0
    gone = headrace("tables", "delete", *where, "--where", "id < 3", "--apply")
    assert gone.exit_code == 0, gone.output
    table = catalog.load_table("mydb.events")
    assert sorted(table.scan().to_arrow()["id"].to_pylist()) == [3, 4, 5]
    assert "title" in table.schema().column_names
    tagged = table.scan(snapshot_id=table.metadata.refs["v1"].snapshot_id)
    assert len(tagged.to_arrow()) == 6


def test_commands_that_messages_tell_to_run_next_go_to_the_same_catalog(
    catalog: SqlCatalog, headrace: Headrace
) -> None:
    assert "`headrace maintain --apply --catalog theirs`" in (
        headrace("maintain", "mydb.events", "--plan", "--catalog", "theirs").stdout
    )
    where = ("tables", "rollback", "mydb.events", "nothing", "--catalog", "theirs")
    unknown = headrace(*where)
    assert "`headrace tables show mydb.events --catalog theirs`" in unknown.stderr
    told = json.loads(headrace(*where, "--output", "json").stderr)
    assert told["code"] == "snapshot-not-found"
    assert (told["facts"]["table"], told["facts"]["wanted"]) == (
        "mydb.events",
        "tag or branch `nothing`",
    )
    assert told["remedy"]["command"] == [
        *("headrace", "tables", "show", "mydb.events"),
        *("--catalog", "theirs"),
    ]
