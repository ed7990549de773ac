"""Figure: a sample build of 2M exposures and 8M feature rows on Trino beside DuckDB; no target.

Catalog, store and Trino run on this machine, one node with 1 GB a query, and share its cores with
DuckDB: the ratio says what the way through a server costs where one machine would do. Both build
seven days of the same tables on S3, from planning to the last commit, and must end with the same
rows. HEADRACE_CLUSTER_DIR names a running cluster to use; otherwise one is started.
"""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import pyarrow as pa

from benchmarks.harness import (
    Contender,
    Result,
    Rounds,
    Spent,
    declare_lake,
    measure,
    show,
    status_mib,
)

if TYPE_CHECKING:
    from headrace.api import Lake
    from headrace.definitions.sample_set import SampleSet
    from headrace.identifiers import TableName

EXPOSURES = 2_000_000
FEATURES = 8_000_000
ENTITIES = 100_000
_DAYS = 7
_LATE_OF = 20  # every so manieth feature row becomes known up to a day later
_DAY_US = 86_400 * 1_000_000
_START_US = 1_767_571_200_000_000
_TIME = pa.timestamp("us", tz="UTC")
_LOADED_ROWS = 500_000


def building(*, folder: str, engine: str, exposures: int, features: int) -> Rounds:
    """Fill a lake on S3, then build one sample table after the other."""
    from headrace.samples.build import build

    with _open(folder, engine=engine) as lake:
        _fill(lake, engine, exposures=exposures, features=features)
        number = 0
        yield {}
        while True:
            number += 1
            spent = Spent()
            done = build(lake, _sample_set(engine, f"built_{number}"))
            yield {**spent.figures(), "rows": done.rows, "server_mib": _server_mib()}


def run(*, quick: bool) -> list[Result]:
    """Measure both; `quick` a twentieth, once."""
    shrink, rounds = (20, 1) if quick else (1, 3)
    arguments = {"exposures": EXPOSURES // shrink, "features": FEATURES // shrink}
    with _servers():
        found = measure(
            [
                Contender(
                    name=engine,
                    module=__name__,
                    function="building",
                    arguments={**arguments, "engine": engine},
                )
                for engine in ("duckdb", "trino")
            ],
            rounds=rounds,
        )
    show(
        "samples on Trino",
        [
            {
                "engine": each.name,
                "wall s": each.figure("wall_s"),
                "peak MiB here": each.peak_rss_mib,
                "peak MiB of the server": each.figure("server_mib") * (each.name == "trino"),
                "rows": each.figure("rows"),
            }
            for each in found.values()
        ],
    )
    ours, theirs = (found[name].figure("wall_s") for name in ("trino", "duckdb"))
    return [
        Result(
            claim="samples_on_trino",
            value=ours,
            unit="s to build 7 days on Trino",
            peer=f"DuckDB, {theirs:.1f} s",
            ratio=ours / theirs,
            target="none; equal rows",
            holds=found["trino"].figure("rows") == found["duckdb"].figure("rows"),
        )
    ]


def _fill(lake: "Lake", space: str, *, exposures: int, features: int) -> None:
    from headrace.definitions.feature_view import FeatureView
    from headrace.identifiers import TableName

    view = FeatureView(view=TableName(space, "rates"), entity=("item",))
    random = np.random.default_rng(7)
    _append(lake, TableName(space, "shown"), exposures, random, properties={})
    said = {"headrace.feature_view": view.to_property()}
    _append(lake, TableName(space, "rates"), features, random, properties=said)


def _append(
    lake: "Lake",
    name: "TableName",
    rows: int,
    random: np.random.Generator,
    *,
    properties: dict[str, str],
) -> None:
    from headrace.tables.commits import operations
    from headrace.tables.commits.operations import Provenance
    from headrace.tables.writer import write_batches

    at = np.sort(random.integers(_START_US, _START_US + _DAYS * _DAY_US, rows))
    late = random.integers(1, _DAY_US, rows) * (np.arange(rows) % _LATE_OF == 0)
    columns: dict[str, pa.Array] = {
        "item": pa.array(random.integers(0, ENTITIES, rows)),
        "event_time": pa.array(at, _TIME),
    }
    if name.name == "shown":
        columns["shown_id"] = pa.array(np.char.mod("s%08d", np.arange(rows)))
    else:
        columns |= {"known_at": pa.array(at + late, _TIME), "rate": pa.array(random.random(rows))}
        columns["clicks"] = pa.array(random.integers(0, 1000, rows))
    whole = pa.table(columns)
    table = lake.create(
        name,
        whole.schema,
        partition_by=["day(event_time)"],
        properties=properties,
    )
    files = write_batches(table, whole.to_batches(max_chunksize=_LOADED_ROWS))
    operations.append(table, files, provenance=Provenance())


def _sample_set(space: str, name: str) -> "SampleSet":
    from headrace.definitions.sample_set import SampleSet

    return SampleSet.model_validate(
        {
            "samples": name,
            "table": f"{space}.{name}",
            "exposures": {"table": f"{space}.shown", "id": "shown_id", "entities": ["item"]},
            "features": [{"view": f"{space}.rates", "columns": ["rate", "clicks"]}],
        }
    )


def _open(folder: str, *, engine: str) -> "Lake":
    from headrace.api import Lake
    from headrace.config import Settings

    env = {key: value for key, value in os.environ.items() if key.startswith("HEADRACE_")}
    env["HEADRACE_ENGINE"] = engine
    found = Settings.load(env=env, path=declare_lake(folder))
    # each has a warehouse and a registry of its own; the catalog, which Trino knows, they share
    own = f"{found.warehouse_uri}/{Path(folder).parent.name}-{Path(folder).name}"
    return Lake.open(
        replace(
            found,
            registry_server=None,
            declared_warehouse=own,
            tables_also_in=(found.warehouse_uri,),
        )
    )


def _server_mib() -> float:
    """Return the most memory that the launcher's Trino ever held; 0 if another one is used."""
    return status_mib(os.environ.get("BENCH_TRINO_PID", ""), "VmHWM")


@contextmanager
def _servers() -> Generator[None]:
    """Run the servers; their addresses and secrets are in the environment of the contenders."""
    from infra.launcher import run
    from infra.launcher.cluster import Cluster
    from infra.launcher.exports import environment

    with tempfile.TemporaryDirectory(prefix="headrace-bench-servers-") as made:
        runs = "HEADRACE_CLUSTER_DIR" in os.environ
        cluster = Cluster.of_checkout() if runs else Cluster(Path(made) / "cluster")
        names = ("postgres", "s3", "trino")
        servers = [each for each in run.SERVERS if each.name in names]
        run.up(cluster, servers, say=lambda _: None)
        found = {**environment(cluster), "BENCH_TRINO_PID": str(cluster.pid("trino") or "")}
        try:
            with mock.patch.dict(os.environ, found):
                yield
        finally:
            for each in () if runs else reversed(servers):
                run.stop(cluster, each)
