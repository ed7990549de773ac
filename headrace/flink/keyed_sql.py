"""The statements of a stream's keyed table in Paimon by Flink; pure.

The job reads the stream's table, not its topic, so the keyed table has the rows of whoever wrote them. The
newest row of each key counts, by event time, when it was known, and its place in the source; in a partial update the
newest value of each field. No two rows are equal in all three, so the table is a function of the set of rows: not
of the order of their arrival, nor of how often a row was written.

Columns are the declared fields under their own names, since an import gives `event_time` and `known_at` a
meaning of its own; and the place of the row.
"""

from collections.abc import Mapping

import pyarrow as pa

from headrace.definitions.keyed_form import FROM, PLACE, SUBJECT
from headrace.definitions.properties import TABLE_UUID
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT, Stream
from headrace.errors import FlinkCannotError
from headrace.flink.begin import Begin
from headrace.flink.columns import sql_type
from headrace.flink.following import history, news, place_of, text_of
from headrace.flink.statements import JobSql, create_catalog, option_list, plan_of
from headrace.interop.paimon.shape import PaimonShape

CATALOG = "paimon"
_NEWS, _HISTORY = "news", "history"
# snapshots expire by the maintenance queue, which knows who has read them: a commit of the job expires none
NO_EXPIRY = {"snapshot.num-retained.max": "2147483647", "snapshot.time-retained": "36500 d"}
_KEPT = f"/*+ options({option_list(NO_EXPIRY)}) */"
_PLACE = FROM  # where a row came from: no field has the name


def subject_of(stream: Stream) -> str:
    """Return by which name commands know the job of a stream's keyed table.

    Raises:
        FlinkCannotError: If the contract declares none.

    """
    if stream.keyed_table is None:
        raise FlinkCannotError(stream.name, "its contract does not say `keyed: paimon`")
    return f"{SUBJECT}{stream.keyed_table}"


def keyed_shape(stream: Stream) -> PaimonShape:
    """Return what the keyed table must be: its columns, key and options.

    Rows of one key arrive in any order, so a changelog says which of them counted.

    Raises:
        FlinkCannotError: If the contract declares none.

    """
    if stream.keyed is None or stream.key is None:
        raise FlinkCannotError(stream.name, "its contract does not say `keyed: paimon`")
    schema = stream.table_schema()
    columns = [
        pa.field(name, schema.field(column).type, nullable=name != stream.key)
        for name, column in _columns(stream).items()
    ]
    groups = _groups(stream)
    order = {f"fields.{place}.sequence-group": ",".join(of) for place, of in groups.items()}
    if stream.keyed.merge == "deduplicate":
        order = {"sequence.field": ",".join((str(stream.time_field), *PLACE))}
    return PaimonShape(
        name=str(stream.keyed_table),
        schema=pa.schema([*columns, *(pa.field(name, pa.string()) for name in groups)]),
        keys=(stream.key,),
        options={
            "bucket": str(stream.keyed.buckets),
            "merge-engine": stream.keyed.merge,
            **order,
            "changelog-producer": "lookup",
            # a row that is written again is no change
            "changelog-producer.row-deduplicate": "true",
            "file.format": "parquet",
        },
    )


def _groups(stream: Stream) -> dict[str, tuple[str, ...]]:
    """Map the columns that say where the values of a partial update came from to the columns of these.

    A group is updated by a value that is newer than its own, and by no null. The event time is in one with
    the place of the row, so that both are those of the newest row.
    """
    if stream.keyed is None or stream.keyed.merge == "deduplicate":
        return {}
    own = {stream.key, stream.time_field, KNOWN_AT}
    values = {f"{name}{FROM}": (name,) for name in stream.fields if name not in own}
    return {_PLACE: (str(stream.time_field), *PLACE), **values}


def keyed_table_sql(
    stream: Stream, paimon: Mapping[str, str], *, table_uuid: str
) -> tuple[str, ...]:
    """Write the statements that create the keyed table, unless there is one of its name.

    It says whose rows it keeps, by the uuid of the stream's table.

    Raises:
        FlinkCannotError: If the contract declares none.

    """
    shape = keyed_shape(stream)
    database = shape.name.partition(".")[0]
    return (
        f"create catalog {CATALOG} with ({option_list(paimon)})",
        f"create database if not exists `{CATALOG}`.`{database}`",
        _table(shape, {TABLE_UUID: table_uuid}),
    )


def keyed_sql(
    stream: Stream,
    lake: Mapping[str, str],
    paimon: Mapping[str, str],
    *,
    snapshot_id: int,
    table_uuid: str,
) -> JobSql:
    """Write the statements of the job that follows the stream's table.

    Args:
        stream: The contract.
        lake: The options of the lake's catalog.
        paimon: The options of the Paimon catalog.
        snapshot_id: The snapshot of the stream's table of which all rows are taken, and those of each later
            one.
        table_uuid: Of the stream's table.

    Raises:
        FlinkCannotError: If the contract declares no keyed table.

    """
    table, shape = str(stream.table), keyed_shape(stream)
    begin = Begin(after_us=0, snapshot_id=snapshot_id, history_id=snapshot_id)
    times = f"concat({text_of(f'`{EVENT_TIME}`')}, {place_of(f'`{KNOWN_AT}`')})"
    computed = (f"{_PLACE} as {times}",) if _groups(stream) else ()
    before = history(_HISTORY, table, begin, computed=computed)
    assert before is not None  # a snapshot is named
    sources = {_NEWS: news(_NEWS, table, begin, computed=computed), _HISTORY: before}
    selected = {name: f"`{column}`" for name, column in _columns(stream).items()} | _places(stream)
    names = ", ".join(f"`{name}`" for name in selected)
    values = ", ".join(selected.values())
    rows = "\nunion all\n".join(f"select {values} from {source}" for source in sources)
    made = keyed_table_sql(stream, paimon, table_uuid=table_uuid)
    return JobSql(
        setup=(create_catalog(lake), *made, *sources.values()),
        insert=f"insert into {_named(shape.name)} {_KEPT} ({names})\n{rows}",
        # whose rows they are, and how long they are kept, is no part of the plan
        plan=plan_of((_table(shape, {}), values, *computed)),
    )


def _columns(stream: Stream) -> dict[str, str]:
    """Map the columns of the keyed table to those of the stream's table."""
    fields = {name: stream.column_of(name) for name in stream.fields if name != KNOWN_AT}
    return fields | PLACE


def _places(stream: Stream) -> dict[str, str]:
    """Write where each value came from: null for none, so that it updates nothing."""
    return {
        name: _PLACE
        if name == _PLACE
        else f"case when `{stream.column_of(of[0])}` is not null then {_PLACE} end"
        for name, of in _groups(stream).items()
    }


def _table(shape: PaimonShape, more: Mapping[str, str]) -> str:
    said = [
        f"`{field.name}` {sql_type(field.type)}{'' if field.nullable else ' not null'}"
        for field in shape.schema
    ]
    keys = ", ".join(f"`{key}`" for key in shape.keys)
    listed = ",\n    ".join((*said, f"primary key ({keys}) not enforced"))
    options = option_list({**shape.options, **more})
    return f"create table if not exists {_named(shape.name)} (\n    {listed}\n) with ({options})"


def _named(table: str) -> str:
    return ".".join(f"`{part}`" for part in (CATALOG, *table.split(".")))
