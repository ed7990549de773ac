"""One field of an Avro value in SQL, as a field of JSON is given to `columns`: its text and what kind it is.

Numbers, texts and times so have one rule for both formats. Floating values have no text that is exact, and
dates and decimals of Avro count; these are read here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from headrace.definitions.stream_field import StreamField
from headrace.definitions.types import TIMESTAMP
from headrace.errors import FlinkCannotError
from headrace.flink.avro_bytes import (
    bytes_at,
    code_at,
    floating,
    last_bytes,
    number,
    short,
    whole,
)
from headrace.flink.avro_lists import is_whole, texts_bytes, texts_of
from headrace.flink.avro_walk import Part
from headrace.flink.columns import LARGEST, Decoded, decoded, sql_type
from headrace.identifiers import quote_text
from headrace.ingest.decoding.avro_types import Node
from headrace.ingest.decoding.avro_values import WriterField
from headrace.ingest.decoding.decoded import MISSING_REQUIRED
from headrace.ingest.decoding.typed import NAIVE
from headrace.ingest.values import (
    NAIVE_TIME,
    NOT_FINITE,
    OUT_OF_RANGE,
    WRONG_TYPE,
    YEAR_1_DAYS,
    YEAR_10000_DAYS,
)

_UNITS = {1000: "ms", 1: "us", None: "ns"}
_DIGITS_MAX = 18  # of a decimal, whose digits are one whole number


@dataclass(frozen=True, kw_only=True)
class AvroField:
    """SQL of a field in three steps: `pieces` and `texts` are columns, `found` is made of them.

    `is_sound` says whether a text is UTF-8; it is empty where there is none.
    """

    pieces: Mapping[str, str] = field(default_factory=dict[str, str])
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    found: Decoded
    is_sound: str = ""


def avro_field(
    name: str, declared: StreamField, written: WriterField | None, part: Part | None, *, stream: str
) -> AvroField:
    """Write the SQL of a declared field that was written as a field of a schema, or not at all.

    Raises:
        FlinkCannotError: If SQL cannot tell its values from others as the contract does.

    """
    decoded(name, declared, j="", s="", stream=stream)  # refuses what SQL cannot say
    if written is None or written.kind == pa.null():
        return _refused(declared, "false", MISSING_REQUIRED)
    wanted, kind = declared.type.arrow, written.kind
    if part is None or kind is None:
        return _refused(declared, _is_there(part), WRONG_TYPE)
    if kind == NAIVE:
        code = NAIVE_TIME if wanted == TIMESTAMP else WRONG_TYPE
        return _refused(declared, _is_there(part), code)
    is_truth = pa.types.is_boolean(kind)
    if (written.is_time and wanted != TIMESTAMP) or (is_truth and not pa.types.is_boolean(wanted)):
        return _refused(declared, _is_there(part), WRONG_TYPE)
    if pa.types.is_list(kind):
        return _list(name, declared, part, kind.value_type, stream=stream)
    _refuse_others(name, declared, written, stream=stream)
    if pa.types.is_floating(kind):
        return _floating(name, declared, part)
    if kind == pa.date32():
        return _date(name, declared, part)
    if pa.types.is_decimal(kind):
        return _decimal(name, declared, written, part, stream=stream)
    return _as_json(name, declared, written, part, stream=stream)


def _is_there(part: Part | None) -> str:
    return "true" if part is None or not part.is_union else f"not ({part.is_branch('null')})"


def _refuse_others(name: str, declared: StreamField, written: WriterField, *, stream: str) -> None:
    """Refuse pairs of types that headrace converts, and SQL would not as it does."""
    wanted, kind = declared.type.arrow, written.kind
    is_number = pa.types.is_integer(wanted) or pa.types.is_floating(wanted)
    if kind == pa.string() and (is_number or pa.types.is_boolean(wanted)):
        what = f"its schema has a text, which is read as `{declared.type.text}`"
        raise FlinkCannotError(stream, what, field=name)
    is_exact = kind is None or not (pa.types.is_floating(kind) or pa.types.is_decimal(kind))
    if declared.unit is not None and not is_exact:
        what = f"its schema has a time that is `{kind}`, counted in `{declared.unit}`"
        raise FlinkCannotError(stream, what, field=name)


def _refused(declared: StreamField, is_there: str, code: str) -> AvroField:
    """Refuse each value that is there."""
    value = f"cast(null as {sql_type(declared.type.arrow)})"
    return AvroField(
        found=Decoded(value=value, code=_coded(declared, is_there, f"else {quote_text(code)}"))
    )


def _coded(declared: StreamField, is_there: str, codes: str) -> str:
    absent = quote_text(MISSING_REQUIRED) if declared.required else "cast(null as string)"
    return f"case when not ({is_there}) then {absent} {codes} end"


def _as_json(
    name: str, declared: StreamField, written: WriterField, part: Part, *, stream: str
) -> AvroField:
    """Read what JSON has too: the text of a number, a text, or a truth value."""
    there, node = _is_there(part), part.node()
    j, s = f"`j_{name}`", f"`s_{name}`"
    unit = _UNITS[written.unit_us] if written.is_time else declared.unit
    found = decoded(name, declared.model_copy(update={"unit": unit}), j=j, s=s, stream=stream)
    if node.kind in ("string", "enum"):
        return _text(name, node, part, there, found)
    if node.kind == "boolean":
        truth = f"case when {code_at(part.at)} = 0 then '[false]' else '[true]' end"
        texts = {f"j_{name}": f"case when {there} then {truth} end"}
        texts[f"s_{name}"] = "cast(null as string)"
        return AvroField(texts=texts, found=found)
    digits = f"cast(`n_{name}` as string)"
    return AvroField(
        pieces={f"n_{name}": f"case when {there} then {number(part.digits)} end"},
        texts={f"j_{name}": f"concat('[', {digits}, ']')", f"s_{name}": digits},
        found=found,
    )


def _text(name: str, node: Node, part: Part, there: str, found: Decoded) -> AvroField:
    j = f"case when {there} then '[\"' end"
    if node.kind == "enum":
        symbols = " ".join(
            f"when {at} then {quote_text(each)}" for at, each in enumerate(node.names)
        )
        text = f"case when {there} then case {short(part.digits)} {symbols} end end"
        return AvroField(texts={f"j_{name}": j, f"s_{name}": text}, found=found)
    inside = bytes_at(f"{part.at} + char_length({part.digits})", short(part.digits))
    return AvroField(
        pieces={f"b_{name}": f"case when {there} then {inside} end"},
        texts={f"j_{name}": j, f"s_{name}": f"decode(`b_{name}`, 'UTF-8')"},
        found=found,
        is_sound=f"coalesce(encode(`s_{name}`, 'UTF-8') = `b_{name}`, true)",
    )


def _list(
    name: str, declared: StreamField, part: Part, element: pa.DataType, *, stream: str
) -> AvroField:
    """Read a list of texts, none of which may be null: only texts are taken apart without a loop."""
    there, wanted = _is_there(part), declared.type.arrow
    if not pa.types.is_list(wanted):
        return _refused(declared, there, WRONG_TYPE)
    if part.node().inner[0].kind != "string" or not pa.types.is_string(wanted.value_type):
        what = f"its schema has lists of `{element}`, read as `{declared.type.text}`"
        raise FlinkCannotError(stream, what, field=name)
    between = is_whole(f"`s_{name}`", count=part.count)
    return AvroField(
        pieces={
            f"b_{name}": f"case when {there} then "
            f"{texts_bytes(count=part.count, items=part.items)} end"
        },
        texts={f"s_{name}": f"decode(`b_{name}`, 'UTF-8')"},
        found=Decoded(
            value=f"case when {there} then {texts_of(f'`s_{name}`', count=part.count)} end",
            code=_coded(declared, there, ""),
        ),
        is_sound=f"coalesce(encode(`s_{name}`, 'UTF-8') = `b_{name}` and {between}, true)",
    )


def _floating(name: str, declared: StreamField, part: Part) -> AvroField:
    there, wanted = _is_there(part), declared.type.arrow
    if not pa.types.is_floating(wanted):
        return _refused(declared, there, WRONG_TYPE)
    size = 4 if part.node().kind == "float" else 8
    value = f"cast(`x_{name}` as {sql_type(wanted)})"
    is_finite = f"coalesce(abs({value}) <= {LARGEST[wanted]}, false)"
    codes = f"when not {is_finite} then {quote_text(NOT_FINITE)}"
    return AvroField(
        pieces={f"x_{name}": f"case when {there} then {floating(part.at, size=size)} end"},
        found=Decoded(
            value=f"case when {there} then {value} end", code=_coded(declared, there, codes)
        ),
    )


def _date(name: str, declared: StreamField, part: Part) -> AvroField:
    there = _is_there(part)
    if declared.type.arrow != pa.date32():
        return _refused(declared, there, WRONG_TYPE)
    days = f"`n_{name}`"
    shown = f"{days} between {YEAR_1_DAYS} and {YEAR_10000_DAYS - 1}"
    day = f"cast(timestampadd(day, cast({days} as int), date '1970-01-01') as date)"
    codes = f"when not ({shown}) then {quote_text(OUT_OF_RANGE)}"
    return AvroField(
        pieces={f"n_{name}": f"case when {there} then {number(part.digits)} end"},
        found=Decoded(
            value=f"case when {there} and {shown} then {day} end",
            code=_coded(declared, there, codes),
        ),
    )


def _decimal(
    name: str, declared: StreamField, written: WriterField, part: Part, *, stream: str
) -> AvroField:
    there, wanted, scale = _is_there(part), declared.type.arrow, written.scale or 0
    if not pa.types.is_decimal(wanted):
        return _refused(declared, there, WRONG_TYPE)
    if wanted.precision - wanted.scale + scale > _DIGITS_MAX:
        what = f"its schema has decimals of {scale} digits behind the point: together more than {_DIGITS_MAX}"
        raise FlinkCannotError(stream, what, field=name)
    node = part.node()
    at, count = part.at, str(node.size)
    if node.kind == "bytes":
        at, count = f"({at} + char_length({part.digits}))", short(part.digits)
    text = f"concat(cast({whole(f'`q_{name}`')} as string), 'e-{scale}')"
    found = decoded(name, declared, j=f"`j_{name}`", s=f"`s_{name}`", stream=stream)
    far = f"when `q_{name}` is null then {quote_text(OUT_OF_RANGE)} else {found.code}"
    return AvroField(
        pieces={f"q_{name}": f"case when {there} then {last_bytes(at, count)} end"},
        texts={
            f"s_{name}": f"case when `q_{name}` is not null then {text} end",
            f"j_{name}": f"case when {there} then '[' end",
        },
        found=Decoded(value=found.value, code=_coded(declared, there, far)),
    )
