"""Contenders whose cost is known beforehand."""

import sys
import time
from pathlib import Path

from benchmarks.harness import Rounds


def counts(*, folder: str, log: str, name: str) -> Rounds:
    """Write a line per round to a log shared with its peers."""
    (Path(folder) / "mine").touch()
    yield {}
    number = 0
    while True:
        with Path(log).open("a") as file:
            file.write(f"{name}{number}\n")
        number += 1
        yield {"number": number}


def burns(*, folder: str, cpu_s: float) -> Rounds:
    """Use CPU for a while, then wait as long."""
    sys.stdout.write(f"a library talks about {folder}\n")
    yield {}
    while True:
        began = time.process_time()
        while time.process_time() - began < cpu_s:
            pass
        time.sleep(cpu_s)
        yield {}


def holds(*, folder: str, mib: int) -> Rounds:
    """Hold memory in one round, and let it go."""
    yield {}
    while True:
        held = bytearray(mib << 20)
        held[::4096] = b"x" * len(held[::4096])
        yield {"bytes": len(held)}
        del held


def fails(*, folder: str) -> Rounds:
    """End before its time."""
    yield {}
    raise RuntimeError(folder)
