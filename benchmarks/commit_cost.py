"""Claim: the cost of a commit does not depend on earlier commits; plain PyIceberg's grows with each.

Each append adds one file of 1,000 rows. The peer is `Table.append` of the same rows with PyIceberg's
defaults. Writing the file is part of both; imports and creating the table are part of neither.
"""

import contextlib
import statistics
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from benchmarks.harness import Contender, Measured, Result, Rounds, measure, open_lake, show

if TYPE_CHECKING:
    from headrace.tables.lake import LakeTable

ROWS = 1_000
APPENDS_PER_ROUND = 50
RATIO_MAX = 0.05
GROWTH_MAX = 1.3


def rows(seed: int) -> pa.Table:
    """One append's worth of impressions."""
    start = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=seed)
    schema = pa.schema(
        [
            pa.field("impression_id", pa.string(), nullable=False),
            pa.field("event_time", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("item_id", pa.int64(), nullable=False),
            pa.field("position", pa.int32(), nullable=False),
            pa.field("propensity", pa.float64()),
        ]
    )
    columns = [
        [f"{seed}/{row}" for row in range(ROWS)],
        [start + timedelta(milliseconds=row) for row in range(ROWS)],
        [(row * 7919 + seed) % 500 for row in range(ROWS)],
        [row % 8 + 1 for row in range(ROWS)],
        [1 / (row % 50 + 1) for row in range(ROWS)],
    ]
    return pa.table(columns, schema=schema)


def appends_to(table: "LakeTable") -> Rounds:
    """Write and append 1,000 rows at a time to a table that has the columns of `rows`."""
    from headrace.tables.commits.operations import Provenance, append
    from headrace.tables.writer import write_batches

    number = 0
    yield {}
    while True:
        block = Block()
        for _ in range(APPENDS_PER_ROUND):
            data = rows(number)
            with block.one():
                append(table, write_batches(table, data.to_batches()), provenance=Provenance())
            number += 1
        yield block.figures()


def headrace(*, folder: str) -> Rounds:
    """Append through the committer."""
    from headrace.identifiers import TableName

    with open_lake(folder) as lake:
        table = lake.create(TableName("raw", "impressions"), rows(0).schema)
        yield from appends_to(table)


def pyiceberg(*, folder: str) -> Rounds:
    """Append as PyIceberg's documentation does."""
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog(
        "plain", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}"
    )
    catalog.create_namespace("raw")
    table = catalog.create_table("raw.impressions", rows(0).schema)
    number = 0
    yield {}
    while True:
        block = Block()
        for _ in range(APPENDS_PER_ROUND):
            data = rows(number)
            with block.one():
                table.append(data)
            number += 1
        yield block.figures()


def run(*, quick: bool) -> list[Result]:
    """Measure 1,000 appends of each in turn, then 5,000 of ours; `quick` measures 100 and 200."""
    return [*_beside_pyiceberg(rounds=2 if quick else 20), _flat(rounds=4 if quick else 100)]


def _beside_pyiceberg(*, rounds: int) -> list[Result]:
    contenders = [
        Contender(name="headrace", module=__name__, function="headrace"),
        Contender(name="pyiceberg", module=__name__, function="pyiceberg"),
    ]
    found = measure(contenders, rounds=rounds)
    ours, plain = found["headrace"], found["pyiceberg"]
    show(f"CPU ms per append of {ROWS:,} rows", [_row(ours), _row(plain)])
    late, theirs = ours.rounds[-1].figures["cpu_ms"], plain.rounds[-1].figures["cpu_ms"]
    return [
        Result(
            claim="commit_cost",
            value=late,
            unit=f"CPU ms per append, last {APPENDS_PER_ROUND} of {rounds * APPENDS_PER_ROUND:,}",
            peer=f"plain PyIceberg, {theirs:.0f} ms",
            ratio=late / theirs,
            target=f"ratio <= {RATIO_MAX}",
            holds=late <= RATIO_MAX * theirs,
        )
    ]


def _flat(*, rounds: int) -> Result:
    """Compare the last two blocks with the second and third: by then the process is warm."""
    ours = Contender(name="headrace", module=__name__, function="headrace")
    blocks = [one.figures["cpu_ms"] for one in measure([ours], rounds=rounds)["headrace"].rounds]
    early, late = statistics.median(blocks[1:3]), statistics.median(blocks[-2:])
    shown = sorted({1, 2, rounds // 4, rounds // 2, 3 * rounds // 4, rounds - 2, rounds - 1})
    show(
        f"CPU ms per append of {ROWS:,} rows, by the appends before it",
        [{"": "headrace", **{f"{at * APPENDS_PER_ROUND:,}": blocks[at] for at in shown}}],
    )
    count = rounds * APPENDS_PER_ROUND
    return Result(
        claim="commit_cost_flat",
        value=late,
        unit=f"CPU ms per append, median of {count - 2 * APPENDS_PER_ROUND:,} to {count:,}",
        peer=f"appends 50 to 150 of the same table, {early:.1f} ms",
        ratio=late / early,
        target=f"ratio <= {GROWTH_MAX}",
        holds=late <= GROWTH_MAX * early,
    )


class Block:
    """Times the appends of one round, each on its own."""

    def __init__(self) -> None:
        self._cpu_s: list[float] = []
        self._wall_s: list[float] = []

    @contextlib.contextmanager
    def one(self) -> Generator[None]:
        """Time one append."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._cpu_s.append(time.process_time() - cpu)
        self._wall_s.append(time.perf_counter() - wall)

    def figures(self) -> dict[str, float]:
        """The median append of the round."""
        return {
            "cpu_ms": statistics.median(self._cpu_s) * 1_000,
            "wall_ms": statistics.median(self._wall_s) * 1_000,
        }


def _row(measured: Measured) -> dict[str, object]:
    blocks = {
        f"{at * APPENDS_PER_ROUND + 1}-{(at + 1) * APPENDS_PER_ROUND}": one.figures["cpu_ms"]
        for at, one in enumerate(measured.rounds)
        if at in (0, 2, 9) or at == len(measured.rounds) - 1
    }
    return {
        "": measured.name,
        **blocks,
        "median": measured.figure("cpu_ms"),
        "wall ms, median": measured.figure("wall_ms"),
        "peak RSS MiB": measured.peak_rss_mib,
    }
