"""The page about one's own data: what it shows is done, in a folder of one's own."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli.main import make_app
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "own-data.md"
EXPECTED = [
    ("s1", 9.5, 1.0),
    ("s2", 12.0, 0.0),
    ("s3", 8.25, 0.0),
    ("s4", 30.0, 1.0),
    ("s5", 30.0, 0.0),
]


def test_the_page_leads_from_files_to_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HEADRACE")]:
        monkeypatch.delenv(name)
    app, printed = make_app(), ""
    for language, title, body in re.findall(
        r"```(\w+) ?(\S*)\n(.*?)```", PAGE.read_text(), re.DOTALL
    ):
        if title:
            path = tmp_path / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body)
        elif language == "console":
            for line in body.splitlines():
                command = shlex.split(line.removeprefix("$ headrace "))
                invoked = CliRunner().invoke(app, command)
                assert invoked.exit_code == 0, (command, invoked.output)
                done = invoked.output
                if command[0] == "ingest":
                    assert re.findall(r"(\d+) dead letters", done) == ["0", "0", "0"]
                if command[:2] == ["samples", "inspect"]:
                    assert "8.25" in done
        else:
            printed = subprocess.run(
                [sys.executable, "-c", body], capture_output=True, text=True, check=True
            ).stdout
    assert printed.strip() == str(EXPECTED)
