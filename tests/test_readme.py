"""What the README tells a newcomer to type is what works.

Its first command is executed on the finished demo lake by `tests/demo/test_demo.py`.
"""

import os
import re
import runpy
import subprocess
from xml.etree import ElementTree

import click
import pytest
import typer.main
from typer.testing import CliRunner

from headrace.cli.main import make_app
from tests.conftest import ROOT, DemoLake, quick_start

pytestmark = pytest.mark.slow

_SIZED = r"^((?:raw|staging|features|samples)\.\w+(?: +[\d,]+){4}) +([\d,]+)$"


def python_block() -> str:
    return (ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0]


def test_the_quick_start_is_two_commands_that_make_knows() -> None:
    assert quick_start() == ["make demo", "make test"]
    for command in quick_start():
        # make's own flags of an outer `make test` would turn a dry run into something else
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        shown = subprocess.run(
            [*command.split(), "--dry-run"],
            cwd=ROOT,
            env=plain,
            capture_output=True,
            text=True,
            check=True,
        )
        wanted = {"make demo": "python -m demo.run", "make test": "python -m pytest"}[command]
        assert wanted in shown.stdout


def test_the_python_example_reads_every_sample_of_the_version(
    demo_lake: DemoLake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo_lake.enter(monkeypatch)
    exec(python_block(), {})  # noqa: S102 - our own example
    printed = capsys.readouterr().out.splitlines()
    shapes = [line for line in printed if line.startswith("torch.Size")]
    assert shapes[0] == "torch.Size([512, 2]) torch.Size([513])"
    rows = sum(int(line.split("[")[1].split(",")[0]) for line in shapes)
    assert f"ctr v1: {rows:,} rows" in demo_lake.printed


def masked(line: str) -> str:
    """Leave out what differs from run to run: times, sizes, digits that depend on the processor."""
    line = re.sub(r"\d+\.\d+ s\b|(?<= )\d+\.\d(?=[,;]| s)", "_", line)
    if line.startswith(("              model", "score")):
        line = re.sub(r"\d+\.\d+", "_", line)
    return " ".join(re.sub(_SIZED, r"\1", line).split())


def sizes(screen: str) -> dict[str, int]:
    """Read each table's KiB."""
    found = re.finditer(_SIZED, screen, re.MULTILINE)
    return {each[1].split()[0]: int(each[2].replace(",", "")) for each in found}


def test_the_screen_in_the_readme_is_what_the_demo_prints(demo_lake: DemoLake) -> None:
    shown = (ROOT / "README.md").read_text().split("```text\n")[1].split("```")[0]
    printed = {masked(line) for line in demo_lake.printed.splitlines()}
    wanted = [line for line in shown.splitlines() if not line.startswith(("lockfile", "changes"))]
    assert len(wanted) > 40
    assert [line for line in wanted if masked(line) not in printed] == []
    # files hold when they were read, so that they compress a little better or worse
    assert sizes(shown) == pytest.approx(sizes(demo_lake.printed), rel=0.02, abs=1)


def test_the_inspected_sample_in_the_readme_is_what_the_command_prints(
    demo_lake: DemoLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = (ROOT / "README.md").read_text().split("```console\n")[1].split("```")[0]
    command, *shown = block.splitlines()
    words, said = command.removeprefix("$ ").split("#")
    demo_lake.enter(monkeypatch)
    done = CliRunner().invoke(make_app(), words.split()[1:])
    assert done.exit_code == 0
    # snapshots are ids of a run, and columns are as wide as what stands in them
    printed = [
        re.sub(r" at snapshot \d+", "", " ".join(line.split())) for line in done.stdout.splitlines()
    ]
    assert [line for line in shown if " ".join(line.split()) not in printed] == []
    assert said.split() == [str(len(shown)), "lines", "of", "its", str(len(printed))]


def test_each_line_of_what_sets_it_apart_names_a_test_or_a_benchmark_that_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    table = text.partition("## What sets it apart")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 8
    for row in rows:
        shown = re.findall(r"`((?:tests|benchmarks)/[^`]+)`", row.rpartition(" | ")[2])
        assert shown, row
        for each in shown:
            file, _, name = each.partition("::")
            source = (ROOT / file).read_text()
            assert f"\ndef {name}(" in source if name else file.startswith("benchmarks/"), each


def test_twelve_words_are_explained_once_each() -> None:
    text = (ROOT / "README.md").read_text()
    table = text.partition("## Twelve words")[2].partition("\n## ")[0]
    words = re.findall(r"^\| ([^|]+) \| [a-z].+ \|$", table, re.MULTILINE)
    assert len(set(words) - {"word"}) == len(words) - words.count("word") == 12


def test_the_picture_is_what_its_script_draws_and_asks_for_nothing_elsewhere() -> None:
    picture = ROOT / "docs" / "images" / "river.svg"
    drawn = runpy.run_path(str(picture.with_suffix(".py")))["drawn"]()
    assert picture.read_text() == drawn
    root = ElementTree.fromstring(drawn)
    assert {"title", "desc"} <= {each.tag.rpartition("}")[2] for each in root}
    assert "prefers-color-scheme: dark" in drawn
    assert not re.search(r"(?:href|src|url)\b", drawn)


def test_pictures_are_small_and_have_alternative_texts() -> None:
    text = (ROOT / "README.md").read_text()
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text)
    assert [path for _, path in pictures] == ["docs/images/river.svg", "docs/images/overview.png"]
    for alternative, path in pictures:
        assert len(alternative.split()) > 5
        assert (ROOT / path).stat().st_size <= 200_000


def test_the_commands_of_the_readme_are_there_and_no_noun_is_left_out() -> None:
    text = (ROOT / "README.md").read_text().partition("## Command line")[2]
    lines = re.findall(r"^headrace (\S+(?: \S+)*)", text.split("```")[1], re.MULTILINE)
    app = typer.main.get_command(make_app())
    assert isinstance(app, click.Group)
    nouns = {
        name: set(each.commands)
        for name, each in app.commands.items()
        if isinstance(each, click.Group)
    }
    listed: set[str] = set()
    for line in lines:
        noun, _, rest = line.partition(" ")
        words = (rest if noun in nouns else line).split(" | ")
        listed |= {f"{noun if noun in nouns else ''} {word.split()[0]}".strip() for word in words}
    there = {name for name in app.commands if name not in nouns}
    there |= {f"{noun} {verb}" for noun, verbs in nouns.items() for verb in verbs}
    assert listed <= there
    assert {each.split()[0] for each in listed} == set(app.commands)
