"""The views that decode Avro values of a topic, by each schema that they may be written with; pure.

Every record keeps its bytes, so a value that is not of its schema is a dead letter as any other. A schema is
known by the number that a frame names; values of others are refused until the job begins again.
"""

from collections.abc import Mapping

from headrace.definitions.stream import Stream
from headrace.flink.avro_bytes import ALPHABET, latin, text_of
from headrace.flink.avro_fields import AvroField, avro_field
from headrace.flink.avro_walk import Walk, walk
from headrace.flink.columns import sql_type, steps_of
from headrace.flink.statements import in_steps, once_each, plus
from headrace.identifiers import quote_text
from headrace.ingest.decoding.avro_values import Writer
from headrace.ingest.decoding.decoded import (
    MALFORMED,
    TOMBSTONE,
    TOO_LONG,
    UNFRAMED,
    UNKNOWN_SCHEMA,
)
from headrace.ingest.decoding.frames import HEAD_BYTES, PLAIN
from headrace.ingest.sources.base import RECORD_BYTES_MAX

# what the topic gives, beside the value's letters
_RECORD = (
    "k_key",
    "raw",
    "k_topic",
    "k_partition",
    "k_offset",
    "k_time",
    "k_time_type",
    "k_headers",
)


def avro_views(stream: Stream, writers: Mapping[int, Writer]) -> tuple[str, ...]:
    """Write the views from `topic` to `typed`, which has the value and the code of each field.

    Args:
        stream: The contract.
        writers: The schemas by their ids; that of all values has the id `PLAIN`.

    Raises:
        FlinkCannotError: If SQL cannot read values of a schema; it names the field.

    """
    views = [once_each("texts", "topic", {"body": latin("`raw`"), "alphabet": ALPHABET})]
    values = [*(f"v_{name}" for name in stream.fields), *(f"c_{name}" for name in stream.fields)]
    listed = ", ".join(f"`{name}`" for name in (*_RECORD, "whole_code", *values))
    chosen: list[str] = []
    for schema_id, writer in sorted(writers.items()):
        name = "plain" if schema_id == PLAIN else str(schema_id)
        views.append(_of_schema(stream, writer, schema_id, f"typed_{name}"))
        chosen.append(f"select {listed} from typed_{name}")
    views.append(_others(stream, writers))
    chosen.append(f"select {listed} from typed_others")
    views.append("create temporary view typed as\n" + "\nunion all\n".join(chosen))
    return tuple(views)


def _head(schema_id: int) -> str:
    return text_of(b"\0" + schema_id.to_bytes(HEAD_BYTES - 1, "big"))


def _is_of(schema_id: int) -> str:
    fits = f"char_length(body) <= {RECORD_BYTES_MAX}"
    if schema_id == PLAIN:
        return fits
    return f"{fits} and substring(body from 1 for {HEAD_BYTES}) = {_head(schema_id)}"


def _of_schema(stream: Stream, writer: Writer, schema_id: int, view: str) -> str:
    """Write the view of the values of one schema."""
    first = 1 if schema_id == PLAIN else HEAD_BYTES + 1
    found = walk(writer.node, first=first, base="chosen", stream=stream.name)
    fields = _fields(stream, writer, found)
    pieces = {key: sql for each in fields.values() for key, sql in each.pieces.items()}
    texts = {key: sql for each in fields.values() for key, sql in each.texts.items()}
    texts_sound = (each.is_sound for each in fields.values() if each.is_sound)
    sound = " and ".join((found.is_sound, *texts_sound))
    whole = f"case when not ({sound}) then {quote_text(MALFORMED)} end"
    steps = {"chosen": f"select * from texts where {_is_of(schema_id)}", **found.steps}
    parts = steps_of(each.found for each in fields.values())
    added = {
        "pieces": pieces,
        "scalars": texts,
        **parts,
        "typed": _typed(stream, whole, fields),
    }
    for step, values in added.items():
        if values:
            steps[step] = plus(list(steps)[-1], values)
    return in_steps(view, steps)


def _fields(stream: Stream, writer: Writer, found: Walk) -> dict[str, AvroField]:
    written = {each.name: each for each in writer.fields}
    fields: dict[str, AvroField] = {}
    for name, declared in stream.fields.items():
        source = declared.source_name or name
        fields[name] = avro_field(
            name, declared, written.get(source), found.parts.get(source), stream=stream.name
        )
    return fields


def _typed(stream: Stream, whole: str, fields: Mapping[str, AvroField]) -> dict[str, str]:
    typed = {"whole_code": f"cast({whole} as string)"}
    for name, declared in stream.fields.items():
        typed[f"v_{name}"] = f"cast({fields[name].found.value} as {sql_type(declared.type.arrow)})"
    for name in stream.fields:
        typed[f"c_{name}"] = f"cast({fields[name].found.code} as string)"
    return typed


def _others(stream: Stream, writers: Mapping[int, Writer]) -> str:
    """Write the view of values of no schema that is known."""
    known = " or ".join(f"({_is_of(each)})" for each in sorted(writers))
    others = f"select * from texts where not coalesce({known}, false)"
    framed = (
        f"char_length(body) >= {HEAD_BYTES} and substring(body from 1 for 1) = {text_of(bytes(1))}"
    )
    whole = f"""case when `raw` is null then {quote_text(TOMBSTONE)}
        when char_length(body) > {RECORD_BYTES_MAX} then {quote_text(TOO_LONG)}
        when {framed} then {quote_text(UNKNOWN_SCHEMA)}
        else {quote_text(UNFRAMED)} end"""
    typed = {"whole_code": f"cast({whole} as string)"}
    for name, declared in stream.fields.items():
        typed[f"v_{name}"] = f"cast(null as {sql_type(declared.type.arrow)})"
    typed |= {f"c_{name}": "cast(null as string)" for name in stream.fields}
    return in_steps("typed_others", {"others": others, "typed": plus("others", typed)})
