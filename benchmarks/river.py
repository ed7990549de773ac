"""Claim: the cost of the whole pipeline, in CPU-seconds per million impressions, does not grow with size.

A simulated week of 1M and of 5M impressions goes through every stage, from landed files to one epoch
of training batches; making the traffic is not counted. Each stage runs once, in a process of its
own that has its imports behind it, right after its physical limit on the same data (see
`river_limits`). Landed files keep their size, so five times the traffic is five times the files and
commits. What a run costs whatever its size (starting dbt, its tests, seven days of queries) does
weigh less on 5M: read the growth beside what each further million costs, which leaves that out.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Contender, Measured, Result, measure, show

STAGES = ("ingest", "features", "compaction", "samples", "publish", "epoch")
SIZES = (1_000_000, 5_000_000)
FILES_PER_MILLION = 24  # per stream; 42,000 impressions per file
GROWTH_MAX = 1.1
_QUICK_SIZES = (20_000, 60_000)
_QUICK_FILES_PER_MILLION = 300
_NO_BOUND = "none: shown beside its limit"
_LIMITS = {
    "ingest": "pyarrow decode of the same files and one Parquet write",
    "features": "plain rewrite of the raw rows",
    "compaction": "plain read, concatenate, write of the same files",
    "samples": "leaky asof of the same exposures and views, no labels",
    "publish": "plain read of the sample files",
    "epoch": "plain decode of the same columns",
}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of one size, beside its limit."""

    name: str
    impressions: int
    ours: Measured
    limit: Measured

    @property
    def price(self) -> float:
        """CPU-seconds per million simulated impressions."""
        return self.ours.cpu_s * 1e6 / self.impressions

    @property
    def limit_price(self) -> float:
        """The same of the limit."""
        return self.limit.cpu_s * 1e6 / self.impressions


def run(*, quick: bool) -> list[Result]:
    """Measure both sizes; `quick` takes 20,000 and 60,000 impressions."""
    files_per_million = _QUICK_FILES_PER_MILLION if quick else FILES_PER_MILLION
    small, large = (
        flow(size, files=files_per_million * size // 1_000_000)
        for size in (_QUICK_SIZES if quick else SIZES)
    )
    growth = _total(large) / _total(small)
    for stages in (small, large):
        show(
            f"CPU s per million impressions, at {stages[0].impressions:,}",
            [*map(_row, stages), _sum_row(stages)],
        )
    show("growth", [_growth_row(*pair) for pair in zip(small, large, strict=True)])
    further = sum(map(_further_million, small, large))
    print(f"growth of the sum: {growth:.3f}; each further million: {further:.2f} CPU s")
    return [
        *(_result(stage) for stage in large),
        Result(
            claim="river",
            value=_total(large),
            unit=f"CPU s per million impressions, at {large[0].impressions:,}, all stages",
            peer=f"sum of the limits, {_limits(large):.2f} s",
            ratio=_total(large) / _limits(large),
            target=_NO_BOUND,
            holds=True,
        ),
        Result(
            claim="river_growth",
            value=_total(large),
            unit=f"CPU s per million impressions, at {large[0].impressions:,}, all stages",
            peer=f"at {small[0].impressions:,}, {_total(small):.2f} s",
            ratio=growth,
            target=f"ratio <= {GROWTH_MAX}",
            holds=growth <= GROWTH_MAX,
        ),
    ]


def flow(impressions: int, *, files: int) -> tuple[Stage, ...]:
    """Take one simulated week through all stages, each once."""
    from headrace.simulate.plan import SimulationPlan
    from headrace.simulate.run import simulate

    with tempfile.TemporaryDirectory(prefix="headrace-river-") as scratch:
        lake = Path(scratch) / "week"
        simulate(lake, SimulationPlan(impressions=impressions, seed=1, files_per_stream=files))
        return tuple(_stage(name, impressions, lake) for name in STAGES)


def _stage(name: str, impressions: int, lake: Path) -> Stage:
    contenders = [
        Contender(
            name=f"{name} {kind}",
            module=f"benchmarks.river_{kind}",
            function=name,
            arguments={"lake": str(lake)},
        )
        for kind in (
            "limits",
            "stages",
        )  # in this order: compaction changes the files that later stages read
    ]
    found = measure(contenders, rounds=1)
    limit, ours = found[contenders[0].name], found[contenders[1].name]
    done = Stage(name=name, impressions=impressions, ours=ours, limit=limit)
    facts = f"{done.price:.2f} CPU s a million, limit {done.limit_price:.2f}"
    print(f"{impressions:,} impressions  {name}: {facts}", file=sys.stderr, flush=True)
    return done


def _result(stage: Stage) -> Result:
    return Result(
        claim=f"river_{stage.name}",
        value=stage.price,
        unit=f"CPU s per million impressions, at {stage.impressions:,}",
        peer=f"{_LIMITS[stage.name]}, {stage.limit_price:.2f} s",
        ratio=stage.price / stage.limit_price,
        target=_NO_BOUND,
        holds=True,
    )


def _total(stages: Sequence[Stage]) -> float:
    return sum(stage.price for stage in stages)


def _limits(stages: Sequence[Stage]) -> float:
    return sum(stage.limit_price for stage in stages)


def _row(stage: Stage) -> dict[str, object]:
    ours, limit = stage.ours, stage.limit
    return {
        "": stage.name,
        "rows": int(ours.figure("rows")),
        "headrace": stage.price,
        "limit": stage.limit_price,
        "ratio": stage.price / stage.limit_price,
        "wall s": ours.wall_s,
        "peak RSS MiB": ours.peak_rss_mib,
        "limit's rows": int(limit.figure("rows")),
        "limit's RSS MiB": limit.peak_rss_mib,
    }


def _sum_row(stages: Sequence[Stage]) -> dict[str, object]:
    return {
        "": "sum",
        "rows": "",
        "headrace": _total(stages),
        "limit": _limits(stages),
        "ratio": _total(stages) / _limits(stages),
        "wall s": sum(stage.ours.wall_s for stage in stages),
        "peak RSS MiB": max(stage.ours.peak_rss_mib for stage in stages),
        "limit's rows": "",
        "limit's RSS MiB": max(stage.limit.peak_rss_mib for stage in stages),
    }


def _further_million(small: Stage, large: Stage) -> float:
    more = large.impressions - small.impressions
    return (large.ours.cpu_s - small.ours.cpu_s) * 1e6 / more


def _growth_row(small: Stage, large: Stage) -> dict[str, object]:
    return {
        "": small.name,
        f"at {small.impressions:,}": small.price,
        f"at {large.impressions:,}": large.price,
        "each further million": _further_million(small, large),
        "growth": large.price / small.price,
        "limit's growth": large.limit_price / small.limit_price,
        "RSS growth": large.ours.peak_rss_mib / small.ours.peak_rss_mib,
    }
