"""Measure contenders side by side: own processes, interleaved rounds, medians, one JSON line.

A contender is a generator function in a benchmark module. Up to its first `yield` it prepares; from
then on each `yield` ends one round and hands over what that round found, a flat dict of numbers.
It runs in its own process and is resumed round by round, alternating with its peers, so that noise
on the machine affects all of them.
"""

import importlib
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.api import Lake

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MIB = 1024 * 1024
Rounds = Generator[dict[str, float], None, None]


class ContenderFailedError(Exception):
    """A contender's process ended before its time; its own message is on stderr."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What to run: a generator function by module and name, its arguments, its interpreter.

    `arguments` must be JSON; a folder of its own is added as `folder` and removed afterwards.
    """

    name: str
    module: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    python: str = sys.executable


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of one contender."""

    cpu_s: float
    wall_s: float
    peak_rss_mib: float  # of the process, up to the end of this round
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All rounds of one contender."""

    name: str
    rounds: tuple[Round, ...]

    @property
    def cpu_s(self) -> float:
        """The median CPU time of a round, all threads and ended children together."""
        return statistics.median(one.cpu_s for one in self.rounds)

    @property
    def wall_s(self) -> float:
        """The median duration of a round."""
        return statistics.median(one.wall_s for one in self.rounds)

    @property
    def peak_rss_mib(self) -> float:
        """The most memory its process ever held, imports included."""
        return self.rounds[-1].peak_rss_mib

    def figure(self, name: str) -> float:
        """The median of a figure the contender found itself."""
        return statistics.median(one.figures[name] for one in self.rounds)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure of a claim beside its peer; `ratio` is value to peer, smaller is better."""

    claim: str
    value: float
    unit: str
    peer: str
    ratio: float
    target: str
    holds: bool


def measure(contenders: Sequence[Contender], *, rounds: int) -> dict[str, Measured]:
    """Run `rounds` rounds of every contender in turn; every other round in reverse order.

    Raises:
        ContenderFailedError: If one of them fails; the others are stopped.

    """
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as scratch:
        started: list[_Process] = []
        found: dict[str, list[Round]] = {one.name: [] for one in contenders}
        try:
            for one in contenders:
                folder = Path(scratch) / one.name
                folder.mkdir()
                started.append(_Process(one, folder))
            for number in range(rounds):
                for process in started if number % 2 == 0 else reversed(started):
                    found[process.name].append(process.round())
                    _say(f"round {number + 1}/{rounds}  {process.name}")
        finally:
            for process in started:
                process.stop()
    return {name: Measured(name=name, rounds=tuple(done)) for name, done in found.items()}


def show(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table; all rows have the same columns."""
    columns = list(rows[0])
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    print(f"\n{title}")
    for line in cells:
        first, *others = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join((first, *others)).rstrip())


def record(name: str, results: Sequence[Result], *, folder: Path = RESULTS) -> None:
    """Print one JSON line per result and replace `results/<name>.json` by them."""
    about = machine()
    lines = [json.dumps({**_rounded(asdict(result)), "machine": about}) for result in results]
    print("\n".join(lines))
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f"{name}.json.tmp"
    written.write_text("\n".join(lines) + "\n", encoding="utf-8")
    written.replace(folder / f"{name}.json")


class Spent:
    """Times what a round does after some preparation, instead of the whole round."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figures(self) -> dict[str, float]:
        """CPU and wall time up to now."""
        cpu_s, wall_s = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return {"cpu_s": cpu_s, "wall_s": wall_s}


def declare_lake(folder: str, *, profile: str = "") -> Path:
    """Declare a new lake below a contender's folder, with default settings but those of `profile`."""
    file = Path(folder) / "lake" / "lake.toml"
    file.parent.mkdir()
    file.write_text(f'profile = "local"\n[profiles.local]\n{profile}')
    return file


def open_lake(folder: str) -> "Lake":
    """Declare and open a new lake below a contender's folder."""
    from headrace.api import Lake
    from headrace.config import Settings

    return Lake.open(Settings.load(env={}, path=declare_lake(folder)))


def machine() -> dict[str, object]:
    """Say what the numbers were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        named = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def peak_rss_mib() -> float:
    """Peak memory of this process since it started its program.

    Avoids `ru_maxrss` where possible: on Linux it starts with the peak of the parent process.
    """
    told = status_mib("self", "VmHWM")
    if told:
        return told
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024


def status_mib(pid: int | str, size: str) -> float:
    """Return a size that Linux tells of a process, such as `VmRSS`, in MiB; 0 where it tells none."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(rf"{size}:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) / 1024 if found else 0.0


def process_cpu_s(pid: int) -> float:
    """Return the CPU time that Linux says a process has used, without children that go on."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Process:
    """A contender's process, on the parent's side."""

    def __init__(self, contender: Contender, folder: Path) -> None:
        self.name = contender.name
        arguments = json.dumps({**contender.arguments, "folder": str(folder)})
        command = [contender.python, "-m", "benchmarks.harness"]
        command += [contender.module, contender.function, arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        self._read()

    def round(self) -> Round:
        assert self._process.stdin is not None
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        return Round(**self._read())

    def stop(self) -> None:
        """Let the contender clean up and end."""
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            msg = f"contender `{self.name}` failed; see above"
            raise ContenderFailedError(msg)
        return json.loads(line)


def _serve(module: str, function: str, arguments: str) -> None:
    """Be a contender: prepare, then one round for each line read."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of a library must not be parsed as a result
    start: Callable[..., Rounds] = getattr(importlib.import_module(module), function)
    rounds = start(**json.loads(arguments))
    try:
        next(rounds)
        print("{}", file=answers, flush=True)
        for _ in sys.stdin:
            wall, cpu = time.perf_counter(), _cpu_s()
            figures = next(rounds)
            spent = {
                "cpu_s": _cpu_s() - cpu,
                "wall_s": time.perf_counter() - wall,
                "peak_rss_mib": peak_rss_mib(),
                "figures": figures,
            }
            print(json.dumps(spent), file=answers, flush=True)
    finally:
        rounds.close()


def _cpu_s() -> float:
    """CPU time so far, user and system, of this process and of children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rounded(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        key: float(f"{value:.4g}") if isinstance(value, float) else value
        for key, value in facts.items()
    }


if __name__ == "__main__":
    _serve(*sys.argv[1:])
