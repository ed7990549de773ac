"""Claim: ingesting a large gzip CSV takes at most 1 / 0.7 of what `pyarrow.csv` needs to read the same file.

1 GB of text in one file: ids, times, whole numbers, prices and a few words. Ours is a run of `ingest`:
the file is read to its end before its first commit, so that a damaged one is refused whole; values are
checked against the contract, written to Parquet and committed. The peer reads the file to Arrow in
memory, and keeps nothing. Memory is that of the process, imports included, as of an installation
without extras: pyarrow imports pandas wherever it finds it, and neither of both needs it.
"""

import gzip
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path

import numpy as np

from benchmarks.harness import Contender, Measured, Result, Rounds, declare_lake, measure, show

ROWS = 15_000_000
RATIO_MAX = 1 / 0.7
MEMORY_MIB_MAX = 300.0
_BLOCK_ROWS = 500_000
_DAY = np.datetime64("2026-03-01T00:00:00", "ms")
_FIELDS = {
    "impression_id": {"type": "string", "required": True},
    "event_time": {"type": "timestamptz", "required": True},
    "user_id": {"type": "long"},
    "item_id": {"type": "long"},
    "price": {"type": "double"},
    "clicked": {"type": "int"},
    "segment": {"type": "string"},
}


def headrace(*, rows: int, file: str, folder: str) -> Rounds:
    """Take the file once more in each round, by another name."""
    sys.meta_path.insert(0, _NoPandas())
    from headrace.api import Lake
    from headrace.config import Settings
    from headrace.definitions.stream import Stream
    from headrace.ingest.run import ingest

    stream = Stream.model_validate(
        {
            "stream": "impressions",
            "table": "raw.impressions",
            "source": {"files": "impressions/*.csv.gz", "compression": "gzip"},
            "format": "csv",
            "event_time": "event_time",
            "known_at": {"after_event": "0s"},
            "partition_by": ["day(event_time)"],
            "fields": _FIELDS,
        }
    )
    settings = Settings.load(env={}, path=declare_lake(folder))
    landing = settings.data_dir / "impressions"
    landing.mkdir(parents=True)
    with Lake.open(settings) as lake:
        yield {}
        number = 0
        while True:
            os.link(file, landing / f"{number}.csv.gz")
            done = ingest(lake, stream)
            yield {"rows": done.rows, "commits": done.commits}
            number += 1


def pyarrow_csv(*, rows: int, file: str, folder: str) -> Rounds:
    """Read it as pyarrow's documentation does, with all of its threads."""
    sys.meta_path.insert(0, _NoPandas())
    import pyarrow.csv

    yield {}
    while True:
        yield {"rows": pyarrow.csv.read_csv(file).num_rows, "commits": 0}


class _NoPandas(MetaPathFinder):
    """Finds no pandas, as where it is not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        _ = path, target
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def run(*, quick: bool) -> list[Result]:
    """Measure three rounds of each; `quick` reads a hundredth of the rows, twice."""
    rows = ROWS // 100 if quick else ROWS
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        file = Path(folder) / "impressions.csv.gz"
        size = write(file, rows=rows)
        arguments = {"rows": rows, "file": str(file)}
        contenders = [
            Contender(name=name, module=__name__, function=name, arguments=arguments)
            for name in ("headrace", "pyarrow_csv")
        ]
        found = measure(contenders, rounds=2 if quick else 3)
    ours, plain = found["headrace"], found["pyarrow_csv"]
    show(f"{rows:,} rows, {size / 1e6:,.0f} MB of text as gzip", [_row(ours), _row(plain)])
    same = ours.figure("rows") == plain.figure("rows") == rows
    ratio = ours.wall_s / plain.wall_s
    return [
        Result(
            claim="file_gzip",
            value=ours.wall_s,
            unit="s",
            peer=f"pyarrow.csv, {plain.wall_s:.2f} s",
            ratio=ratio,
            target=f"ratio <= {RATIO_MAX:.2f}",
            holds=same and ratio <= RATIO_MAX,
        ),
        Result(
            claim="file_gzip_cpu",
            value=ours.cpu_s,
            unit="CPU s",
            peer=f"pyarrow.csv, {plain.cpu_s:.2f} s",
            ratio=ours.cpu_s / plain.cpu_s,
            target="none: it writes a table, and the peer does not",
            holds=same,
        ),
        Result(
            claim="file_gzip_memory",
            value=ours.peak_rss_mib,
            unit="MiB",
            peer=f"pyarrow.csv, {plain.peak_rss_mib:.0f} MiB",
            ratio=ours.peak_rss_mib / plain.peak_rss_mib,
            target=f"<= {MEMORY_MIB_MAX:.0f} MiB",
            holds=same and ours.peak_rss_mib <= MEMORY_MIB_MAX,
        ),
    ]


def write(file: Path, *, rows: int) -> int:
    """Write the file, and return how many bytes of text it has."""
    size = 0
    with gzip.open(file, "wb", compresslevel=6) as packed:
        for block in _blocks(rows):
            size += packed.write(block)
    return size


def _blocks(rows: int) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.csv

    random = np.random.default_rng(20)
    for first in range(0, rows, _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, rows - first)
        times = _DAY + (np.arange(first, first + count) * (2 * 86_400_000 // rows or 1))
        table = pa.table(
            {
                "impression_id": [f"s{each:08x}" for each in random.integers(0, 2**32, count)],
                "event_time": np.char.add(np.datetime_as_string(times, unit="ms"), "Z"),
                "user_id": random.integers(0, 1_000_000, count),
                "item_id": (50_000 * random.random(count) ** 3).astype(np.int64),
                "price": np.round(random.random(count) * 100, 2),
                "clicked": random.integers(0, 2, count),
                "segment": [f"segment {each}" for each in random.integers(0, 12, count)],
            }
        )
        sink = pa.BufferOutputStream()
        options = pyarrow.csv.WriteOptions(include_header=not first, quoting_style="none")
        pyarrow.csv.write_csv(table, sink, options)
        yield sink.getvalue().to_pybytes()


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "wall s": measured.wall_s,
        "CPU s": measured.cpu_s,
        "commits": int(measured.figure("commits")),
        "peak RSS MiB": measured.peak_rss_mib,
    }
