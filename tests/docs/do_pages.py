"""Does what pages show, in this process and in one lake: each start of a command imports for seconds."""

import contextlib
import io
import os
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from headrace.cli.main import make_app
from tests.docs.blocks import Block, blocks_of

LAKE = "shop"  # that the first page makes; the others go on in it


def do_pages(folder: Path, pages: list[str]) -> Iterator[list[tuple[str, int]]]:
    """Do page after page; each starts in the lake, the first one beside it.

    Yields for each what each of its blocks printed, and the status that it ended with.
    """
    for page in pages:
        os.chdir(folder / LAKE if (folder / LAKE).exists() else folder)
        yield [_done(block) for block in blocks_of(Path(page).read_text())]


def _done(block: Block) -> tuple[str, int]:
    if block.kind == "file":
        path = Path(block.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
        return "", 0
    return _run(block.text) if block.kind == "command" else _python(block.text)


def _run(line: str) -> tuple[str, int]:
    if line.startswith("cd "):
        os.chdir(line.removeprefix("cd "))
        return "", 0
    if not line.startswith("headrace "):
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr, done.returncode
    invoked = CliRunner().invoke(make_app(), line.removeprefix("headrace "))
    error = invoked.exception
    bug = (
        ""
        if error is None or isinstance(error, SystemExit)
        else "".join(traceback.format_exception(error))
    )
    return invoked.output + bug, invoked.exit_code


def _python(program: str) -> tuple[str, int]:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            exec(compile(program, "page", "exec"), {"__name__": "__main__"})  # noqa: S102  (it is the page's)
        except Exception:  # noqa: BLE001  (the test shows whatever it is)
            return printed.getvalue() + traceback.format_exc(), 1
    return printed.getvalue(), 0
