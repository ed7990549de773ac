"""Claim: on S3 and PostgreSQL compaction, loading and commits keep most of the speed of a local disk.

The store is versitygw over a folder of the same disk, and the catalog of commits a PostgreSQL server
from its wheel, both on this machine: they share its cores with what is measured. The peer is the
same work in the same run with a local warehouse and SQLite.
"""

import os
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from benchmarks.compaction import small_files
from benchmarks.harness import (
    Contender,
    Measured,
    Result,
    Rounds,
    Spent,
    declare_lake,
    measure,
    show,
)

if TYPE_CHECKING:
    from headrace.api import Lake

FILES = 100
LOADED_FILES = 50
COMMITS_PER_ROUND = 20
RATE_MIN = 0.6
LATENCY_MAX = 3.0
_SERVERS = ("HEADRACE_WAREHOUSE", "HEADRACE_S3_", "HEADRACE_CATALOG_URI")


def compacting(*, folder: str, remote: bool, files: int) -> Rounds:
    """Compact small files, from planning to the commit."""
    from headrace.maintenance.compaction.compact import compact

    with _open(folder, remote=remote, server=False) as lake:
        yield {}
        while True:
            table = small_files(lake, files=files)
            spent = Spent()
            done = compact(table)
            yield {**spent.figures(), "rows": done.rows}


def loading(*, folder: str, remote: bool, files: int) -> Rounds:
    """Read one epoch of a compacted table, shuffled, with the loader's default threads."""
    from headrace.datasets.files import FilePlan
    from headrace.loading import SampleLoader, Shuffle
    from headrace.maintenance.compaction.compact import compact
    from headrace.model_inputs.spec import FeatureSpec

    spec = FeatureSpec(
        dense=["propensity"], sparse=["user_id", "item_id", "position", "session_id", "campaign"]
    )
    with _open(folder, remote=remote, server=False) as lake:
        table = small_files(lake, files=files)
        compact(table)
        plan = FilePlan.of(table.head())
        yield {}
        while True:
            spent = Spent()
            with SampleLoader(plan, spec=spec, batch_size=4096, shuffle=Shuffle(seed=1)) as loader:
                rows = sum(batch.dense.shape[0] for batch in loader)
            yield {**spent.figures(), "rows": rows}


def committing(*, folder: str, remote: bool) -> Rounds:
    """Append one small file after the other; a commit begins when its file is written."""
    from benchmarks.commit_cost import rows
    from headrace.identifiers import TableName
    from headrace.tables.commits.operations import Provenance, append
    from headrace.tables.writer import write_batches

    with _open(folder, remote=remote, server=True) as lake:
        table = lake.create(TableName("raw", "impressions"), rows(0).schema)
        number = 0
        yield {}
        while True:
            took_s: list[float] = []
            for _ in range(COMMITS_PER_ROUND):
                files = write_batches(table, rows(number).to_batches())
                began = time.perf_counter()
                append(table, files, provenance=Provenance())
                took_s.append(time.perf_counter() - began)
                number += 1
            yield {"wall_ms": sorted(took_s)[len(took_s) // 2] * 1_000}


def run(*, quick: bool) -> list[Result]:
    """Measure each on both; `quick` a tenth, once."""
    shrink, rounds = (10, 1) if quick else (1, 3)
    with _servers():
        rates = {
            name: _both(name, rounds=rounds, files=count)
            for name, count in (
                ("compacting", FILES // shrink),
                ("loading", LOADED_FILES // shrink),
            )
        }
        commits = _both("committing", rounds=rounds)
    results = [_rate_result(name, *found) for name, found in rates.items()]
    local, remote = commits
    ours, theirs = remote.figure("wall_ms"), local.figure("wall_ms")
    return [
        *results,
        Result(
            claim="commit_on_s3",
            value=ours,
            unit="ms per commit on PostgreSQL and S3, median",
            peer=f"SQLite and a local disk, {theirs:.1f} ms",
            ratio=ours / theirs,
            target=f"ratio <= {LATENCY_MAX}",
            holds=ours <= LATENCY_MAX * theirs,
        ),
    ]


def _both(function: str, *, rounds: int, **arguments: int) -> tuple[Measured, Measured]:
    found = measure(
        [
            Contender(
                name=name,
                module=__name__,
                function=function,
                arguments={**arguments, "remote": name == "s3"},
            )
            for name in ("local", "s3")
        ],
        rounds=rounds,
    )
    show(function, [{"": each.name, **_shown(each)} for each in found.values()])
    return found["local"], found["s3"]


def _shown(measured: Measured) -> dict[str, object]:
    shown: dict[str, object] = {n: measured.figure(n) for n in measured.rounds[-1].figures}
    return {**shown, "CPU s, all of a round": measured.cpu_s}


def _rate_result(name: str, local: Measured, remote: Measured) -> Result:
    ours, theirs = (each.figure("rows") / each.figure("wall_s") for each in (remote, local))
    return Result(
        claim=f"{name}_on_s3",
        value=ours,
        unit="rows/s on S3",
        peer=f"a local disk, {theirs:,.0f} rows/s",
        ratio=theirs / ours,
        target=f"rows/s >= {RATE_MIN} of the peer's",
        holds=ours >= RATE_MIN * theirs,
    )


def _open(folder: str, *, remote: bool, server: bool) -> "Lake":
    from headrace.api import Lake
    from headrace.config import Settings

    env = {name: value for name, value in os.environ.items() if name.startswith(_SERVERS)}
    if not server:
        env.pop("HEADRACE_CATALOG_URI", None)
    if remote:
        env["HEADRACE_WAREHOUSE"] += f"/{Path(folder).parent.name}-{Path(folder).name}"
    return Lake.open(Settings.load(env=env if remote else {}, path=declare_lake(folder)))


@contextmanager
def _servers() -> Generator[None]:
    """Run the servers; their addresses and secrets are in the environment of the contenders."""
    from infra.launcher import postgres, run, s3
    from infra.launcher.cluster import Cluster

    with tempfile.TemporaryDirectory(prefix="headrace-bench-servers-") as made:
        cluster = Cluster(Path(made) / "cluster")
        servers = [postgres.Postgres(), s3.S3()]
        run.up(cluster, servers, say=lambda _: None)
        found = {
            "HEADRACE_CATALOG_URI": postgres.url(cluster).render_as_string(hide_password=False),
            "HEADRACE_WAREHOUSE": f"s3://{s3.BUCKET}/bench",
            "HEADRACE_S3_ENDPOINT": s3.endpoint(cluster),
            "HEADRACE_S3_ACCESS_KEY": s3.ACCESS_KEY,
            "HEADRACE_S3_SECRET_KEY": cluster.secret("s3"),
        }
        try:
            with mock.patch.dict(os.environ, found):
                yield
        finally:
            for each in reversed(servers):
                run.stop(cluster, each)
