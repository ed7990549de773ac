"""Every command says how it is used: by examples that can be parsed, by `-h`, by completion."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
from click.testing import Result
from typer.testing import CliRunner

from headrace.cli.failures import EXITS, exit_status
from headrace.cli.main import make_app
from headrace.cli.nouns import Command
from headrace.config import Settings
from tests.conftest import ROOT
from tests.errors.examples import EXAMPLES

_APP = typer.main.get_command(make_app())
assert isinstance(_APP, click.Group)


def headrace(*words: str) -> Result:
    return CliRunner().invoke(make_app(), list(words))


def commands(
    group: click.Group = _APP, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*words, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))


def parsed(line: str) -> tuple[str, ...]:
    """Parse a command line as the command would, and return the words that name it."""
    named: list[str] = []
    rest, at = shlex.split(line), _APP
    context = click.Context(_APP, info_name="headrace")
    while isinstance(at, click.Group):
        name, found, rest = at.resolve_command(context, rest)
        assert name is not None
        assert found is not None
        named.append(name)
        at = found
    at.make_context(named[-1], rest, parent=context)
    return tuple(named)


@pytest.mark.slow
def test_every_help_ends_in_examples_of_its_own_that_can_be_parsed() -> None:
    for words, command in commands():
        assert "\nExamples:\n  headrace " in headrace(*words, "-h").stdout, words
        if isinstance(command, click.Group):
            continue
        assert isinstance(command, Command), words
        assert command.examples, words
        assert {parsed(line) for line in command.examples} == {words}


def test_lists_of_commands_end_in_whole_sentences() -> None:
    for words in ((), *(words for words, each in commands() if isinstance(each, click.Group))):
        assert "..." not in headrace(*words, "--help").stdout.partition("Commands:")[2]


def test_the_short_options_of_other_tools_work() -> None:
    assert headrace("tables", "-h").stdout == headrace("tables", "--help").stdout
    version = headrace("--version")
    assert (version.exit_code, version.stdout.split()[0]) == (0, "headrace")
    assert version.stdout.split()[1] in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "words", [("tabels", "list"), ("tables", "lst"), ("tables", "list", "--quite")]
)
def test_what_was_meant_is_said_once(words: tuple[str, ...]) -> None:
    said = headrace(*words)
    assert said.exit_code == 2
    assert said.stderr.lower().count("did you mean") == 1


def test_wrong_usage_is_json_where_json_is_asked_for() -> None:
    for words in (("tables", "show"), ("tables", "list", "--bogus"), ("tables", "lst")):
        said = headrace(*words, "--output", "json")
        assert said.exit_code == 2
        error = json.loads(said.stderr)
        assert set(error) == {"code", "reason", "message", "facts", "remedy"}
        assert error["code"] == "usage"
        assert error["remedy"]["command"][0] == "headrace"
        assert said.stdout == ""


def test_every_error_ends_with_a_status_of_the_one_table() -> None:
    assert {exit_status(error) for error in EXAMPLES} <= {each.status for each in EXITS}
    text = (ROOT / "docs" / "command-line.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)
    assert [(int(status), said) for status, said in rows] == [
        (each.status, each.meaning) for each in EXITS
    ]


@pytest.mark.slow
def test_quiet_leaves_results_and_errors(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
    monkeypatch.setenv("HEADRACE_STATE_DIR", str(settings.state_dir))
    assert "fine" in headrace("check").stdout
    for words in (("--quiet", "check"), ("check", "-q")):
        assert headrace(*words).stdout.startswith("warning: ")
        assert "fine" not in headrace(*words).stdout
    assert "lake-not-found" in headrace("tables", "list", "--quiet").stderr


@pytest.mark.slow
def test_completion_gives_candidates_only_and_loads_no_heavy_package() -> None:
    words = "headrace tables co"
    env = os.environ | {
        "_HEADRACE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "2",
    }  # fmt: skip
    command = str(Path(sys.executable).with_name("headrace"))
    done = subprocess.run([command], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["compact"]
    assert done.stderr == ""
    heavy = "{'duckdb', 'pyarrow', 'pyiceberg', 'torch', 'dagster', 'pydantic'}"
    code = f"import sys, headrace.cli.main as m; m.make_app(); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
