"""What the README tells a newcomer to type is what works.

Its first command is executed on the finished demo lake by `tests/demo/test_demo.py`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_python_example_reads_every_sample_of_the_version(demo_lake: DemoLake) -> None:
    done = subprocess.run(
        [sys.executable, "-c", python_block()],
        cwd=ROOT,
        env=dict(demo_lake.environment),
        capture_output=True,
        text=True,
        check=True,
    )
    shapes = [line for line in done.stdout.splitlines() if line.startswith("torch.Size")]
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
    demo_lake: DemoLake,
) -> None:
    block = (ROOT / "README.md").read_text().split("```console\n")[1].split("```")[0]
    command, *shown = block.splitlines()
    words, said = command.removeprefix("$ ").split("#")
    done = subprocess.run(
        [Path(sys.executable).with_name("headrace"), *words.split()[1:]],
        cwd=ROOT,
        env=dict(demo_lake.environment),
        capture_output=True,
        text=True,
        check=True,
    )
    # snapshots are ids of a run, and columns are as wide as what stands in them
    printed = [
        re.sub(r" at snapshot \d+", "", " ".join(line.split())) for line in done.stdout.splitlines()
    ]
    assert [line for line in shown if " ".join(line.split()) not in printed] == []
    assert said.split() == [str(len(shown)), "lines", "of", "its", str(len(printed))]
