"""The time and what it is counted from have one home."""

import re
from pathlib import Path

from headrace import clock
from tests.conftest import ROOT

_ELSEWHERE = re.compile(r"time_ns\(\) // 1_000_000|date(?:time)?\(1970, 1, 1")


def test_no_other_module_reads_milliseconds_or_spells_the_epoch() -> None:
    home = Path(clock.__file__)
    paths = {path for room in ("headrace", "demo") for path in (ROOT / room).rglob("*.py")}
    assert [path for path in paths - {home} if _ELSEWHERE.search(path.read_text())] == []
