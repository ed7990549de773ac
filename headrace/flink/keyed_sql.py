"""The statements of a stream's keyed table in Paimon by Flink; pure.

The job reads the stream's table, not its topic, so the keyed table has the rows of whoever wrote them. A row
that is written again changes nothing: the newest row of its key counts, and no two are equally new.

Columns are the declared fields under their own names, since an import gives `event_time` and `known_at` a
meaning of its own; and the place of the row, which orders rows of one time.
"""

from collections.abc import Mapping

import pyarrow as pa

from headrace.definitions.keyed_form import KeyedForm
from headrace.definitions.stream import KNOWN_AT, Stream
from headrace.errors import FlinkCannotError
from headrace.flink.begin import Begin
from headrace.flink.columns import sql_type
from headrace.flink.following import history, news
from headrace.flink.statements import JobSql, create_catalog, option_list, plan_of

CATALOG = "paimon"
_NEWS, _HISTORY = "news", "history"
# where a row came from, under names that an import leaves free
_PLACE = {
    "from_source": "_source",
    "from_partition": "_source_partition",
    "from_offset": "_source_offset",
}


def keyed_table(stream: Stream) -> str:
    """Return the name of a stream's keyed table in the warehouse."""
    keyed = stream.keyed or KeyedForm()
    return str(keyed.paimon or stream.table)


def keyed_options(stream: Stream) -> dict[str, str]:
    """Return the options of the keyed table.

    Rows of one key arrive in any order, so a changelog says which of them counted.
    """
    keyed = stream.keyed or KeyedForm()
    newest = keyed.sequence or stream.time_field
    return {
        "bucket": str(keyed.buckets),
        "merge-engine": keyed.merge,
        "sequence.field": ",".join((*([newest] if newest else []), *_PLACE)),
        "changelog-producer": "lookup",
        "file.format": "parquet",
    }


def keyed_sql(
    stream: Stream, lake: Mapping[str, str], paimon: Mapping[str, str], *, begin: Begin
) -> JobSql:
    """Write the statements of the job that follows the stream's table.

    Args:
        stream: The contract.
        lake: The options of the lake's catalog.
        paimon: The options of the Paimon catalog.
        begin: The snapshots of the stream's table that are read.

    Raises:
        FlinkCannotError: If a field has the name of a column that is added.

    """
    table = str(stream.table)
    computed, time = (f"_known as cast(`{KNOWN_AT}` as timestamp_ltz(3))",), "_known"
    sources = {_NEWS: news(_NEWS, table, begin, computed=computed, time=time, mark=time)}
    before = history(_HISTORY, table, begin, computed=computed, time=time)
    if before is not None:
        sources[_HISTORY] = before
    columns = _columns(stream)
    names = ", ".join(f"`{name}`" for name in columns)
    values = ", ".join(f"`{column}`" for column in columns.values())
    rows = "\nunion all\n".join(f"select {values} from {source}" for source in sources)
    made = _table(stream, columns)
    insert = f"insert into {_named(keyed_table(stream))} ({names})\n{rows}"
    database = keyed_table(stream).partition(".")[0]
    return JobSql(
        setup=(
            create_catalog(lake),
            f"create catalog {CATALOG} with ({option_list(paimon)})",
            f"create database if not exists `{CATALOG}`.`{database}`",
            made,
            *sources.values(),
        ),
        insert=insert,
        plan=plan_of((made, values)),
    )


def _columns(stream: Stream) -> dict[str, str]:
    """Map the columns of the keyed table to those of the stream's table.

    Raises:
        FlinkCannotError: If a field has the name of a column that is added.

    """
    for name in stream.fields:
        if name in _PLACE:
            what = "its keyed table has a column of its own by that name; rename the field"
            raise FlinkCannotError(stream.name, what, field=name)
    fields = {name: stream.column_of(name) for name in stream.fields if name != KNOWN_AT}
    return fields | _PLACE


def _table(stream: Stream, columns: Mapping[str, str]) -> str:
    schema = stream.table_schema()
    said = [
        f"`{name}` {_type(schema.field(column).type)}{' not null' if name == stream.key else ''}"
        for name, column in columns.items()
    ]
    listed = ",\n    ".join((*said, f"primary key (`{stream.key}`) not enforced"))
    options = option_list(keyed_options(stream))
    return f"create table if not exists {_named(keyed_table(stream))} (\n    {listed}\n) with ({options})"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"array<{sql_type(kind.value_type)}>"
    return sql_type(kind)


def _named(table: str) -> str:
    return ".".join(f"`{part}`" for part in (CATALOG, *table.split(".")))
