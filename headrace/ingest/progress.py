"""How a followed stream goes on, as its service last said: read by status, the pages and metrics.

The service writes one small file for each stream below the state folder. It is a report and no
state: nothing resumes from it, and a missing or torn one only leaves a page without its lag.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from headrace import clock
from headrace.config import Settings
from headrace.ingest.open_batch import Committed

STALE_MS = 60_000  # a service that said nothing for so long has ended without saying so

FORMER_MS = 86_400_000  # how long the end of a former service is told: a day


class Phase(StrEnum):
    """What the service is doing for a stream."""

    STARTING = "starting"
    FOLLOWING = "following"
    RETRYING = "retrying"  # after an error that may pass
    STOPPED = "stopped"  # asked to
    FAILED = "failed"  # needs a person


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How one stream goes on.

    Args:
        stream: Its name.
        phase: What the service is doing.
        pid: The process of the service, and `started_ms` since when it follows the stream.
        updated_ms: When this was said.
        lag: For each partition, how many offsets it is behind its end, where the source tells.
        behind_s: For how long it has not been at the end of every partition, by this host's clock.
        commits: Commits of this run, like the counts below.
        committed_ms: When the last one was made; None before the first.
        stretch: How many times as rarely as wished it commits, and `stretch_reason` why.
        error_code: Of the last error, if the stream is retrying or failed; `error` says it.
        former_error: What ended the last other service of the stream that failed, at
            `former_ended_ms`: reports of this one replace its own. Kept for a day.

    """

    stream: str
    phase: Phase = Phase.STARTING
    pid: int = field(default_factory=os.getpid)
    updated_ms: int = 0
    lag: Mapping[str, int] = field(default_factory=dict[str, int])
    behind_s: float = 0.0
    commits: int = 0
    rows: int = 0
    dead_letters: int = 0
    late_rows: int = 0
    committed_ms: int | None = None
    watermark_us: int | None = None
    refused_share: float = 0.0
    stretch: int = 1
    stretch_reason: str = ""
    error_code: str = ""
    error: str = ""
    started_ms: int = field(default_factory=clock.now_ms)
    former_error: str = ""
    former_ended_ms: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether a service still says so."""
        ended = self.phase in (Phase.STOPPED, Phase.FAILED)
        return not ended and clock.now_ms() - self.updated_ms < STALE_MS

    @property
    def phase_now(self) -> str:
        """The phase, or `vanished` if its service ended without saying so."""
        ended = self.phase in (Phase.STOPPED, Phase.FAILED)
        return self.phase.value if ended or self.is_live else "vanished"

    @property
    def needs_person(self) -> bool:
        """Whether the stream does not go on by itself, as one does whose service retries."""
        return self.phase_now in (Phase.FAILED, "vanished")

    def after(self, found: "Progress") -> "Progress":
        """Keep from the report that this one replaces how another service ended."""
        if (found.pid, found.started_ms) == (self.pid, self.started_ms):
            return self
        if found.phase is Phase.FAILED:
            ended_ms: int | None = found.updated_ms
            said = f"{found.error_code}: {found.error}"
        else:
            ended_ms, said = found.former_ended_ms, found.former_error
        if ended_ms is None or ended_ms <= (self.former_ended_ms or 0):
            return self
        return replace(self, former_error=said, former_ended_ms=ended_ms)


class Listener(Protocol):
    """Is told how streams go on, each by the thread that follows it."""

    def changed(self, progress: Progress) -> None:
        """Take note of how a stream goes on; called at least every second."""
        ...

    def committed(self, stream: str, done: Committed, *, seconds: float) -> None:
        """Take note of a commit and of how long it took."""
        ...

    def failed(self, stream: str, code: str) -> None:
        """Take note of an error, also of one that may pass."""
        ...


def file_of(settings: Settings, stream: str) -> Path:
    """Return where the service reports on a stream."""
    return settings.state_dir / "ingest" / f"{stream}.json"


def report(settings: Settings, progress: Progress) -> Progress:
    """Date a report, keep in it what the one that it replaces says of another service, and write it.

    One at a time: a service that ends may say why between the look of another one and its report, and
    nothing else says it.
    """
    with _turn(settings, progress.stream):
        renewed = _renewed(settings, progress)
        write(settings, renewed)
    return renewed


@contextlib.contextmanager
def _turn(settings: Settings, stream: str) -> Generator[None]:
    """Let one service at a time report on a stream; on a full disk each goes on alone."""
    path = file_of(settings, stream).with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
    except OSError:
        yield
        return
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _renewed(settings: Settings, progress: Progress) -> Progress:
    found = read(settings, progress.stream)
    kept, now_ms = progress if found is None else progress.after(found), clock.now_ms()
    if kept.former_ended_ms is not None and now_ms - kept.former_ended_ms > FORMER_MS:
        kept = replace(kept, former_error="", former_ended_ms=None)
    return replace(kept, updated_ms=now_ms)


def write(settings: Settings, progress: Progress) -> None:
    """Report how a stream goes on; a full disk loses the report and nothing else."""
    path = file_of(settings, progress.stream)
    draft = path.with_suffix(f".{progress.pid}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(asdict(progress)))
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)


def read(settings: Settings, stream: str) -> Progress | None:
    """Read the last report on a stream; None if there is none that can be read."""
    try:
        told: dict[str, Any] = json.loads(file_of(settings, stream).read_text())
        values: dict[str, Any] = {**told, "phase": Phase(told["phase"])}
        return Progress(**values)
    except (OSError, ValueError, TypeError, KeyError):
        return None
