"""Claim: the cost of planning one partition depends on that partition, not on the size of the table.

The files are entries in real manifests (20 columns with bounds, as other writers leave them); no row
is ever read. What is timed is listing the files of one partition with nothing cached, in this
process, beside PyIceberg's own planning of the same filter on the same table. Growth compares tables
whose partitions hold equally many files: with the number of partitions fixed, a table ten times the
size has ten times the files to return, and the ratio would measure that.
"""

import datetime as dt
import gc
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, clear_manifest_cache
from pyiceberg.typedef import Record

from benchmarks.harness import Contender, Measured, Result, Rounds, measure, open_lake, show
from headrace.api import Lake
from headrace.identifiers import TableName
from headrace.storage.locations import local_path
from headrace.tables.commits.operations import Provenance, append, rewrite_manifests
from headrace.tables.lake import LakeTable

FILES_PER_PARTITION = 100
_FEW_PARTITIONS = 100
COLUMNS = 20
PLAN_S_MAX = 0.10
GROWTH_MAX = 2.0
_FIRST_DAY = dt.date(2026, 1, 1)
_EPOCH = dt.date(1970, 1, 1)
_WANTED_DAY = _FIRST_DAY + dt.timedelta(days=5)


def headrace(*, folder: str, files: int, partitions: int) -> Rounds:
    """Plan through a pinned version."""
    with open_lake(folder) as lake:
        version = _table(lake, files, partitions).head()
        yield {}
        while True:
            found = version.files(partitions=[(_WANTED_DAY,)])
            assert len(found) == files // partitions
            yield {}


def pyiceberg(*, folder: str, files: int, partitions: int) -> Rounds:
    """Plan through a PyIceberg scan of the same table with the same filter."""
    with open_lake(folder) as lake:
        table = _table(lake, files, partitions).iceberg()
        after = (_WANTED_DAY + dt.timedelta(days=1)).isoformat()
        scan = table.scan(
            row_filter=f"event_time >= '{_WANTED_DAY.isoformat()}T00:00:00+00:00'"
            f" and event_time < '{after}T00:00:00+00:00'"
        )
        yield {}
        while True:
            clear_manifest_cache()
            assert len(list(scan.plan_files())) == files // partitions
            yield {}


def run(*, quick: bool) -> list[Result]:
    """Measure tables of 10,000 and of 100,000 files; `quick` measures 1,000 and 10,000."""
    small, large = (1_000, 10_000) if quick else (10_000, 100_000)
    same = FILES_PER_PARTITION
    tables = ((small, small // same), (large, large // same), (large, _FEW_PARTITIONS))
    contenders = [
        Contender(
            name=_name_of(name, files, partitions),
            module=__name__,
            function=name,
            arguments={"files": files, "partitions": partitions},
        )
        for files, partitions in tables
        for name in ("headrace", "pyiceberg")
    ]
    found = measure(contenders, rounds=3 if quick else 15)
    show("planning one partition", [_row(each) for each in found.values()])
    ours, theirs = (found[_name_of(n, large, _FEW_PARTITIONS)] for n in ("headrace", "pyiceberg"))
    before, after = (found[_name_of("headrace", *each)] for each in tables[:2])
    return [
        Result(
            claim="planning",
            value=ours.cpu_s,
            unit=f"CPU s for one of {_FEW_PARTITIONS} partitions of {large:,} files",
            peer=f"PyIceberg plan_files, {theirs.cpu_s:.3f} s",
            ratio=ours.cpu_s / theirs.cpu_s,
            target=f"value <= {PLAN_S_MAX}",
            holds=ours.cpu_s <= PLAN_S_MAX,
        ),
        Result(
            claim="planning_growth",
            value=after.cpu_s,
            unit=f"CPU s for {same} files of {large:,}",
            peer=f"{same} files of {small:,}, {before.cpu_s:.3f} s",
            ratio=after.cpu_s / before.cpu_s,
            target=f"ratio <= {GROWTH_MAX}",
            holds=after.cpu_s <= GROWTH_MAX * before.cpu_s,
        ),
    ]


def _name_of(peer: str, files: int, partitions: int) -> str:
    return f"{peer}, {files // partitions:,} of {files:,} files"


def _table(lake: Lake, files: int, partitions: int) -> LakeTable:
    """Make a table whose manifests were put in order by maintenance, as a long-lived table's are."""
    columns = [pa.field(f"c{number}", pa.int64()) for number in range(COLUMNS - 1)]
    at = pa.field("event_time", pa.timestamp("us", tz="UTC"), nullable=False)
    table = lake.create(
        TableName("raw", "events"),
        pa.schema([at, *columns]),
        partition_by=["day(event_time)"],
    )
    entries = files_of(table, files=files, partitions=partitions, columns=COLUMNS)
    append(table, entries, provenance=Provenance())
    rewrite_manifests(table, provenance=Provenance())
    del entries
    gc.collect()
    gc.freeze()  # the collector must not scan what creating the table left while planning
    return table


def files_of(table: LakeTable, *, files: int, partitions: int, columns: int) -> list[DataFile]:
    """Make files of holes and their entries, spread over days, for a table of that many columns."""
    entries = list(_entries(table, files, partitions, columns))
    for entry in entries:  # a commit refuses files that do not exist or have another size
        path = Path(local_path(entry.file_path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(entry.file_size_in_bytes)
    return entries


def _entries(table: LakeTable, files: int, partitions: int, columns: int) -> Iterator[DataFile]:
    loaded = table.iceberg()
    ids = range(1, columns + 1)
    for number in range(files):
        day = (_FIRST_DAY - _EPOCH).days + number % partitions
        micros = day * 86_400_000_000
        low = {1: micros.to_bytes(8, "little"), **{i: b"\0" * 8 for i in ids if i > 1}}
        high = {1: (micros + 1).to_bytes(8, "little"), **{i: b"\1" * 8 for i in ids if i > 1}}
        file = DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=f"{loaded.location()}/data/event_time_day={day}/{number:032x}-00000.parquet",
            file_format=FileFormat.PARQUET,
            partition=Record(day),
            record_count=1_000,
            file_size_in_bytes=1_000_000 + number,
            column_sizes=dict.fromkeys(ids, 50_000),
            value_counts=dict.fromkeys(ids, 1_000),
            null_value_counts=dict.fromkeys(ids, 0),
            nan_value_counts={},
            lower_bounds=low,
            upper_bounds=high,
            split_offsets=[4],
        )
        file.spec_id = loaded.metadata.default_spec_id
        yield file


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "CPU s": measured.cpu_s,
        "wall s": measured.wall_s,
        "peak RSS MiB": measured.peak_rss_mib,
    }
