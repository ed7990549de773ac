"""What a command waits for, on stderr: servers start jobs and write savepoints in seconds to minutes."""

import contextlib
import sys
from collections.abc import Callable, Generator

from headrace.cli.nouns import is_quiet


@contextlib.contextmanager
def waiting(text: str) -> Generator[Callable[[str], None]]:
    """Show what is waited for and since when, if stderr is a terminal; it is gone afterwards.

    Yields what shows more of it in the same line.
    """
    if not sys.stderr.isatty() or is_quiet():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(text, total=None)
        yield lambda more: shown.update(task, description=f"{text}; {escape(more)}")
