"""Claim: compaction is as fast as copying the rows, and needs no more memory for a larger partition.

500 small files of five days become one file per day. The peer reads the same files with pyarrow,
concatenates the tables of a day and writes them with the same writer settings, without planning,
verification, commit or fsync. Both start each round from new files; writing these is not measured.

For memory, one partition of more rows than fit into the limit is compacted, packed and sorted; the
peak memory of its process is reported, imports included.
"""

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from benchmarks.harness import Contender, Measured, Result, Rounds, Spent, measure, open_lake, show

if TYPE_CHECKING:
    from headrace.api import Lake
    from headrace.tables.lake import LakeTable

FILES = 500
DAYS = 5
ROWS_PER_FILE = 8_000
LARGE_FILES = 80
LARGE_ROWS_PER_FILE = 250_000
RATE_MIN = 0.85
RSS_MIB_MAX = 1024
_DAY_US = 86_400 * 1_000_000
_START_US = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 1_000_000
_SCHEMA = pa.schema(
    [
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("event_time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("known_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("user_id", pa.int64(), nullable=False),
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("item_id", pa.int64(), nullable=False),
        pa.field("position", pa.int32()),
        pa.field("campaign", pa.string()),
        pa.field("propensity", pa.float64()),
        pa.field("_source_offset", pa.int64(), nullable=False),
    ]
)


def rows(*, file: int, day: int, count: int) -> pa.RecordBatch:
    """The rows of one file: in the order they came, users and sessions as they happen."""
    draw = np.random.default_rng(file)
    numbers = np.arange(count) + file * count
    users = draw.integers(0, 200_000, count)
    event_us = _START_US + day * _DAY_US + np.sort(draw.integers(0, _DAY_US, count))
    times = pa.timestamp("us", tz="UTC")
    return pa.record_batch(
        [
            pa.array([f"sim/{number}" for number in numbers]),
            pa.array(event_us).cast(times),
            pa.array(event_us + draw.integers(0, 9_000_000, count)).cast(times),
            pa.array(users),
            pa.array([f"s{user}-{file % 7}" for user in users]),
            pa.array(draw.zipf(1.5, count) % 5_000),
            pa.array(draw.integers(1, 9, count, dtype=np.int32)),
            pa.array(np.array(["home", "search", "mail"])[draw.integers(0, 3, count)]),
            pa.array(1 / (draw.integers(1, 50, count))),
            pa.array(numbers),
        ],
        schema=_SCHEMA,
    )


def headrace(*, folder: str, files: int) -> Rounds:
    """Compact, from planning to the commit."""
    from headrace.maintenance.compaction.compact import compact

    with open_lake(folder) as lake:
        yield {}
        while True:
            table = small_files(lake, files=files)
            spent = Spent()
            compact(table)
            figures = spent.figures()
            version = table.head()
            paths = [file.path for file in version.files()]
            yield {**figures, **_facts(paths)}


def pyarrow(*, folder: str, files: int) -> Rounds:
    """Read the files of a day, put them together, write them; nothing else."""
    import pyarrow.parquet as pq

    from headrace.iceberg.standard_properties import DICTIONARY_PAGE_BYTES, ROWS_PER_ROW_GROUP
    from headrace.tables.encoding import dictionary_columns

    with open_lake(folder) as lake:
        yield {}
        while True:
            table = small_files(lake, files=files)
            days: dict[object, list[str]] = {}
            for file in table.head().files():
                days.setdefault(file.partition, []).append(file.path)
            repeating = dictionary_columns(pq.read_table(table.head().files()[0].path))
            spent = Spent()
            made: list[str] = []
            for number, paths in enumerate(days.values()):
                together = pa.concat_tables([pq.read_table(p, partitioning=None) for p in paths])
                made.append(f"{folder}/{number}.parquet")
                pq.write_table(
                    together,
                    made[-1],
                    compression="zstd",
                    use_dictionary=repeating,
                    write_page_checksum=True,
                    dictionary_pagesize_limit=DICTIONARY_PAGE_BYTES,
                    store_schema=False,
                    row_group_size=ROWS_PER_ROW_GROUP,
                )
            yield {**spent.figures(), **_facts(made)}


def large(*, folder: str, files: int, rows_per_file: int, sorts: bool) -> Rounds:
    """Compact one partition that does not fit into memory."""
    from headrace.maintenance.compaction.bins import CompactionPolicy, Strategy
    from headrace.maintenance.compaction.compact import compact
    from headrace.tables.commits.operations import Provenance, append
    from headrace.tables.writer import write_batches

    sort = CompactionPolicy(strategy=Strategy.SORT, sort_by=("user_id", "event_time"))
    pack = CompactionPolicy(strategy=Strategy.PACK)
    with open_lake(folder) as lake:
        table = _table(lake)
        made = [
            file
            for number in range(files)
            for file in write_batches(table, [rows(file=number, day=0, count=rows_per_file)])
        ]
        append(table, made, provenance=Provenance())
        yield {}
        while True:  # one round: a second one would find nothing to do
            spent = Spent()
            done = compact(table, policy=sort if sorts else pack)
            yield {**spent.figures(), "rows": done.rows, "files": done.files_after}


def run(*, quick: bool) -> list[Result]:
    """Measure five compactions of each, and one of each large partition; `quick` a tenth, once.

    Raises:
        AssertionError: If the two wrote different rows.

    """
    shrink = 10 if quick else 1
    small = {"files": FILES // shrink}
    found = measure(
        [
            Contender(name=name, module=__name__, function=name, arguments=small)
            for name in ("headrace", "pyarrow")
        ],
        rounds=1 if quick else 5,
    )
    ours, plain = found["headrace"], found["pyarrow"]
    refuse_differences(ours, plain)
    count = FILES // shrink * ROWS_PER_FILE
    show(f"compacting {FILES // shrink} files of {count:,} rows", [_row(ours), _row(plain)])
    big = {"files": LARGE_FILES // shrink, "rows_per_file": LARGE_ROWS_PER_FILE}
    memory = [
        measure(
            [Contender(name=n, module=__name__, function="large", arguments={**big, "sorts": s})],
            rounds=1,
        )[n]
        for n, s in (("packed", False), ("sorted", True))
    ]
    show(
        f"one partition of {LARGE_FILES // shrink * LARGE_ROWS_PER_FILE:,} rows",
        [_row(each) for each in memory],
    )
    rate = plain.figure("wall_s") / ours.figure("wall_s")
    return [
        Result(
            claim="compaction",
            value=count / ours.figure("wall_s"),
            unit=f"rows/s of {FILES // shrink} small files",
            peer=f"pyarrow read, concat and write, {count / plain.figure('wall_s'):,.0f} rows/s",
            ratio=1 / rate,
            target=f"rows/s >= {RATE_MIN} of the peer's",
            holds=rate >= RATE_MIN,
        ),
        *(
            Result(
                claim=f"compaction_memory_{each.name}",
                value=each.peak_rss_mib,
                unit=f"MiB at most, for a partition of {each.figure('rows'):,.0f} rows",
                peer=f"limit of {RSS_MIB_MAX} MiB",
                ratio=each.peak_rss_mib / RSS_MIB_MAX,
                target=f"<= {RSS_MIB_MAX} MiB",
                holds=each.peak_rss_mib <= RSS_MIB_MAX,
            )
            for each in memory
        ),
    ]


def refuse_differences(one: Measured, other: Measured) -> None:
    """Compare what each round wrote.

    Raises:
        AssertionError: Naming the round.

    """
    for number, (ours, theirs) in enumerate(zip(one.rounds, other.rounds, strict=True)):
        for name in ("rows", "files", "hash"):
            if ours.figures[name] != theirs.figures[name]:
                msg = f"round {number}: what they wrote differs in `{name}`"
                raise AssertionError(msg)


def _facts(paths: list[str]) -> dict[str, float]:
    """Count the rows of some files, and hash two of their columns in whatever order they are in."""
    import pyarrow.parquet as pq

    columns = ["impression_id", "_source_offset"]
    together = pa.concat_tables(
        [pq.read_table(path, columns=columns, partitioning=None) for path in paths]
    ).sort_by("_source_offset")
    digest = hashlib.sha256()
    for column in together.columns:
        for chunk in column.combine_chunks().buffers():
            digest.update(chunk or b"")
    return {
        "rows": together.num_rows,
        "files": len(paths),
        "hash": int(digest.hexdigest()[:12], 16),
    }


def _table(lake: "Lake") -> "LakeTable":
    from headrace.identifiers import TableName

    name = TableName("raw", f"round_{len(lake.names())}")
    return lake.create(name, _SCHEMA, partition_by=["day(event_time)"])


def small_files(lake: "Lake", *, files: int) -> "LakeTable":
    """Make a table of that many small files of some days."""
    from headrace.tables.commits.operations import Provenance, append
    from headrace.tables.writer import write_batches

    table = _table(lake)
    made = [
        file
        for number in range(files)
        for file in write_batches(
            table, [rows(file=number, day=number % DAYS, count=ROWS_PER_FILE)]
        )
    ]
    append(table, made, provenance=Provenance())
    return table


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "wall s": measured.figure("wall_s"),
        "CPU s": measured.figure("cpu_s"),
        "rows/s": measured.figure("rows") / measured.figure("wall_s"),
        "files": int(measured.figure("files")),
        "peak RSS MiB": measured.peak_rss_mib,
    }
