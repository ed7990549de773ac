"""Small Parquet tables for loader tests, and what their rows are."""

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.datasets.files import FilePlan, PlannedFile
from headrace.loading import Batch, Shuffle
from headrace.loading.plan import Remainder


class Options(TypedDict, total=False):
    """Arguments of a loader that tests vary."""

    shuffle: Shuffle | None
    epoch: int
    rank: int
    world_size: int
    threads: int
    remainder: Remainder | None
    canonical_splits: int | None
    days: Collection[dt.date] | None


FIRST_DAY = dt.date(2019, 11, 24)


def sample_table(rows: int, *, first: int = 0) -> pa.Table:
    """Rows `first` and on; each value is a function of the row's number `n`."""
    n = np.arange(first, first + rows)
    lists = [[int(i) * 10 + j for j in range(int(i) % 4)] for i in n]
    return pa.table(
        {
            "n": pa.array(n, pa.int64()),
            "sample_id": pa.array([f"s{i}" for i in n]),
            "ctr": pa.array(n / 8, pa.float64()),
            "position": pa.array(n % 3, pa.int32()),
            "campaign": pa.array([["all", "men", "women"][i % 3] for i in n]),
            "recent": pa.array(lists, pa.list_(pa.int64())),
            "tags": pa.array([[f"t{i % 5}"] * (i % 3) for i in n], pa.list_(pa.string())),
            "click": pa.array(n % 2, pa.int32()),
            "keep_rate": pa.array(np.where(n % 2, 1.0, 0.25)),
        }
    )


def write_file(
    path: Path, table: pa.Table, *, row_groups: Sequence[int], day: int = 0
) -> PlannedFile:
    """Write one data file with row groups of these sizes, and plan it."""
    with pq.ParquetWriter(path, table.schema, write_page_checksum=True) as writer:
        at = 0
        for rows in row_groups:
            writer.write_table(table.slice(at, rows), row_group_size=max(rows, 1))
            at += rows
    return PlannedFile(
        path=str(path),
        rows=table.num_rows,
        row_group_rows=tuple(row_groups),
        bytes=path.stat().st_size,
        partition=((FIRST_DAY + dt.timedelta(days=day)).isoformat(),),
    )


def write_plan(folder: Path, files: Sequence[Sequence[int]]) -> FilePlan:
    """One file a day, its rows numbered on from the day before; `files` are row-group sizes."""
    planned: list[PlannedFile] = []
    first = 0
    for day, row_groups in enumerate(files):
        table = sample_table(sum(row_groups), first=first)
        planned.append(
            write_file(folder / f"{day:03d}.parquet", table, row_groups=row_groups, day=day)
        )
        first += table.num_rows
    return FilePlan(tuple(planned))


def numbers(batches: Sequence[Batch]) -> list[list[int]]:
    """The row numbers of each batch (the spec's first sparse column must be `n`)."""
    return [batch.sparse["n"].tolist() for batch in batches]


def flat(batches: Iterable[list[int]]) -> list[int]:
    """Batches end to end."""
    return list(itertools.chain.from_iterable(batches))
