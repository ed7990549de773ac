"""The physical limit of each stage, as contenders: the same bytes through pyarrow or DuckDB alone.

A limit has none of what the stage adds: contract, commits, checksums, exactness.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from benchmarks.harness import Rounds
from benchmarks.river_stages import SAMPLE_SET, settings_of, spec

if TYPE_CHECKING:
    from headrace.definitions.stream import Stream
    from headrace.samples.resolve import Recipe, ResolvedFeature

_ROW_GROUP = 131_072


def ingest(*, lake: str, folder: str) -> Rounds:
    """Decode the same files with pyarrow's readers into the declared types, one Parquet a stream.

    Malformed records are removed beforehand, because pyarrow stops at the first one.
    """
    from headrace.definitions.load import load_streams

    clean = [
        (stream, list(_clean_copies(stream, Path(lake), Path(folder) / stream.name)))
        for stream in load_streams(settings_of(lake)).values()
    ]
    yield {}
    rows = 0
    for stream, files in clean:
        schema = pa.schema([(name, field.type.arrow) for name, field in stream.fields.items()])
        decoded = (_decode(file, schema, kind=stream.format) for file in files)
        rows += _write(decoded, Path(folder) / f"{stream.name}.parquet")
    yield {"rows": rows}


def features(*, lake: str, folder: str) -> Rounds:
    """Read the three raw tables the models read, and write the same rows."""
    tables = {name: _files(lake, f"raw.{name}") for name in ("impressions", "clicks", "items")}
    yield {}
    rows = 0
    for name, files in tables.items():
        rows += _write(map(pq.read_table, files), Path(folder) / f"{name}.parquet")
    yield {"rows": rows}


def compaction(*, lake: str, folder: str) -> Rounds:
    """Read, concatenate and write the same files, by the same recipe."""
    from headrace.api import Lake
    from headrace.iceberg.standard_properties import parquet_recipe
    from headrace.maintenance.compaction.plan import plan_compaction

    settings = settings_of(lake)
    with Lake.open(settings) as opened:
        heads = [opened.table(name).head() for name in opened.names()]
    plans = [plan_compaction(head, target_bytes=settings.target_file_bytes) for head in heads]
    recipes = [parquet_recipe(head.properties, table=str(head.name)) for head in heads]
    bins = [
        ([file.path for file in each.files], recipe)
        for plan, recipe in zip(plans, recipes, strict=True)
        for each in plan.bins
    ]
    yield {}
    rows = 0
    for number, (files, recipe) in enumerate(bins):
        whole = pa.concat_tables([pq.ParquetFile(file).read() for file in files])
        rows += whole.num_rows
        pq.write_table(
            whole,
            Path(folder) / f"{number}.parquet",
            row_group_size=_ROW_GROUP,
            compression=recipe.codec,
            compression_level=recipe.level,
            write_page_checksum=True,
            dictionary_pagesize_limit=recipe.dictionary_bytes,
            store_schema=False,
        )
    yield {"rows": rows}


def samples(*, lake: str, folder: str) -> Rounds:
    """Join the same exposures and views by event time alone, leaks and all; no labels."""
    from headrace.api import Lake
    from headrace.definitions.load import load_sample_sets
    from headrace.samples.resolve import resolve

    settings = settings_of(lake)
    with Lake.open(settings) as opened:
        recipe = resolve(opened, load_sample_sets(settings)[SAMPLE_SET])
    sql = _leaky_sql(recipe, lake)
    connection = duckdb.connect()
    connection.execute(f"set timezone = 'UTC'; set threads = {settings.threads}")
    connection.execute(f"set memory_limit = '{settings.memory_limit_mib}MiB'")
    connection.execute(f"set temp_directory = '{folder}/spill'")
    yield {}
    done = connection.execute(
        f"copy ({sql}) to '{folder}/leaky.parquet'"
        f" (format parquet, compression uncompressed, row_group_size {_ROW_GROUP})"
    ).fetchone()
    yield {"rows": done[0] if done else 0}


def publish(*, lake: str, folder: str) -> Rounds:
    """Read the sample files, all columns."""
    _ = folder
    files = _files(lake, f"samples.{SAMPLE_SET}")
    yield {}
    yield {"rows": _read(files, columns=None, dictionaries=())}


def epoch(*, lake: str, folder: str) -> Rounds:
    """Read the columns of the model, row group by row group, text as dictionaries."""
    _ = folder
    files, wanted = _files(lake, f"samples.{SAMPLE_SET}"), spec()
    schema = pq.read_schema(files[0])
    text = [name for name in wanted.sparse if schema.field(name).type == pa.string()]
    yield {}
    yield {"rows": _read(files, columns=wanted.columns, dictionaries=text)}


def _clean_copies(stream: "Stream", lake: Path, target: Path) -> Iterator[Path]:
    truth = pq.read_table(lake / "truth" / "dead_letters.parquet").to_pylist()
    bad = {(row["source"], row["offset"]) for row in truth if row["stream"] == stream.name}
    target.mkdir(parents=True)
    for file in sorted((lake / "data").glob(stream.source.text)):
        if stream.format == "parquet":
            yield file
            continue
        source = file.relative_to(lake / "data").as_posix()
        header = 1 if stream.format == "csv" else 0
        lines = file.read_bytes().splitlines(keepends=True)
        kept = [line for at, line in enumerate(lines) if (source, at - header) not in bad]
        if len(kept) > header:
            (target / file.name).write_bytes(b"".join(kept))
            yield target / file.name


def _decode(file: Path, schema: pa.Schema, *, kind: str) -> pa.Table:
    if kind == "json":
        parse = pa_json.ParseOptions(explicit_schema=schema)
        return pa_json.read_json(file, parse_options=parse)
    if kind == "csv":
        return pa_csv.read_csv(file, convert_options=pa_csv.ConvertOptions(column_types=schema))
    return pq.read_table(file)


def _write(tables: Iterator[pa.Table], file: Path) -> int:
    """Write tables as one zstd file, each row group from as many as it takes."""
    waiting = [next(tables)]
    held, rows = waiting[0].num_rows, 0
    with pq.ParquetWriter(file, waiting[0].schema, compression="zstd") as writer:
        for table in tables:
            if held >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting), row_group_size=_ROW_GROUP)
                rows, held, waiting = rows + held, 0, []
            waiting.append(table)
            held += table.num_rows
        writer.write_table(pa.concat_tables(waiting), row_group_size=_ROW_GROUP)
    return rows + held


def _read(
    files: Sequence[str], *, columns: Sequence[str] | None, dictionaries: Sequence[str]
) -> int:
    rows = 0
    for path in files:
        with pq.ParquetFile(path, read_dictionary=list(dictionaries)) as file:
            for group in range(file.num_row_groups):
                names = None if columns is None else list(columns)
                rows += file.read_row_group(group, columns=names, use_threads=False).num_rows
    return rows


def _files(lake: str, table: str) -> list[str]:
    from headrace.api import Lake

    with Lake.open(settings_of(lake)) as opened:
        return [file.path for file in opened.table(table).head().files()]


def _leaky_sql(recipe: "Recipe", lake: str) -> str:
    columns = [f"e.{name}" for name in (recipe.id, recipe.at, *recipe.entities, *recipe.columns)]
    joins: list[str] = []
    for number, feature in enumerate(recipe.features):
        one = f"f{number}"
        columns += [f"{one}.{column} as {name}" for column, name in feature.columns]
        columns += [
            f"{one}.{feature.event_time} as {feature.name}__event_time",
            f"{one}.{feature.known_at} as {feature.name}__known_at",
        ]
        joins.append(_leaky_join(one, feature, _files(lake, feature.view), at=recipe.at))
    exposures = f"read_parquet({_files(lake, recipe.exposures)})"
    return f"select {', '.join(columns)} from {exposures} e {' '.join(joins)}"


def _leaky_join(one: str, feature: "ResolvedFeature", files: Sequence[str], *, at: str) -> str:
    same = " and ".join(f"e.{key} = {one}.{key}" for key in feature.entity)
    return (
        f"asof left join read_parquet({list(files)}) {one}"
        f" on {same} and e.{at} > {one}.{feature.event_time}"
    )
