"""Claim: the cost of a merge depends on the files, not on the keys; PyIceberg's `upsert` grows with every key.

A table of 100,000 rows gets 3,000 rows of a two-column key: half change a row, half are new. The peer
is `Table.upsert` of the same rows into the same table. Both start each round from a new table, and
the results are compared row by row. Imports and creating the table are not measured.
"""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from benchmarks.harness import Contender, Measured, Result, Rounds, Spent, measure, open_lake, show

ROWS = 100_000
KEYS = 3_000
RATIO_MAX = 1 / 40
_ITEMS = 1_000
_START = datetime(2026, 1, 5, tzinfo=UTC)
_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.int64(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("event_time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("clicks", pa.int32()),
        pa.field("propensity", pa.float64()),
    ]
)


def rows(numbers: np.ndarray, *, clicks: int) -> pa.Table:
    """Rows whose key is made of their number."""
    start_us = int(_START.timestamp()) * 1_000_000
    columns = [
        pa.array(numbers // _ITEMS),
        pa.array([f"item {number % _ITEMS}" for number in numbers]),
        pa.array(start_us + numbers * 1_000).cast(pa.timestamp("us", tz="UTC")),
        pa.array(np.full(len(numbers), clicks, np.int32)),
        pa.array(1 / (numbers % 50 + 1)),
    ]
    return pa.table(columns, schema=_SCHEMA)


def before() -> pa.Table:
    """The table's rows."""
    return rows(np.arange(ROWS), clicks=0)


def merged(keys: int, seed: int) -> pa.Table:
    """The rows to merge: half of them have a key of `before`, in no order."""
    draw = np.random.default_rng(seed)
    known = draw.choice(ROWS, keys // 2, replace=False)
    new = ROWS + draw.choice(ROWS, keys - keys // 2, replace=False)
    numbers = np.concatenate([known, new])
    return rows(draw.permutation(numbers), clicks=1)


def headrace(*, folder: str, keys: int) -> Rounds:
    """Merge through the committer."""
    from headrace.dml.merge import merge
    from headrace.identifiers import TableName
    from headrace.tables.commits.operations import Provenance, append
    from headrace.tables.writer import write_batches

    with open_lake(folder) as lake:
        yield {}
        number = 0
        while True:
            table = lake.create(TableName("raw", f"round_{number}"), _SCHEMA)
            append(table, write_batches(table, before().to_batches()), provenance=Provenance())
            new = merged(keys, seed=number)
            spent = Spent()
            merge(table, new, key=["user_id", "item_id"], provenance=Provenance())
            figures = spent.figures()
            yield {**figures, **_facts(table.head().to_arrow())}
            number += 1


def pyiceberg(*, folder: str, keys: int) -> Rounds:
    """Upsert as PyIceberg's documentation does."""
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog(
        "plain", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}"
    )
    catalog.create_namespace("raw")
    yield {}
    number = 0
    while True:
        table = catalog.create_table(f"raw.round_{number}", _SCHEMA)
        table.append(before())
        new = merged(keys, seed=number)
        spent = Spent()
        table.upsert(new, join_cols=["user_id", "item_id"])
        figures = spent.figures()
        yield {**figures, **_facts(table.scan().to_arrow())}
        number += 1


def run(*, quick: bool) -> list[Result]:
    """Measure three merges of each; `quick` measures one, of a tenth of the keys.

    Raises:
        AssertionError: If the results differ.

    """
    keys = KEYS // 10 if quick else KEYS
    contenders = [
        Contender(name=name, module=__name__, function=name, arguments={"keys": keys})
        for name in ("headrace", "pyiceberg")
    ]
    found = measure(contenders, rounds=1 if quick else 3)
    ours, plain = found["headrace"], found["pyiceberg"]
    refuse_differences(ours, plain)
    show(
        f"CPU s to merge {keys:,} keys of two columns into {ROWS:,} rows", [_row(ours), _row(plain)]
    )
    ratio = ours.figure("cpu_s") / plain.figure("cpu_s")
    return [
        Result(
            claim="merge",
            value=ours.figure("cpu_s"),
            unit=f"CPU s per merge of {keys:,} composite keys into {ROWS:,} rows",
            peer=f"PyIceberg upsert, {plain.figure('cpu_s'):.1f} s",
            ratio=ratio,
            target=f"ratio <= {RATIO_MAX}",
            holds=ratio <= RATIO_MAX,
        )
    ]


def refuse_differences(one: Measured, other: Measured) -> None:
    """Compare the results of each round.

    Raises:
        AssertionError: Naming the round.

    """
    for number, (ours, theirs) in enumerate(zip(one.rounds, other.rounds, strict=True)):
        for name in ("rows", "changed", "hash"):
            if ours.figures[name] != theirs.figures[name]:
                msg = f"round {number}: the tables differ in `{name}`"
                raise AssertionError(msg)


def _facts(table: pa.Table) -> dict[str, float]:
    """Describe what a merge left, with 48 bits of a hash of the rows in order of their keys."""
    ordered = table.sort_by([("user_id", "ascending"), ("item_id", "ascending")])
    text = str(ordered.cast(_SCHEMA).to_pydict())
    return {
        "rows": table.num_rows,
        "changed": sum(table.column("clicks").to_pylist()),
        "hash": int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest()),
    }


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "CPU s, median": measured.figure("cpu_s"),
        "fastest": min(one.figures["cpu_s"] for one in measured.rounds),
        "wall s, median": measured.figure("wall_s"),
        "peak RSS MiB": measured.peak_rss_mib,
    }
