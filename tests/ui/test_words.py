"""What users read, compared with `tests/golden`: every page and every command, on one lake."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click
import pandas as pd
import pytest
import typer.main
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
    "tables alter raw.impressions --drop position",
    "maintain",
    "ingest status impressions",
    "datasets list",
    "datasets show ctr",
    "datasets verify ctr 7",
    "tables health",
    "ingest audit impressions",
    "dead-letters list impressions",
    "dead-letters show impressions --limit 2",
    "features list",
    "features show features.item_ctr",
    "online status",
    "check",
    "lake relocate",
    "lake recover",
)


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


def test_what_commands_that_read_say_of_a_lake(full: Lake, golden: Golden) -> None:
    places = ((str(full.settings.state_dir), "STATE"), (str(ROOT), "ROOT"))
    told: list[str] = []
    for line in _READS:
        for words in (line.split(), [*line.split(), "--output", "json"]):
            result = CliRunner().invoke(make_app(), words)
            head, end = f"$ headrace {' '.join(words)}", f"-> {result.exit_code}"
            shown = (_shown(result.stdout), result.stderr.rstrip("\n"))
            told.append("\n".join((head, *filter(None, shown), end, "")))
    golden.check("commands.txt", masked("\n".join(told), *places) + "\n")


@pytest.mark.parametrize("width", [80, 120])
def test_what_commands_that_read_show_in_a_terminal(
    full: Lake, golden: Golden, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    places = ((str(full.settings.state_dir), "STATE"), (str(ROOT), "ROOT"))
    aligned, stacked = columns.aligned, columns.stacked

    def with_fixed_cells(shown: Sequence[Column]) -> list[Column]:
        return [
            replace(column, cells=tuple(fixed(cell, *places) for cell in column.cells))
            for column in shown
        ]

    def laid_out(shown: Sequence[Column], *, width: int | None) -> list[str]:
        lines = aligned(with_fixed_cells(shown), width=width)
        assert width is not None
        assert all(len(line) <= width for line in lines)
        return lines

    monkeypatch.setattr(columns, "width_shown", lambda: width)
    monkeypatch.setattr(columns, "aligned", laid_out)
    monkeypatch.setattr(
        columns, "stacked", lambda shown, width: stacked(with_fixed_cells(shown), width=width)
    )
    told: list[str] = []
    for line in _READS:
        result = CliRunner().invoke(make_app(), line.split())
        told += [f"$ headrace {line}", fixed(result.stdout, *places)]
    golden.check(f"commands-{width}.txt", "\n".join(told))


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
