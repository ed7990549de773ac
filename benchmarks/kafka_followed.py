"""A topic that a service follows, for benchmarks: its lake, its process, its commits, and the audit in the end."""

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import ROOT, declare_lake
from benchmarks.kafka_topics import FIELDS

if TYPE_CHECKING:
    from headrace.config import Settings

_COMMIT = re.compile(r"of \d+ partitions in ([0-9.]+) s$")


def declare(folder: Path, servers: str, topic: str, *, cadence_s: int) -> Path:
    """Declare a lake below a folder with one stream, named like its topic; return its file."""
    file = declare_lake(str(folder), profile=f'kafka_servers = "{servers}"\n')
    stream = {
        "stream": topic,
        "table": f"raw.{topic}",
        "source": {"kafka": {"topic": topic}},
        "format": "json",
        "event_time": "at",
        "allowed_lateness": "24h",
        "commit": {"every": f"{cadence_s}s"},
        "fields": FIELDS,
    }
    (file.parent / "streams").mkdir()
    (file.parent / "streams" / f"{topic}.yaml").write_text(json.dumps(stream))  # is YAML too
    return file


def start(file: Path, topic: str, log: Path) -> "subprocess.Popen[bytes]":
    """Follow the topic in a process of its own, which writes to a log."""
    command = (str(Path(sys.executable).with_name("headrace")), "ingest", "run", topic, "--follow")
    with log.open("ab") as out:
        environment = {**os.environ, "HEADRACE_LAKE": str(file)}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)


def commits_s(log: Path) -> list[float]:
    """Return how long each commit took, as the service's log says."""
    found = map(_COMMIT.search, log.read_text().splitlines())
    return [float(each[1]) for each in found if each]


def audited(settings: "Settings", topic: str) -> tuple[int, bool]:
    """Return how many events are rows or dead letters, and whether each offset is there once."""
    from headrace.api import Lake
    from headrace.definitions.load import load_streams
    from headrace.ingest.audit import plan_audit, run_audit

    with Lake.open(settings) as lake:
        done = run_audit(lake, plan_audit(lake, load_streams(settings)[topic]))
    taken = sum(each.rows + each.dead_letters for each in done.partitions)
    return taken, done.error() is None


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, between the values next to it."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
