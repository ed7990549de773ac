"""How many rows a job left out because they came after the moment to which they belong was over."""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote as in_url

from headrace.flink.client import JobManager

_METRIC = "numLateRecordsDropped"
# the least place of rows of one key, and nothing else, tells which is the first; its column may have no name.
# What is late there repeats one that came before
_REPEATS = re.compile(r"\[([0-9]+)\]:OverAggregate\(.*, MIN\([^()]*\) AS w0\$o0\]\)")


@dataclass(frozen=True, kw_only=True)
class Late:
    """Rows that a job left out.

    Args:
        rows: Those that would have counted.
        repeats: Those of a key that came before, known no later by their own word.
        since_ms: When the first of its present tasks started that counts them; 0 if none does.

    """

    rows: int
    repeats: int
    since_ms: int


def late_rows(manager: JobManager, job_id: str) -> Late:
    """Ask a job's tasks, which count from zero each time that they start.

    Raises:
        FlinkUnavailableError: If Flink does not answer.
        FlinkRefusedError: If it does not know the job.

    """
    job = manager.ask(f"/jobs/{job_id}")
    told_apart = {
        number
        for node in job["plan"]["nodes"]
        for line in str(node["description"]).split("<br/>")
        for number in _REPEATS.findall(line)
    }
    rows = repeats = 0
    started: list[int] = []
    for vertex in job["vertices"]:
        path = f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics"
        listed: Any = manager.ask(path)
        names = [str(each["id"]) for each in listed if _METRIC in str(each["id"])]
        started += [int(vertex["start-time"])] if names else []
        for name in names:
            values: Any = manager.ask(f"{path}?get={in_url(name, safe='')}")
            found = sum(int(each["sum"]) for each in values)
            if told_apart.isdisjoint(re.findall(r"[0-9]+", name)):
                rows += found
            else:
                repeats += found
    return Late(rows=rows, repeats=repeats, since_ms=min(started, default=0))
