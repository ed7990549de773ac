"""Progress output: one line per finished step, and a spinner on a terminal."""

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.status import Status


class Progress:
    """Prints progress to a terminal or a log, and measures every stage."""

    def __init__(self, console: Console) -> None:
        self._console, self._status = console, Status("", console=console)
        self.stage_s: dict[str, float] = {}

    @contextmanager
    def running(self) -> Generator[None]:
        """Show the spinner while the block runs; plain output has none."""
        if not self._console.is_terminal:
            yield
            return
        with self._status:
            yield

    @contextmanager
    def stage(self, name: str, what: str) -> Generator[None]:
        """Measure one stage and print it when it is done."""
        self.started(what)
        since = perf_counter()
        yield
        self.finished(name, what, perf_counter() - since)

    def started(self, what: str) -> None:
        """Show the current step."""
        self._status.update(f"{what} …")

    def finished(self, stage: str, what: str, seconds: float) -> None:
        """Print a finished step, and add its time to its stage."""
        self.stage_s[stage] = self.stage_s.get(stage, 0.0) + seconds
        self._console.print(f"{stage:<13} {what:<44} {seconds:6.1f} s")
