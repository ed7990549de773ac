"""What the demo says while it runs: a line per finished step, and a moving line on a terminal."""

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.status import Status


class Progress:
    """Lines for a terminal or a log; times every stage."""

    def __init__(self, console: Console) -> None:
        self._console, self._status = console, Status("", console=console)
        self.stage_s: dict[str, float] = {}

    @contextmanager
    def running(self) -> Generator[None]:
        """Show the moving line for as long as work goes on; plain output has none."""
        if not self._console.is_terminal:
            yield
            return
        with self._status:
            yield

    @contextmanager
    def stage(self, name: str, what: str) -> Generator[None]:
        """Time one stage and say that it is done."""
        self.started(what)
        since = perf_counter()
        yield
        self.finished(name, what, perf_counter() - since)

    def started(self, what: str) -> None:
        """Say what is being done now."""
        self._status.update(f"{what} …")

    def finished(self, stage: str, what: str, seconds: float) -> None:
        """Say what was done, and add its time to its stage's."""
        self.stage_s[stage] = self.stage_s.get(stage, 0.0) + seconds
        self._console.print(f"{stage:<13} {what:<40} {seconds:6.1f} s")
