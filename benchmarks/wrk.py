"""Runs `wrk` against a server: POSTs bodies of JSON in turn over some connections, as fast as answers come."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
local bodies = {{
{bodies}
}}
local at = 0
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
function request()
  at = at % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[at])
end
function done(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format('FOUND {{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, ' ..
    '"refused": %d, "broken": %d}}\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed.status,
    failed.connect + failed.read + failed.write + failed.timeout))
end
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a run found: `refused` counts answers with an error's status, `broken` those that never came."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def per_s(self) -> float:
        """Requests answered a second."""
        return self.requests / self.seconds


def load(url: str, bodies: Sequence[object], *, seconds: int, connections: int = 2) -> Load:
    """Ask for some seconds.

    Raises:
        AssertionError: If `wrk` is not installed, or fails.

    """
    program = shutil.which("wrk")
    if program is None:
        msg = "install Debian's package wrk"
        raise AssertionError(msg)
    with tempfile.TemporaryDirectory(prefix="headrace-wrk-") as scratch:
        script = Path(scratch) / "script.lua"
        texts = ",\n".join(f"[==[{json.dumps(body)}]==]" for body in bodies)
        script.write_text(_SCRIPT.format(bodies=texts))
        size = ("-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s")
        done = subprocess.run(
            [program, *size, "-s", str(script), url], capture_output=True, text=True, check=False
        )
    found = re.search(r"^FOUND (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise AssertionError(done.stdout + done.stderr)
    return Load(**json.loads(found[1]))
