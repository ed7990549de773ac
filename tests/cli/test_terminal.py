"""The command in a real terminal, in a pipe that closes, and asked about itself."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from headrace.api import Lake
from tests.conftest import ROOT
from tests.tables.factories import add, events_table

pytestmark = pytest.mark.slow

HEADRACE = str(Path(sys.executable).with_name("headrace"))


@pytest.fixture
def environment(lake: Lake) -> dict[str, str]:
    """A lake with a table, as the environment of a command."""
    add(events_table(lake, "raw.a_table_of_events_with_a_long_name"), [1, 2, 3])
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return inherited | {
        "HEADRACE_LAKE": str(ROOT / "lake" / "lake.toml"),
        "HEADRACE_STATE_DIR": str(lake.settings.state_dir),
    }


def in_terminal(*words: str, width: int, env: dict[str, str]) -> list[str]:
    """Run a command in a pseudo terminal of this width, and return its lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with subprocess.Popen([HEADRACE, *words], stdout=theirs, env=env) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:  # Linux says so that the other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0
    return shown.decode().splitlines()


def test_a_table_fits_the_terminal_and_a_pipe_gets_every_column(
    environment: dict[str, str],
) -> None:
    narrow = in_terminal("tables", "list", width=80, env=environment)
    assert all(len(line) <= 80 for line in narrow)
    assert narrow[1].split()[:3] == ["raw.a_table_of_events_with_a_long_name", "3", "1"]
    piped = subprocess.run(
        [HEADRACE, "tables", "list"], env=environment, capture_output=True, text=True, check=True
    )
    title, row = piped.stdout.splitlines()
    assert title.split() == ["table", "rows", "files", "size", "snapshot", "committed"]
    assert row.startswith(narrow[1].split()[0])


def test_a_pipe_that_closes_ends_the_command_quietly(environment: dict[str, str]) -> None:
    command = f"{HEADRACE} tables list | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) in (0, 141)  # it may end before the pipe does
    assert done.stderr == ""
