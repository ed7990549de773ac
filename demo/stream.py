"""The streaming demo: simulated traffic through a real Kafka into tables, and a proof that all is there.

It starts a broker of its own, follows its topics while a simulator fills them, and ends both by their
process ids. What it made stays below the state folder until the next run.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.run import alone
from headrace.collector import one_command
from headrace.config import Settings
from headrace.errors import LakeError
from infra.launcher import kafka, run
from infra.launcher.cluster import Cluster
from infra.launcher.errors import LauncherError

IMPRESSIONS = 600_000
STREAMS = ("impressions", "watches", "user_state")
_COMMIT_S = 2.0
_LOOK_S = 1.0
_END_S_MAX = 30.0  # of a process that was asked to end
_STILL_S_MAX = 120.0  # without anything new, though not all is there


class StreamDemoError(LakeError):
    """A part of the streaming demo failed; what it made stays to be looked at."""

    def __init__(self, detail: str, *, part: str, log: Path) -> None:
        self.part, self.detail, self.log = part, detail, log
        super().__init__(f"{part}: {detail}; its output is in `{log}`")


@dataclass(frozen=True, kw_only=True)
class Reached:
    """How far the service is, of all streams: counts, offsets behind, and for how long."""

    rows: int = 0
    dead_letters: int = 0
    commits: int = 0
    lag: int = 0
    behind_s: float = 0.0
    since_commit_s: float | None = None
    streams: int = 0

    @property
    def taken(self) -> int:
        """How many records became rows or dead letters."""
        return self.rows + self.dead_letters


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One stream against what the simulator says that it sent.

    `audited` says whether the audit found every consumed offset once.
    """

    stream: str
    sent: int
    malformed: int
    consumed: int
    rows: int
    dead_letters: int
    audited: bool

    @property
    def lost(self) -> int:
        """Records that were sent and are neither rows nor dead letters."""
        return max(0, self.sent - self.rows - self.dead_letters)

    @property
    def doubled(self) -> int:
        """Rows and dead letters beyond what was sent."""
        return max(0, self.rows + self.dead_letters - self.sent)

    @property
    def exact(self) -> bool:
        """Whether each record is there once, and the malformed ones are the dead letters."""
        return (
            self.audited
            and self.consumed == self.sent == self.rows + self.dead_letters
            and self.dead_letters == self.malformed
        )


def main() -> int:
    """Run the demo; return the exit status: 0 if nothing was lost or doubled."""
    parser = argparse.ArgumentParser(prog="python -m demo.stream", description=__doc__)
    parser.add_argument("--impressions", type=int, default=IMPRESSIONS)
    asked = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    with one_command():
        try:
            folder = Settings.load().state_dir / "demo-stream"
            with alone(folder):
                verdicts = run_demo(folder, impressions=asked.impressions, console=console)
        except (LakeError, LauncherError) as error:
            console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
            return 1
        except KeyboardInterrupt:
            console.print("interrupted; the broker and the service were stopped")
            return 130
    show(console, verdicts, folder=folder)
    return 0 if all(each.exact for each in verdicts) else 1


def run_demo(folder: Path, *, impressions: int, console: Console) -> list[Verdict]:
    """Start the broker, simulate and follow at once, stop all, and compare with the truth.

    Raises:
        StreamDemoError: If the simulator or the service fails, or nothing moves any more.
        LauncherError: If the broker does not start.

    """
    cluster, lake = Cluster(folder / "cluster"), folder / "lake"
    say = _quietly(console)
    run.down(cluster, say=say)  # of a run that was killed
    for each in (cluster.folder, lake):
        shutil.rmtree(each, ignore_errors=True)
    try:
        run.up(cluster, run.only(("kafka",)), say=say)
        environment = _environment(lake, kafka.servers(cluster))
        headrace = str(Path(sys.executable).with_name("headrace"))
        source = (
            headrace,
            "simulate",
            str(lake),
            "--impressions",
            str(impressions),
            "--to",
            "kafka",
        )
        follow = (headrace, "ingest", "run", *STREAMS, "--follow", "--every-s", str(_COMMIT_S))
        with ended_well("simulate", source, environment, folder) as simulator:
            _wait_for(lake / "data" / "items", simulator)  # the contracts and topics come first
            with ended_well("follow", follow, environment, folder) as service:
                _watch(lake, simulator, service, console=console)
        return judged(lake)
    finally:
        run.down(cluster, say=say)


def judged(lake: Path) -> list[Verdict]:
    """Audit every stream, and compare what is there with the simulator's truth."""
    from headrace.api import Lake
    from headrace.definitions.load import load_streams
    from headrace.ingest.audit import plan_audit, run_audit

    settings = _settings(lake)
    truth = json.loads((lake / "truth" / "counts.json").read_text())
    verdicts: list[Verdict] = []
    with Lake.open(settings) as opened:
        declared = load_streams(settings)
        for name in STREAMS:
            found = run_audit(opened, plan_audit(opened, declared[name]))
            verdicts.append(
                Verdict(
                    stream=name,
                    sent=truth[name]["records"],
                    malformed=truth[name]["malformed"],
                    consumed=sum(each.consumed for each in found.partitions),
                    rows=sum(each.rows for each in found.partitions),
                    dead_letters=sum(each.dead_letters for each in found.partitions),
                    audited=found.error() is None,
                )
            )
    return verdicts


def show(console: Console, verdicts: Sequence[Verdict], *, folder: Path) -> None:
    """Print one line a stream, and the verdict on all of them."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("stream")
    for heading in ("sent", "rows", "dead letters", "lost", "doubled", "audit"):
        shown.add_column(heading, justify="right")
    for each in verdicts:
        counts = (each.sent, each.rows, each.dead_letters, each.lost, each.doubled)
        verdict = "exact" if each.exact else "WRONG"
        shown.add_row(each.stream, *(f"{count:,}" for count in counts), verdict)
    lost, doubled = sum(each.lost for each in verdicts), sum(each.doubled for each in verdicts)
    console.print()
    console.print(shown)
    console.print(f"{lost:,} lost, {doubled:,} doubled", style="bold")
    console.print(f"next: cd {folder / 'lake'} && headrace ingest audit impressions")


def _watch(
    lake: Path,
    simulator: subprocess.Popen[bytes],
    service: subprocess.Popen[bytes],
    *,
    console: Console,
) -> None:
    """Show how far the service is each second, until it has all that the simulator sent."""
    began_s = moved_s = time.monotonic()
    before, sent = Reached(), None
    while True:
        time.sleep(_LOOK_S)
        now_s, found = time.monotonic(), reached(_settings(lake))
        _require(simulator, lake.parent / "simulate.log", may_end=True)
        _require(service, lake.parent / "follow.log", may_end=False)
        if sent is None and simulator.poll() == 0:
            truth = json.loads((lake / "truth" / "counts.json").read_text())
            sent = sum(truth[name]["records"] for name in STREAMS)
        console.print(_line(found, seconds=now_s - began_s, is_sending=sent is None))
        if found.taken != before.taken:
            moved_s, before = now_s, found
        if sent is not None and found.taken >= sent and not found.lag:
            return
        if now_s - moved_s > _STILL_S_MAX:
            detail = f"nothing new for {_STILL_S_MAX:.0f} s, with {found.taken:,} records taken"
            raise StreamDemoError(detail, part="follow", log=lake.parent / "follow.log")


def reached(settings: Settings) -> Reached:
    """Add up what the service last reported of each stream."""
    from headrace import clock
    from headrace.ingest import progress

    said = [each for each in (progress.read(settings, name) for name in STREAMS) if each]
    commits_ms = [each.committed_ms for each in said if each.committed_ms is not None]
    return Reached(
        rows=sum(each.rows for each in said),
        dead_letters=sum(each.dead_letters for each in said),
        commits=sum(each.commits for each in said),
        lag=sum(sum(each.lag.values()) for each in said),
        behind_s=max((each.behind_s for each in said), default=0.0),
        since_commit_s=(clock.now_ms() - max(commits_ms)) / 1000 if commits_ms else None,
        streams=len(said),
    )


def _line(found: Reached, *, seconds: float, is_sending: bool) -> str:
    last = "none" if found.since_commit_s is None else f"{found.since_commit_s:.1f} s ago"
    return (
        f"{seconds:5.0f} s  {'sending' if is_sending else 'all sent':<8}  {found.rows:>9,} rows  "
        f"{found.dead_letters:>4,} dead letters  lag {found.lag:>8,} offsets, "
        f"{found.behind_s:4.1f} s behind  commit {found.commits:>3,}: {last}"
    )


@contextmanager
def ended_well(
    name: str, command: Sequence[str], environment: dict[str, str], folder: Path
) -> Generator[subprocess.Popen[bytes]]:
    """Run a command; in the end ask it to finish, by its process id, and wait for it.

    Raises:
        StreamDemoError: If it does not end well, or not in time.

    """
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt reaches the demo, which ends this in order
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.returncode:
            raise _ended(process.returncode, log)


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        _require(process, path.parents[2] / "simulate.log", may_end=False)
        time.sleep(0.1)


def _require(process: subprocess.Popen[bytes], log: Path, *, may_end: bool) -> None:
    status = process.poll()
    if status is not None and (status or not may_end):
        raise _ended(status, log)


def _ended(status: int, log: Path) -> StreamDemoError:
    return StreamDemoError(f"it ended with status {status}", part=log.stem, log=log)


def _environment(lake: Path, servers: str) -> dict[str, str]:
    """Return the variables of the demo's own lake; those of another do not reach it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
    return {
        **kept,
        "HEADRACE_LAKE": str(lake / "lake" / "lake.toml"),
        "HEADRACE_KAFKA_SERVERS": servers,
    }


def _settings(lake: Path) -> Settings:
    return Settings.load(env={}, path=lake / "lake" / "lake.toml")


def _quietly(console: Console) -> run.Say:
    return lambda text: console.print(text, style="dim", markup=False)


if __name__ == "__main__":
    sys.exit(main())
