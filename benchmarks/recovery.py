"""Claim: after SIGKILL, a restarted writer makes its next commit within seconds.

A process commits fenced appends in a loop. It is killed at a random moment and started again as
`python -m` would start it; what is timed runs from the kill to the first commit of its successor,
interpreter start and imports included. Rows and offsets are compared after every kill.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa

from benchmarks.harness import ROOT, Contender, Result, Rounds, declare_lake, measure, show
from headrace.api import Lake
from headrace.config import Settings
from headrace.identifiers import TableName
from headrace.tables.commits.operations import Fence, Provenance, append, offsets
from headrace.tables.writer import write_batches

NAME = TableName("raw", "events")
RECOVERY_S_MAX = 5.0
_POLL_S = 0.01


def killed(*, folder: str) -> Rounds:
    """Kill and start again, once a round."""
    file = declare_lake(folder)
    chance = random.Random(7)
    with Lake.open(Settings.load(env={}, path=file)) as lake:
        table = lake.create(NAME, pa.schema([("offset", pa.int64())]))
        writer = _start(file)
        yield {}
        try:
            while True:
                _wait_beyond(lake, table.head().snapshot_id)
                time.sleep(chance.uniform(0, 0.3))
                writer.send_signal(signal.SIGKILL)
                writer.wait()
                killed_at, last = time.monotonic(), table.head().snapshot_id
                writer = _start(file)
                _wait_beyond(lake, last)
                recovered_s = time.monotonic() - killed_at
                head = table.head()
                found = head.to_arrow().column("offset").to_pylist()
                assert sorted(found) == list(range(offsets(head, "log")["log"]))
                yield {"recovered_s": recovered_s}
        finally:
            writer.kill()
            writer.wait()


def run(*, quick: bool) -> list[Result]:
    """Kill 12 times; `quick` twice."""
    contender = Contender(name="killed", module=__name__, function="killed")
    rounds = measure([contender], rounds=2 if quick else 12)["killed"].rounds
    times = sorted(one.figures["recovered_s"] for one in rounds)
    middle, worst = times[len(times) // 2], times[-1]
    show(
        "seconds from SIGKILL to the next commit",
        [{"": "median", "s": middle}, {"": "worst", "s": worst}],
    )
    return [
        Result(
            claim="recovery",
            value=worst,
            unit=f"s from SIGKILL to the first new commit, worst of {len(times)}",
            peer=f"the limit, {RECOVERY_S_MAX} s",
            ratio=worst / RECOVERY_S_MAX,
            target=f"value <= {RECOVERY_S_MAX}",
            holds=worst <= RECOVERY_S_MAX,
        )
    ]


def _start(file: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "benchmarks.recovery", str(file)]
    return subprocess.Popen(command, cwd=ROOT, env=dict(os.environ))


def _wait_beyond(lake: Lake, snapshot_id: int | None) -> None:
    while lake.table(NAME).head().snapshot_id == snapshot_id:
        time.sleep(_POLL_S)


def _write_forever(file: Path) -> None:
    with Lake.open(Settings.load(env={}, path=file)) as lake:
        table = lake.table(NAME)
        while True:
            at = offsets(table.head(), "log").get("log", 0)
            batch = pa.record_batch({"offset": list(range(at, at + 100))})
            fence = Fence(key="log", expected={"log": at} if at else {}, offsets={"log": at + 100})
            files = write_batches(table, [batch])
            append(table, files, provenance=Provenance(), fence=fence)


if __name__ == "__main__":
    _write_forever(Path(sys.argv[1]))
