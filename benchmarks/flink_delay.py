"""Claim: a click is in live samples, and in a window view's rows, within 8 s, and online 3 s after that.

Exposures and clicks come into two topics, and are taken into tables by `ingest run --follow` with a commit each
second. Jobs of Flink with a checkpoint every 5 s follow these tables: one writes live samples, one a window view
of the clicks with tiles of a second, which `online follow` publishes. A click is visible when the first snapshot of
the samples that has it is seen; the delay of a feature begins at the end of its tile. Each publication says how old the
commit was that it brought online. Everything shares the cores.
"""

import json
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.flink_servers import command, lake_on, wait_for
from benchmarks.flink_traffic import PER_S, Named, Seen, added_rows, declare, producing, watching
from benchmarks.harness import Result, show
from headrace.api import Lake
from headrace.definitions.stream import COORDINATES
from headrace.engines.open import open_engine
from headrace.flink.live_samples import live_samples
from headrace.flink.sample_job import SampleJob
from headrace.flink.view_job import ViewJob
from headrace.identifiers import TableName, quote
from headrace.samples.window_rows import rows_sql
from infra.launcher.cluster import Cluster

SAMPLE_S_MAX, FEATURE_S_MAX, ONLINE_S_MAX = 8.0, 8.0, 3.0
CHECKPOINT_S = 5
_FAR_US = 1 << 60


@dataclass(frozen=True, kw_only=True)
class Delays:
    """What was measured, in seconds: `events` is from a click to its row in its stream's table."""

    events: tuple[float, ...]
    samples: tuple[float, ...]
    features: tuple[float, ...]
    online: tuple[float, ...]


def run(*, quick: bool) -> list[Result]:
    """Measure for a minute; `quick` for ten seconds."""
    from tests.flink.servers import flink_servers

    with flink_servers() as cluster:
        found = measured(cluster, seconds=10 if quick else 60)
    show(
        f"seconds until visible, {PER_S} exposures and clicks a second",
        [
            {"": name, "count": len(values), "p50": statistics.median(values), "p95": _p95(values)}
            for name, values in vars(found).items()
        ],
    )
    about = f"events committed each second, {_p95(found.events):.2f} s after them, checkpoints every {CHECKPOINT_S} s"
    return [
        _result("flink_sample_delay", found.samples, SAMPLE_S_MAX, f"clicks, {about}"),
        _result(
            "flink_feature_delay",
            found.features,
            FEATURE_S_MAX,
            f"rows, from the end of their tile, {about}",
        ),
        _result(
            "flink_feature_online",
            found.online,
            ONLINE_S_MAX,
            "publications, from the commit of a window view's rows to their values in SQLite",
        ),
    ]


def measured(cluster: Cluster, *, seconds: int) -> Delays:
    """Let exposures and clicks come for some seconds, once all that follows them runs."""
    with (
        TemporaryDirectory(prefix="headrace-delay-") as made,
        lake_on(cluster.folder, Path(made)) as lake,
        ExitStack() as stack,
    ):
        folder = Path(made)
        names = declare(lake, cluster)
        clicks: dict[str, float] = {}
        stack.enter_context(producing(cluster, names, clicks))
        for stream in (names.shown, names.taps):
            words = ("ingest", "run", stream.name, "--follow", "--every-s", "1")
            stack.enter_context(command(cluster.folder, folder, *words))
        for stream in (names.shown, names.taps):
            wait_for(lambda s=stream: lake.table(s.table).head().row_count > 0, what="an event")
        for job in (SampleJob(lake, live_samples(lake, names.samples)), ViewJob(lake, names.view)):
            job.begin_again()
            stack.callback(job.manager.cancel, job.owner.jobs[-1])
        words = ("online", "follow", str(names.view.table), "--output", "json")
        stack.enter_context(command(cluster.folder, folder, *words))
        tables = (names.live, names.view.table, names.taps.table)
        for table in tables:
            wait_for(lambda t=table: lake.table(t).head().row_count > 0, what=f"a row of {table}")
        wait_for(lambda: bool(_online(folder)), what="a value online")
        time.sleep(2 * CHECKPOINT_S)  # what came while all that started is caught up with
        with watching(lake, tables) as seen:
            begun_s, published = time.time(), len(_online(folder))
            time.sleep(seconds)
            ended_s = time.time()
            time.sleep(4 * CHECKPOINT_S)
        online = tuple(_online(folder)[published:])
        return _delays(lake, names, seen, clicks, online=online, span=(begun_s, ended_s))


def _delays(
    lake: Lake,
    names: Named,
    seen: dict[TableName, Seen],
    clicks: dict[str, float],
    *,
    online: tuple[float, ...],
    span: tuple[float, float],
) -> Delays:
    """Compare what was to come with when it was seen; what is missing is an error."""
    begun_s, ended_s = span
    wanted = {key: at_s for key, at_s in clicks.items() if begun_s <= at_s < ended_s}
    first: dict[object, float] = {}
    for at_s, row in added_rows(lake, names.live, seen[names.live], columns=("sample_id", "tap")):
        if row["tap"] == 1:
            first[row["sample_id"]] = min(at_s, first.get(row["sample_id"], at_s))
    there: dict[object, float] = {}
    taps = names.taps.table
    for at_s, row in added_rows(lake, taps, seen[taps], columns=("shown_id",)):
        there[row["shown_id"]] = min(at_s, there.get(row["shown_id"], at_s))
    view, columns = names.view.table, ("u", "event_time")
    rows = {
        (row["u"], row["event_time"].timestamp()): at_s
        for at_s, row in added_rows(lake, view, seen[view], columns=columns)
    }
    ends = {each for each in _ends(lake, names) if begun_s <= each[1] < ended_s}
    late = [key for key in wanted if first.get(key, float("inf")) == float("inf")]
    missing = [each for each in ends if rows.get(each, float("inf")) == float("inf")]
    if late or missing or not ends:
        msg = f"{len(late)} of {len(wanted)} clicks and {len(missing)} of {len(ends)} features were not seen"
        raise RuntimeError(msg)
    return Delays(
        events=tuple(there[key] - at_s for key, at_s in wanted.items()),
        samples=tuple(first[key] - at_s for key, at_s in wanted.items()),
        features=tuple(rows[each] - each[1] for each in ends),
        online=online,
    )


def _ends(lake: Lake, names: Named) -> set[tuple[object, float]]:
    """Compute by the lake's engine which rows the view has: entity and end of a tile."""
    name = str(names.taps.table)
    with open_engine(lake.settings) as engine:
        engine.bind(name, lake.table(names.taps.table).head())
        sql = rows_sql(
            names.view,
            ".".join(map(quote, name.split("."))),
            COORDINATES.names[:3],
            dialect=engine.dialect,
            after_us=0,
            until_us=_FAR_US,
        )
        found = engine.query(sql).read_all().select(["u", "event_time"]).to_pylist()
    return {(row["u"], row["event_time"].timestamp()) for row in found}


def _online(folder: Path) -> list[float]:
    """Read how old each commit was when its values were online, in seconds."""
    log = folder / "online.log"
    lines = log.read_text().splitlines() if log.exists() else []
    said = [json.loads(each) for each in lines if each.startswith("{")]
    return [float(each["behind_s"]) for each in said if "behind_s" in each]


def _result(claim: str, values: Sequence[float], limit: float, about: str) -> Result:
    value = _p95(values)
    return Result(
        claim=claim,
        value=value,
        unit=f"s at the 95th percentile of {len(values):,} {about}",
        peer="the limit",
        ratio=value / limit,
        target=f"value <= {limit:g}",
        holds=value <= limit,
    )


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[18]
