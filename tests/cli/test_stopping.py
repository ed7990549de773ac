"""A signal ends what goes on for ever, whatever the main thread is doing at that moment."""

import subprocess
import sys

from tests.waiting import WAIT_S

# the signal comes where `Event.wait` has the event's lock, for some instructions
BEGINNING_TO_WAIT = """
import signal
import threading

from headrace.cli.stopping import stopping

waits = threading.Condition.wait


def told_meanwhile(condition, timeout=None):
    threading.Condition.wait = waits
    signal.raise_signal(signal.SIGTERM)
    return waits(condition, timeout)


with stopping() as stop:
    threading.Condition.wait = told_meanwhile
    print(stop.wait())
"""

# a second signal comes while the first one's handler runs
TWICE = """
import signal
import threading

from headrace.cli.stopping import stopping

wakes = threading.Condition.notify_all


def told_again(condition):
    threading.Condition.notify_all = wakes
    signal.raise_signal(signal.SIGINT)
    wakes(condition)


with stopping() as stop:
    threading.Condition.notify_all = told_again
    signal.raise_signal(signal.SIGTERM)
    print(stop.wait())
"""


def test_a_signal_ends_a_wait_that_begins_at_that_moment() -> None:
    assert said_by(BEGINNING_TO_WAIT) == "True\n"


def test_a_second_signal_may_come_with_the_first() -> None:
    assert said_by(TWICE) == "True\n"


def said_by(program: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=WAIT_S,  # without an end it would wait for itself for ever
    )
    return ended.stdout
