"""Figure: the whole pipeline on PostgreSQL and S3, by DuckDB and by Trino, beside one disk; no target.

One simulated week goes through every stage in three places: on a local disk with SQLite, on
PostgreSQL and S3 with DuckDB, and there with Trino, which computes models and samples. Each stage
runs once and by turns in the three, in processes that have their imports behind them. The servers run
on this machine and share its cores, so wall time is compared, which counts their work too. All
three must publish the same content hash.
"""

import os
import tempfile
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import river_stages
from benchmarks.harness import Contender, Measured, Result, measure, show
from benchmarks.river import FILES_PER_MILLION, STAGES

IMPRESSIONS = 400_000
LOCAL, DUCKDB, TRINO = "local", "servers, DuckDB", "servers, Trino"
_QUICK, _QUICK_FILES = 20_000, 6
_SERVERS = ("postgres", "s3", "trino")


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What one week cost at each place, stage by stage, and the hash of what it published there."""

    stages: Mapping[str, Mapping[str, Measured]]
    hashes: Mapping[str, str]

    @property
    def agrees(self) -> bool:
        """Whether all places published the same content."""
        return len(set(self.hashes.values())) == 1

    def wall_s(self, place: str) -> float:
        """Return the duration of all stages at a place."""
        return sum(measured[place].wall_s for measured in self.stages.values())


def run(*, quick: bool) -> list[Result]:
    """Measure 400,000 impressions; `quick` takes 20,000."""
    size = _QUICK if quick else IMPRESSIONS
    files = _QUICK_FILES if quick else FILES_PER_MILLION * size // 1_000_000
    with _servers() as places:
        found = flow(size, files=files, places=places)
    show(f"wall s by stage, {size:,} impressions", [*_rows(found), _sum_row(found)])
    print("content hashes:", dict(found.hashes))
    return [
        result
        for place in (DUCKDB, TRINO)
        for result in (*_stages(found, place), _whole(found, place, impressions=size))
    ]


def flow(impressions: int, *, files: int, places: Mapping[str, Mapping[str, str]]) -> Flow:
    """Take one simulated week through all stages at each place: a name, and its variables."""
    from headrace.simulate.plan import SimulationPlan
    from headrace.simulate.run import simulate

    with tempfile.TemporaryDirectory(prefix="headrace-river-") as scratch:
        lake = Path(scratch) / "week"
        simulate(lake, SimulationPlan(impressions=impressions, seed=1, files_per_stream=files))
        # what a place keeps on this host lies apart from the state of the others
        envs = {
            place: {**env, "HEADRACE_STATE_DIR": str(Path(scratch) / place.replace(", ", "-"))}
            for place, env in places.items()
        }
        return Flow(
            stages={stage: _stage(stage, lake, envs) for stage in STAGES},
            hashes={place: _content_hash(lake, env) for place, env in envs.items()},
        )


def _stage(name: str, lake: Path, envs: Mapping[str, Mapping[str, str]]) -> dict[str, Measured]:
    contenders = [
        Contender(
            name=place,
            module=river_stages.__name__,
            function=name,
            arguments={"lake": str(lake), "env": dict(env)},
        )
        for place, env in envs.items()
    ]
    return measure(contenders, rounds=1)


def _content_hash(lake: Path, env: Mapping[str, str]) -> str:
    from headrace.api import Lake
    from headrace.datasets.versions import find_lockfile

    with Lake.open(river_stages.settings_of(str(lake), env)) as opened:
        return find_lockfile(opened, river_stages.SAMPLE_SET).content_hash


@contextmanager
def _servers() -> Generator[dict[str, dict[str, str]]]:
    """Run the servers; yield the places, of which DuckDB's has a database and a prefix of its own."""
    import sqlalchemy as sa

    from infra.launcher import postgres, run, s3
    from infra.launcher.cluster import Cluster, write_private
    from infra.launcher.exports import environment

    with tempfile.TemporaryDirectory(prefix="headrace-bench-servers-") as made:
        runs = "HEADRACE_CLUSTER_DIR" in os.environ
        cluster = Cluster.of_checkout() if runs else Cluster(Path(made) / "cluster")
        servers = [each for each in run.SERVERS if each.name in _SERVERS]
        other = f"other_{uuid.uuid4().hex[:12]}"
        run.up(cluster, servers, say=lambda _: None)
        try:
            found = environment(cluster)
            engine = sa.create_engine(postgres.url(cluster), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql(f"create database {other}")
            engine.dispose()
            uri = postgres.url(cluster, database=other).render_as_string(hide_password=False)
            write_private(Path(made) / "other", uri)
            apart = {
                "HEADRACE_CATALOG_URI_FILE": str(Path(made) / "other"),
                "HEADRACE_WAREHOUSE": f"s3://{s3.BUCKET}/{other}",
                "HEADRACE_ENGINE": "duckdb",
            }
            yield {
                LOCAL: {},
                DUCKDB: {**found, **apart},
                TRINO: {**found, "HEADRACE_ENGINE": "trino"},
            }
        finally:
            for each in () if runs else reversed(servers):
                run.stop(cluster, each)


def _rows(found: Flow) -> list[dict[str, object]]:
    return [
        {"": stage, **{place: each.wall_s for place, each in measured.items()}}
        for stage, measured in found.stages.items()
    ]


def _sum_row(found: Flow) -> dict[str, object]:
    return {"": "sum", **{place: found.wall_s(place) for place in found.hashes}}


def _stages(found: Flow, place: str) -> Sequence[Result]:
    return [
        _result(
            f"river_on_{_engine(place)}_{stage}",
            measured[place].wall_s,
            measured[LOCAL].wall_s,
            unit=f"s of wall time for {stage}, {place}",
            agrees=found.agrees,
        )
        for stage, measured in found.stages.items()
    ]


def _whole(found: Flow, place: str, *, impressions: int) -> Result:
    return _result(
        f"river_on_{_engine(place)}",
        found.wall_s(place),
        found.wall_s(LOCAL),
        unit=f"s of wall time for all stages, {impressions:,} impressions, {place}",
        agrees=found.agrees,
    )


def _result(claim: str, value: float, local: float, *, unit: str, agrees: bool) -> Result:
    return Result(
        claim=claim,
        value=value,
        unit=unit,
        peer=f"one disk, SQLite and DuckDB, {local:.1f} s",
        ratio=value / local,
        target="none; equal content hashes",
        holds=agrees,
    )


def _engine(place: str) -> str:
    return "trino" if place == TRINO else "servers"
