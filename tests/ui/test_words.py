"""What users read, compared with `tests/golden`: every page and every command, on one lake."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click
import pandas as pd
import pytest
import typer.main
from click.testing import Result
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from headrace.api import Lake
from headrace.cli import columns
from headrace.cli.columns import Column
from headrace.cli.main import make_app
from tests.conftest import ROOT
from tests.golden.golden import Golden
from tests.golden.masked import fixed, masked
from tests.ui.conftest import Open

_READS = (
    "status",
    "lineage",
    "lineage samples.ctr",
    "tables preview raw.impressions --rows 1 --column user_segment --column position",
    "datasets diff ctr 1 2",
    "tables list",
    "tables show raw.impressions",
    "tables refs samples.ctr",
    "tables leases raw.impressions",
    "tables trash raw.impressions",
    "tables cleanup raw.impressions",
    "tables health raw.impressions",  # after the clean-up, which counts orphan files
    "tables compact raw.impressions",
    "tables branch raw.impressions trial --drop",
    "tables tag samples.ctr ctr-v1 --drop",
    "tables delete raw.impressions --where item_id=1",
    "tables empty-trash raw.impressions",
    "tables alter raw.impressions --drop position",
    "maintain",
    "streams diff impressions",
    "streams infer impressions/*.jsonl --name shown",
    "ingest status impressions",
    "datasets list",
    "datasets show ctr",
    "datasets verify ctr 7",
    "tables health",
    "ingest audit impressions",
    "dead-letters list impressions",
    "dead-letters show impressions --limit 2",
    "dead-letters drop impressions",
    "features list",
    "features show features.item_ctr",
    "online status",
    "online versions features.item_ctr",
    'online get features.item_ctr {"item_id":1} {"item_id":9}',
    "check",
    "lake relocate",
    "lake recover",
)
# what is shown by these is compared elsewhere: they write, serve, or read what this lake has not
_NOT_HERE = {
    "dagster", "ui", "serve", "init", "simulate",
    "datasets publish", "datasets rebuild", "dead-letters replay", "features build",
    "flink backfill", "flink handover", "flink note", "flink restore", "flink status",
    "flink stop", "flink submit", "ingest acknowledge", "ingest reset", "ingest retry",
    "ingest run", "ingest skip", "lake move", "online follow", "online publish",
    "online retire", "online rollback", "online switch", "paimon export", "paimon import",
    "paimon pin", "paimon show", "paimon tables", "paimon tag", "samples build", "samples inspect", "skew",
    "tables publish", "tables restore", "tables rollback",
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What one command said: its text, in which each table is a mark, and its JSON."""

    line: str
    text: Result
    tables: Sequence["Laid"]
    json: Result

    def shown(self, lay: Callable[["Laid"], list[str]]) -> str:
        """Return the text, with tables laid out."""
        lines = self.text.stdout.splitlines()
        whole = [
            part
            for line in lines
            for part in (lay(self.tables[int(line[1:])]) if line.startswith(_MARK) else [line])
        ]
        return "\n".join(whole)


@dataclass(frozen=True)
class Laid:
    """A table, or the facts of one thing, before it is laid out for a width."""

    how: Callable[..., list[str]]
    columns: Sequence[Column]


_MARK = "\0"


@pytest.fixture(scope="module")
def told(full_lake: Lake) -> list[Told]:
    """Run each command once in both formats; what depends on the width is left to the tests."""
    found: list[Told] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_LAKE", str(ROOT / "lake" / "lake.toml"))
        patch.setenv("HEADRACE_STATE_DIR", str(full_lake.settings.state_dir))
        patch.delenv("HEADRACE_DATA_DIR", raising=False)
        laid: list[Laid] = []
        for how in (columns.aligned, columns.stacked):

            def kept(
                shown: Sequence[Column],
                *,
                width: int | None,
                how: Callable[..., list[str]] = how,
            ) -> list[str]:
                assert width is None
                laid.append(Laid(how, shown))
                return [f"{_MARK}{len(laid) - 1}"]

            patch.setattr(columns, how.__name__, kept)
        for line in _READS:
            laid = []
            text = CliRunner().invoke(make_app(), line.split())
            json_ = CliRunner().invoke(make_app(), [*line.split(), "--output", "json"])
            found.append(Told(line, text, laid, json_))
    return found


def test_no_command_is_forgotten() -> None:
    app = typer.main.get_command(make_app())
    leaves = {
        " ".join(words) for words, each in _commands(app) if not isinstance(each, click.Group)
    }
    here = {leaf for leaf in leaves for line in _READS if f"{line} ".startswith(f"{leaf} ")}
    assert leaves - here == _NOT_HERE


def test_what_commands_say_of_themselves(golden: Golden) -> None:
    told = (
        _help(words, command) for words, command in _commands(typer.main.get_command(make_app()))
    )
    golden.check("help.txt", "\n".join(told))


def _commands(
    group: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, group
    if isinstance(group, click.Group):
        for name, command in sorted(group.commands.items()):
            yield from _commands(command, (*words, name))


def _help(words: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(("headrace", *words)))
    lines = [f"$ {context.info_name} --help", *(command.help or "").splitlines()]
    if isinstance(command, click.Group):
        return "\n".join(lines) + "\n"
    for each in command.params:
        name = ", ".join(each.opts) if isinstance(each, click.Option) else each.human_readable_name
        said = getattr(each, "help", None)
        lines.append(f"  {name}: {said}" if said else f"  {name}")
    return "\n".join(lines) + "\n"


def test_what_commands_that_read_say_of_a_lake(
    told: list[Told], full_lake: Lake, golden: Golden
) -> None:
    said: list[str] = []
    for each in told:
        text = each.shown(lambda laid: laid.how(laid.columns, width=None))
        for words, result, shown in (
            (each.line, each.text, text),
            (f"{each.line} --output json", each.json, _shown(each.json.stdout)),
        ):
            parts = filter(None, (shown, result.stderr.rstrip("\n")))
            said.append("\n".join((f"$ headrace {words}", *parts, f"-> {result.exit_code}", "")))
    golden.check("commands.txt", masked("\n".join(said), *_places(full_lake)) + "\n")


@pytest.mark.parametrize("width", [80, 120])
def test_what_commands_that_read_show_in_a_terminal(
    told: list[Told], full_lake: Lake, golden: Golden, width: int
) -> None:
    places = _places(full_lake)

    def lay(laid: Laid) -> list[str]:
        same = [
            replace(column, cells=tuple(fixed(cell, *places) for cell in column.cells))
            for column in laid.columns
        ]
        lines = laid.how(same, width=width)
        if laid.how is columns.aligned:
            assert all(len(line) <= width for line in lines)
        return lines

    said = "\n".join(f"$ headrace {each.line}\n{each.shown(lay)}\n" for each in told)
    golden.check(f"commands-{width}.txt", fixed(said, *places))


def _places(lake: Lake) -> tuple[tuple[str, str], ...]:
    return ((str(lake.settings.state_dir), "STATE"), (str(ROOT), "ROOT"))


def _shown(stdout: str) -> str:
    try:
        return json.dumps(_shortened(json.loads(stdout)), indent=1)
    except ValueError:
        return stdout.rstrip("\n")


def _shortened(value: Any) -> Any:  # noqa: ANN401  (what JSON can hold)
    """Keep the first of many: the others have the same keys."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list) and len(value) > 1:
        return [_shortened(value[0]), f"and {len(value) - 1} more"]
    return [_shortened(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("lake", ["empty", "full"])
def test_what_pages_say(
    app: Open, golden: Golden, lake: str, request: pytest.FixtureRequest
) -> None:
    full: Lake | None = request.getfixturevalue("full") if lake == "full" else None
    state = "nowhere" if full is None else str(full.settings.state_dir)
    told = [
        "\n".join((f"# {page}", *_words(app(page)), ""))
        for page in ("overview", "tables", "samples", "lineage", "versions")
    ]
    golden.check(
        f"pages-{lake}.txt",
        masked(
            "\n".join(told), (state, "STATE"), (str(ROOT), "ROOT"), (f"**{ROOT.name}**", "**ROOT**")
        )
        + "\n",
    )


def _words(shown: AppTest) -> Iterator[str]:
    """Yield the words of a page in their order; of tables the names of the columns."""
    for each in shown.main:
        if hasattr(each, "children"):
            continue  # a container: what is in it comes by itself
        value = getattr(each, "value", "")
        if isinstance(value, pd.DataFrame):
            yield f"table: {', '.join(map(str, value.columns))}"
            continue
        words = (getattr(each, "label", ""), value, getattr(each, "help", ""))
        said = " | ".join(word for word in words if isinstance(word, str) and word)
        if said:
            yield f"{each.type}: {said}"
