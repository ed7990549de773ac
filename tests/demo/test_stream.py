"""What the streaming demo says of its streams, and of processes that do not end well."""

import os
import signal
from pathlib import Path

import pytest

from demo.stream import StreamDemoError, Verdict, ended_well

WHOLE = {"sent": 10, "malformed": 1, "consumed": 10, "rows": 9, "dead_letters": 1, "audited": True}


@pytest.mark.parametrize(
    ("changed", "lost", "doubled"),
    [
        ({"rows": 8}, 1, 0),
        ({"rows": 10}, 0, 1),
        ({"consumed": 9}, 0, 0),
        ({"audited": False}, 0, 0),
        ({"rows": 8, "dead_letters": 2}, 0, 0),
    ],
)
def test_whatever_is_not_as_sent_is_not_exact(
    changed: dict[str, int], lost: int, doubled: int
) -> None:
    assert Verdict(stream="s", **WHOLE).exact  # pyright: ignore[reportArgumentType]
    found = Verdict(stream="s", **WHOLE | changed)  # pyright: ignore[reportArgumentType]
    assert (found.exact, found.lost, found.doubled) == (False, lost, doubled)


def test_a_service_that_is_killed_is_named_with_its_log(tmp_path: Path) -> None:
    """And one that is asked to end may end: the demo waits for it."""
    with (
        pytest.raises(StreamDemoError) as raised,
        ended_well("follow", ["sleep", "60"], dict(os.environ), tmp_path) as process,
    ):
        process.send_signal(signal.SIGKILL)
    assert (raised.value.part, raised.value.log) == ("follow", tmp_path / "follow.log")
    assert process.poll() == -signal.SIGKILL
