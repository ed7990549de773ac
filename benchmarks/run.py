"""`python -m benchmarks.run all|<claim>`: measure claims and say which of them hold."""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Result, record

_NOT_CLAIMS = {
    "kafka_followed",
    *("__init__", "harness", "kafka_topics", "river_limits", "river_stages", "run"),
    *("feature_server", "feast_server", "flink_servers", "flink_traffic", "flink_views", "wrk"),
}


def claims() -> list[str]:
    """List every claim: the modules of this folder that measure one."""
    names = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(name for name in names if name not in _NOT_CLAIMS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 0 if all claims hold, 1 if not. A quick run proves nothing and is always 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("claim", choices=["all", *claims()])
    parser.add_argument(
        "--quick", action="store_true", help="smaller sizes, nothing recorded: does it run at all?"
    )
    options = parser.parse_args(arguments)
    failed: list[Result] = []
    for name in claims() if options.claim == "all" else [options.claim]:
        results: list[Result] = importlib.import_module(f"benchmarks.{name}").run(
            quick=options.quick
        )
        if not options.quick:
            record(name, results)
            failed += [result for result in results if not result.holds]
    for result in failed:
        print(f"does not hold: {result.claim}: {result.value:.4g} {result.unit}, {result.target}")
    return 1 if failed else 0


if __name__ == "__main__":
    # so that one that is ended stops its servers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
