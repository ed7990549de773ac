"""Claim: a commit on PostgreSQL takes at most three times a commit on SQLite; four processes make 100 a minute.

Each append adds one file of 1,000 rows to a local warehouse; catalog and registry are SQLite files,
or one PostgreSQL server of this machine that syncs every commit. The four processes append to a
table each, as fast as they can.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commit_cost import appends_to, rows
from benchmarks.harness import (
    Contender,
    Measured,
    Result,
    Rounds,
    declare_lake,
    measure,
    show,
)

if TYPE_CHECKING:
    from headrace.config import Settings

RATIO_MAX = 3.0
PROCESSES, PER_MINUTE_MIN = 4, 100
_DATABASES = ("sqlite", "postgresql")


def appends(*, folder: str, catalog_file: str = "") -> Rounds:
    """Append to one table; `catalog_file` holds the address of the catalog, if it is on a server."""
    from headrace.api import Lake
    from headrace.identifiers import TableName

    with Lake.open(_settings(folder, catalog_file)) as lake:
        table = lake.create(TableName("raw", Path(folder).name), rows(0).schema)
        yield from appends_to(table)


def run(*, quick: bool) -> list[Result]:
    """Measure 1,000 appends of each in turn, then a minute of four processes; `quick` a tenth."""
    with _server() as (first, second):
        contenders = [
            Contender(name="sqlite", module=__name__, function="appends"),
            Contender(
                name="postgresql",
                module=__name__,
                function="appends",
                arguments={"catalog_file": first},
            ),
        ]
        found = measure(contenders, rounds=2 if quick else 20)
        seconds = 6 if quick else 60
        commits = _at_once(second, seconds=seconds)
    show("ms per append of 1,000 rows", [_row(found[name]) for name in _DATABASES])
    here, there = (found[name].figure("wall_ms") for name in _DATABASES)
    per_minute = commits * 60 / seconds
    show(f"{PROCESSES} processes at once", [{"": "postgresql", "commits a minute": per_minute}])
    return [
        Result(
            claim="commit_cost_servers",
            value=there,
            unit="ms per append, catalog and registry on PostgreSQL",
            peer=f"SQLite, {here:.0f} ms",
            ratio=there / here,
            target=f"ratio <= {RATIO_MAX}",
            holds=there <= RATIO_MAX * here,
        ),
        Result(
            claim="commits_per_minute_on_postgresql",
            value=per_minute,
            unit=f"commits a minute from {PROCESSES} processes on {PROCESSES} tables",
            peer=f"{PER_MINUTE_MIN} a minute",
            ratio=PER_MINUTE_MIN / per_minute,
            target="ratio <= 1",
            holds=per_minute >= PER_MINUTE_MIN,
        ),
    ]


def _at_once(catalog_file: str, *, seconds: float) -> int:
    """Let processes append to a table each; count the commits of all."""
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder,
        ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool,
    ):
        tasks = [
            pool.submit(_append_for, folder, catalog_file, number, seconds)
            for number in range(PROCESSES)
        ]
        return sum(task.result() for task in tasks)


def _append_for(shared: str, catalog_file: str, number: int, seconds: float) -> int:
    from headrace.api import Lake
    from headrace.identifiers import TableName
    from headrace.tables.commits.operations import Provenance, append
    from headrace.tables.writer import write_batches

    own = Path(shared) / f"host_{number}"
    own.mkdir()
    settings = _settings(str(own), catalog_file, warehouse=f"{shared}/warehouse")
    with Lake.open(settings) as lake:
        table = lake.create(TableName("raw", own.name), rows(0).schema)
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            data = rows(count)
            append(table, write_batches(table, data.to_batches()), provenance=Provenance())
            count += 1
        return count


def _settings(folder: str, catalog_file: str, *, warehouse: str = "") -> "Settings":
    from headrace.config import Settings

    env = {}
    if catalog_file:
        env["HEADRACE_CATALOG_URI_FILE"] = catalog_file
        env["HEADRACE_WAREHOUSE"] = warehouse or f"{folder}/warehouse"
    return Settings.load(env=env, path=declare_lake(folder))


@contextmanager
def _server() -> Generator[tuple[str, str]]:
    """Run PostgreSQL; yield files with the addresses of two empty databases."""
    import sqlalchemy as sa

    from infra.launcher import run as launcher
    from infra.launcher.cluster import Cluster, write_private
    from infra.launcher.postgres import Postgres, url

    with tempfile.TemporaryDirectory(prefix="headrace-bench-postgres-") as made:
        cluster, server = Cluster(Path(made) / "cluster"), Postgres()
        launcher.up(cluster, [server], say=lambda _: None)
        try:
            files: list[str] = []
            engine = sa.create_engine(url(cluster), isolation_level="AUTOCOMMIT")
            for name in ("one", "two"):
                with engine.connect() as connection:
                    connection.exec_driver_sql(f"create database {name}")
                address = url(cluster, database=name).render_as_string(hide_password=False)
                write_private(Path(made) / name, address)
                files.append(str(Path(made) / name))
            engine.dispose()
            yield files[0], files[1]
        finally:
            launcher.stop(cluster, server)


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "wall, median": measured.figure("wall_ms"),
        "CPU of the client, median": measured.figure("cpu_ms"),
        "peak RSS MiB": measured.peak_rss_mib,
    }
