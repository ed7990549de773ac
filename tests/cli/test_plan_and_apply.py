"""One rule: what removes or rewrites shows its plan, and acts with `--apply` alone."""

import hashlib
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli.main import make_app
from headrace.tables.refs.refs import create_branch, tag
from tests.cli.test_help import commands
from tests.conftest import ROOT
from tests.tables.factories import add, events_table

pytestmark = pytest.mark.slow

# what they remove or rewrite is not computed again by the same command
APPLY = {
    "ingest reset",
    "ingest retry",
    "ingest skip",
    "dead-letters drop",
    "lake recover",
    "lake move",
    "lake relocate",
    "maintain",
    "online retire",
    "online rollback",
    "online switch",
    "paimon tag",
    "tables alter",
    "tables branch",
    "tables cleanup",
    "tables compact",
    "tables delete",
    "tables empty-trash",
    "tables leases",
    "tables publish",
    "tables restore",
    "tables rollback",
    "tables tag",
}
# these add, or compute again what they replace: running them again changes nothing
ACT = {
    "datasets publish",
    "dead-letters replay",
    "features build",
    "flink backfill",
    "flink handover",
    "flink note",
    "flink restore",
    "flink stop",
    "flink submit",
    "ingest acknowledge",
    "ingest run",
    "init",
    "online follow",
    "online publish",
    "paimon export",
    "paimon import",
    "paimon pin",
    "samples build",
    "simulate",
    "streams infer",
}
READ = {
    "check",
    "dagster",
    "datasets diff",
    "datasets list",
    "datasets rebuild",
    "datasets show",
    "datasets verify",
    "dead-letters list",
    "dead-letters show",
    "features list",
    "features show",
    "flink status",
    "ingest audit",
    "ingest status",
    "lineage",
    "online get",
    "online status",
    "online versions",
    "paimon show",
    "paimon tables",
    "samples inspect",
    "serve",
    "skew",
    "status",
    "streams diff",
    "tables health",
    "tables list",
    "tables preview",
    "tables refs",
    "tables show",
    "tables trash",
    "ui",
}
PLANS = (
    "maintain",
    "tables alter raw.events --add note:string",
    "tables branch raw.events trial --drop",
    "tables cleanup raw.events",
    "tables compact raw.events",
    "tables delete raw.events --where 'id < 3'",
    "tables empty-trash raw.events",
    "tables publish raw.events trial",
    "tables rollback raw.events first",
    "tables tag raw.events first --drop",
    "lake recover",
    "lake relocate",
)


def verbs() -> dict[str, set[str]]:
    """Return the options of every command."""
    return {
        " ".join(words): {name for param in command.params for name in param.opts}
        for words, command in commands()
        if not hasattr(command, "commands")
    }


def test_every_command_reads_acts_or_wants_apply_and_only_the_last_have_the_option() -> None:
    found = verbs()
    assert APPLY | ACT | READ == set(found)
    assert {name for name, options in found.items() if "--apply" in options} == APPLY


def test_without_apply_no_plan_changes_a_table_or_a_file_of_one(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = events_table(lake)
    add(table, [0])
    tag(table, "first", snapshot_id=table.head().snapshot_id or 0)
    create_branch(table, "trial")
    for number in range(1, 9):
        add(table, [number])
    monkeypatch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(lake.settings.state_dir))
    before = contents(lake.settings.state_dir), table.head().metadata_location
    for line in PLANS:
        result = CliRunner().invoke(make_app(), shlex.split(line))
        assert result.exit_code == 0, (line, result.output)
        after = contents(lake.settings.state_dir), table.head().metadata_location
        assert after == before, line


def contents(folder: Path) -> dict[str, str]:
    """Hash every file but the databases, whose measures a plan may record."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".db" not in path.name
    }
