"""Claim: our one file writer costs no more CPU than DuckDB's own Parquet writer (decision 0001).

Both write the same query, 2M rows of 17 columns in two days, from a table in DuckDB's memory. Ours
is `DuckDBEngine.write`: Arrow batches into the writer recipe, page checksums on, required columns
declared, files forced to disk and described for the commit. The peer is the `copy` a DuckDB user
would write, with the same codec and row groups: no checksums, nothing required, nothing forced to
disk, no statistics handed over. Each compresses at its library's level: Arrow's zstd is 1,
DuckDB's 3.
"""

from pathlib import Path

import duckdb

from benchmarks.harness import Contender, Measured, Result, Rounds, declare_lake, measure, show

ROWS = 2_000_000
RATIO_MAX = 1.0
BYTES_RATIO_MAX = 1.25
THREADS = 2
_QUERY = "select * from source"
_ROW_GROUP = 131_072
_DAY_US = 86_400 * 1_000_000
_START_US = 1_767_571_200_000_000
# Impressions in the order they arrive: ids that grow, a few busy items, text of few values.
_SOURCE = f"""
select 'sim/' || i as impression_id,
  make_timestamptz({_START_US} + i * {{step}} + (hash(i) % 60000000)::bigint) as event_time,
  make_timestamptz({_START_US} + i * {{step}} + 60000000 + (hash(i + 1) % 9000000)::bigint)
    as known_at,
  ['greedy', 'explore'][1 + (hash(i // 7) % 2)::int] as policy,
  ['home', 'search'][1 + (hash(i // 7 + 1) % 2)::int] as campaign,
  (5000 * pow((hash(i + 2) % 100000) / 100000, 3))::bigint as item_id,
  (i % 8 + 1)::int as position,
  case when hash(i // 7) % 2 = 1 then 1 / (1 + hash(i + 3) % 50) end as propensity,
  'segment/' || (hash(i // 7 + 2) % 12) as user_segment,
  's' || (i // 21) as session_id,
  (hash(i // 21) % 100000)::bigint as user_id,
  list_value((hash(i // 21) % 5000)::bigint, (hash(i // 21 + 1) % 5000)::bigint) as affinity_items,
  (hash(i // 21 + 3) % 1000)::bigint as sessions_7d,
  'impressions/' || (i // 50000) || '.jsonl' as _source,
  0::int as _source_partition,
  (i % 50000)::bigint as _source_offset,
  make_timestamptz({_START_US} + (i // 50000) * 50000 * {{step}}) as _source_time
from range({{rows}}) r(i)
"""
_REQUIRED = ("impression_id", "event_time", "known_at", "policy", "campaign", "item_id", "position")


def headrace(*, rows: int, folder: str) -> Rounds:
    """Write through the engine, as a model, a sample build or anything else here does."""
    import pyarrow as pa

    from headrace.api import Lake
    from headrace.config import Settings
    from headrace.engines.duckdb import DuckDBEngine
    from headrace.identifiers import TableName

    file = declare_lake(folder, profile=f"threads = {THREADS}\n")
    settings = Settings.load(env={}, path=file)
    with Lake.open(settings) as lake, DuckDBEngine.open(settings) as engine:
        source = engine.query(_source(rows)).read_all()
        fields = [f.with_nullable(f.name not in _REQUIRED) for f in source.schema]
        table = lake.create(
            TableName("staging", "impressions"), pa.schema(fields), partition_by=["day(event_time)"]
        )
        engine.bind_arrow("source", source)
        del source
        yield {}
        while True:
            files = engine.write(_QUERY, into=table)
            yield {
                "bytes": sum(file.file_size_in_bytes for file in files),
                "rows": sum(file.record_count for file in files),
                "files": len(files),
            }


def duckdb_copy(*, rows: int, folder: str) -> Rounds:
    """Write as DuckDB's documentation does; the partition column is made for it and left out."""
    connection = duckdb.connect()
    connection.execute(f"set timezone = 'UTC'; set threads = {THREADS}")
    connection.execute(f"create table source as {_source(rows)}")
    yield {}
    number = 0
    while True:
        target = Path(folder) / str(number)
        done = connection.execute(
            f"copy (select *, event_time::date as day from ({_QUERY})) to '{target}' (format parquet,"
            f" compression zstd, row_group_size {_ROW_GROUP}, partition_by (day))"
        ).fetchone()
        files = list(target.rglob("*.parquet"))
        yield {
            "bytes": sum(file.stat().st_size for file in files),
            "rows": done[0] if done else 0,
            "files": len(files),
        }
        number += 1


def run(*, quick: bool) -> list[Result]:
    """Measure seven rounds of each; `quick` writes a twentieth of the rows, twice."""
    rows = ROWS // 20 if quick else ROWS
    contenders = [
        Contender(name=name, module=__name__, function=name, arguments={"rows": rows})
        for name in ("headrace", "duckdb_copy")
    ]
    found = measure(contenders, rounds=2 if quick else 7)
    ours, plain = found["headrace"], found["duckdb_copy"]
    show(f"{rows:,} rows of 17 columns into two days, zstd", [_row(ours), _row(plain)])
    cpu, size = ours.cpu_s / plain.cpu_s, ours.figure("bytes") / plain.figure("bytes")
    same = ours.figure("rows") == plain.figure("rows") == rows
    return [
        Result(
            claim="file_writer",
            value=ours.cpu_s,
            unit="CPU s",
            peer=f"DuckDB copy, {plain.cpu_s:.2f} s",
            ratio=cpu,
            target=f"ratio <= {RATIO_MAX}",
            holds=same and cpu <= RATIO_MAX,
        ),
        Result(
            claim="file_writer_bytes",
            value=ours.figure("bytes") / rows,
            unit="bytes a row",
            peer=f"DuckDB copy, {plain.figure('bytes') / rows:.1f} bytes",
            ratio=size,
            target=f"ratio <= {BYTES_RATIO_MAX}",
            holds=same and size <= BYTES_RATIO_MAX,
        ),
    ]


def _source(rows: int) -> str:
    # the last rows' minute of jitter must stay inside the second day
    return _SOURCE.format(rows=rows, step=(2 * _DAY_US - 120_000_000) // rows)


def _row(measured: Measured) -> dict[str, object]:
    return {
        "": measured.name,
        "CPU s": measured.cpu_s,
        "wall s": measured.wall_s,
        "MiB written": measured.figure("bytes") / 2**20,
        "files": int(measured.figure("files")),
        "peak RSS MiB": measured.peak_rss_mib,
    }
