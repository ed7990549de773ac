"""The statements of a stream's ingestion by Flink, from its contract; pure.

The topic is read as bytes, and each record is judged once: a view says its values and the first reason to
refuse it. Rows and dead letters are two inserts of one job, with the record's coordinates. Nothing depends
on a watermark: that of the stream is computed from what was written (`note`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from headrace.definitions.durations import format_duration
from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT, Stream
from headrace.flink.columns import decoded, json_path, scalar, steps_of
from headrace.flink.limits import source_of
from headrace.flink.statements import (
    JobSql,
    create_catalog,
    draws,
    is_drawn,
    named,
    once,
    once_each,
    option_list,
    plan_of,
)
from headrace.identifiers import quote_text
from headrace.ingest import dead_letters
from headrace.ingest.decoding.decoded import (
    FUTURE_TIME,
    INVALID_UTF8,
    MALFORMED,
    TOMBSTONE,
    TOO_LONG,
    UNFRAMED,
    UNKNOWN_SCHEMA,
)
from headrace.ingest.sources.base import RECORD_BYTES_MAX, SourcePartition

if TYPE_CHECKING:
    from headrace.ingest.decoding.avro_values import Writer

_HALF_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
_REASONS = {
    "json": {
        INVALID_UTF8: "the value is not UTF-8, or holds half of a surrogate pair",
        MALFORMED: "the value is not one JSON object, or has a key twice",
        TOMBSTONE: "the record has no value",
        TOO_LONG: f"the value is longer than {RECORD_BYTES_MAX:,} characters",
    },
    "avro": {
        MALFORMED: "the value is not of its schema, or bytes are left over behind it",
        TOMBSTONE: "the record has no value",
        TOO_LONG: f"the value is longer than {RECORD_BYTES_MAX:,} bytes",
        UNFRAMED: "the value does not begin with a zero byte and the id of a schema",
        UNKNOWN_SCHEMA: "the job began without the schema that the value names",
    },
}


class Placed(Protocol):
    """Where topic and tables are, as options of Flink; may contain secrets."""

    @property
    def topic(self) -> Mapping[str, str]:
        """The options of the Kafka connector that say where the brokers are, and who asks."""
        ...

    @property
    def catalog(self) -> Mapping[str, str]:
        """The options of the Iceberg catalog."""
        ...


def ingest_sql(
    stream: Stream,
    placed: Placed,
    *,
    starts: Mapping[SourcePartition, int],
    group: str,
    writers: Mapping[int, "Writer"] = MappingProxyType({}),
) -> JobSql:
    """Write the statements of a stream's ingestion.

    Args:
        stream: The contract.
        placed: Where topic and tables are.
        starts: The next offset of every partition of the topic, of empty ones too: Flink would begin
            a partition that is not named where a group of consumers was, or at its first record.
        group: The group of consumers, a new one for each job that starts from offsets.
        writers: The schemas of Avro values, by their ids.

    Raises:
        FlinkCannotError: If SQL cannot express the contract; it names the field.

    """
    declared = source_of(stream)
    typed = _avro_views(stream, writers) if stream.format == "avro" else _json_views(stream)
    add = once_each if stream.format == "avro" else once
    judged = (*typed, add("judged", "typed", {"refusal": _verdict(stream)}))
    inserts = f"{_rows(stream)}{_letters(stream, tombstones=declared.kafka.tombstones)}"
    insert = f"execute statement set\nbegin\n{inserts}end"
    setup = (
        create_catalog(placed.catalog),
        _source(declared.kafka.topic, placed.topic, starts=starts, group=group),
        *judged,
    )
    return JobSql(setup=setup, insert=insert, plan=plan_of((declared.kafka.topic, *judged, insert)))


def _source(
    topic: str, access: Mapping[str, str], *, starts: Mapping[SourcePartition, int], group: str
) -> str:
    offsets = ";".join(
        f"partition:{each.partition},offset:{starts[each]}" for each in sorted(starts)
    )
    options = {
        "connector": "kafka",
        "topic": topic,
        **access,
        "properties.group.id": group,
        # what is uncommitted or aborted is no record
        "properties.isolation.level": "read_committed",
        # beside it Flink lets nobody say what becomes of an offset that is no more: it goes to the first record.
        # So `status` and `note` look whether the topic has what was not noted
        "scan.startup.mode": "specific-offsets",
        "scan.startup.specific-offsets": offsets,
        "key.format": "raw",
        "key.fields": "k_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    }
    return f"""create temporary table topic (
    k_key bytes,
    `raw` bytes,
    k_topic string metadata from 'topic' virtual,
    k_partition int metadata from 'partition' virtual,
    k_offset bigint metadata from 'offset' virtual,
    k_time timestamp_ltz(3) metadata from 'timestamp' virtual,
    k_time_type string metadata from 'timestamp-type' virtual,
    k_headers map<string, bytes> metadata from 'headers' virtual
) with ({option_list(options)})"""


def _avro_views(stream: Stream, writers: Mapping[int, "Writer"]) -> tuple[str, ...]:
    from headrace.flink.avro_sql import avro_views  # its library is an extra

    return avro_views(stream, writers)


def _json_views(stream: Stream) -> tuple[str, ...]:
    """Write the views that decode a record: its text, its fields, their values and what refuses each."""
    fields = stream.fields.items()
    paths = {
        name: json_path(field.source_name or name, stream=stream.name, field=name)
        for name, field in fields
    }
    found = {
        name: decoded(name, field, j=f"`j_{name}`", s=f"`s_{name}`", stream=stream.name)
        for name, field in fields
    }
    parts = {
        f"j_{name}": f"json_query(body, {quote_text(path)} with wrapper)"
        for name, path in paths.items()
    }
    typed = {f"v_{name}": each.value for name, each in found.items()}
    typed |= {f"c_{name}": each.code for name, each in found.items()}
    steps = {
        "texts": {"body": "decode(`raw`, 'UTF-8')"},
        "pieces": {"whole_code": _whole_code(), **parts},
        "scalars": {f"s_{name}": scalar(f"`j_{name}`") for name in paths},
        **steps_of(found.values()),
        "typed": typed,
    }
    views = [draws("records", "topic")]
    for base, (view, values) in zip(["records", *steps], steps.items(), strict=False):
        views.append(once(view, base, values))
    return tuple(views)


def _whole_code() -> str:
    """Write what refuses a record before its fields are looked at.

    The parser stops behind the first value, so a text is parsed inside of a list and of an object: what
    follows an object cannot go on both. Behind an escaped backslash no character is escaped.
    """
    return f"""case
        when `raw` is null then {quote_text(TOMBSTONE)}
        when char_length(body) > {RECORD_BYTES_MAX} then {quote_text(TOO_LONG)}
        when encode(body, 'UTF-8') <> `raw` then {quote_text(INVALID_UTF8)}
        when not regexp(body, '^[ \\t\\r\\n]*[{{]')
            or try_parse_json(concat('[', body, ']')) is null
            or try_parse_json(concat('{{"_":', body, '}}')) is null then {quote_text(MALFORMED)}
        when body like '%\\u%' and regexp(replace(body, '\\\\', '//'), {quote_text(_HALF_PAIR)})
            then {quote_text(INVALID_UTF8)}
    end"""


def _verdict(stream: Stream) -> str:
    """Write the first violation, in the order of the contract."""
    skew = int(stream.allowed_clock_skew.total_seconds())
    late = f"timestampadd(second, {skew}, current_row_timestamp())"
    time = stream.time_field
    whens = [
        "when whole_code is not null then whole_code",
        *(
            f"when `c_{name}` is not null then concat(`c_{name}`, ':', '{name}')"
            for name in stream.fields
        ),
        f"when `v_{time}` > {late} then '{FUTURE_TIME}:{time}'",
    ]
    listed = "\n        ".join(whens)
    return f"case\n        {listed}\n    end"


def _rows(stream: Stream) -> str:
    table = stream.table_schema()
    values = {stream.column_of(name): f"`v_{name}`" for name in stream.fields} | _coordinates()
    if stream.known_at.ingested:
        values[KNOWN_AT] = "cast(current_row_timestamp() as timestamp_ltz(6))"
    elif stream.known_at.after_event is not None:
        milliseconds = int(stream.known_at.after_event.total_seconds() * 1000)
        whole, rest = divmod(milliseconds, 1000)
        delay = f"timestampadd(second, {whole}, {values[EVENT_TIME]})"
        values[KNOWN_AT] = f"{delay} + interval '0.{rest:03}' second(3)" if rest else delay
    names = ", ".join(f"`{name}`" for name in table.names)
    selected = ",\n    ".join(f"{values[name]} as `{name}`" for name in table.names)
    return f"""insert into {named(str(stream.table))} ({names})
select
    {selected}
from judged where refusal is null{_shared(stream)};
"""


def _letters(stream: Stream, *, tombstones: str) -> str:
    code = "regexp_extract(refusal, '^([a-z_0-9]+)', 1)"
    field = "case when refusal like '%:%' then regexp_extract(refusal, ':(.*)', 1) end"
    whole = " ".join(
        f"when refusal = {quote_text(each)} then {quote_text(why)}"
        for each, why in _REASONS[stream.format].items()
    )
    skew = format_duration(stream.allowed_clock_skew)
    values = {
        "stream": f"cast({quote_text(stream.name)} as string)",
        "contract_version": f"cast({stream.version} as int)",
        **_coordinates(),
        "error_code": code,
        "field": field,
        "reason": f"case {whole} when refusal like '{FUTURE_TIME}:%' then "
        f"{quote_text(f'the event time is more than {skew} in the future')} "
        f"else concat('`', {field}, '` is refused: ', {code}) end",
        "raw": "coalesce(`raw`, x'')",
        "recorded_at": "cast(current_row_timestamp() as timestamp_ltz(6))",
        "source_line": "cast(null as bigint)",
        "key": "k_key",
        "headers": "cast(map_entries(k_headers) as array<row<`name` string, `value` bytes>>)",
        "source_time_type": "case k_time_type when 'LogAppendTime' then 'appended' else 'created' end",
        "csv_header": "cast(null as array<string>)",
        "row_ipc": "cast(null as bytes)",
        "is_whole": "true",
        "is_tombstone": "`raw` is null",
    }
    names = ", ".join(f"`{name}`" for name in dead_letters.SCHEMA.names)
    selected = ",\n    ".join(f"{values[name]} as `{name}`" for name in dead_letters.SCHEMA.names)
    ignored = f" and refusal <> {quote_text(TOMBSTONE)}" if tombstones == "ignore" else ""
    return f"""insert into {named(str(dead_letters.TABLE))} ({names})
select
    {selected}
from judged where refusal is not null{ignored}{_shared(stream)};
"""


def _shared(stream: Stream) -> str:
    """Write that both inserts read one view; the planner finds no plan where steps of Avro are shared."""
    return "" if stream.format == "avro" else f" and {is_drawn('judged')}"


def _coordinates() -> dict[str, str]:
    time = "case when k_time_type <> 'NoTimestampType' then cast(k_time as timestamp_ltz(6)) end"
    return dict(zip(COORDINATES.names, ("k_topic", "k_partition", "k_offset", time), strict=True))
