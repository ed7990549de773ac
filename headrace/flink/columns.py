"""One field of a JSON record in Flink SQL: its value, and why it is refused.

A field arrives as `j`, the JSON text of its value in an array (`["text"]`, `[12]`, null if it is absent or
null), so that a number and a text of it are told apart, and as `s`, the text itself, or the number as it was
written. Values and codes are pure functions of both. No pattern repeats a group, because Java recurses for
each repetition.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from headrace.definitions.stream_field import StreamField, path_of
from headrace.definitions.types import TIMESTAMP
from headrace.errors import FlinkCannotError
from headrace.identifiers import quote_text
from headrace.ingest.decoding.decoded import MISSING_REQUIRED
from headrace.ingest.values import (
    INTEGER_BITS,
    NAIVE_TIME,
    NOT_EXACT,
    NOT_FINITE,
    OUT_OF_RANGE,
    WRONG_TYPE,
)

_SQL_TYPES: dict[pa.DataType, str] = {
    pa.string(): "string",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    TIMESTAMP: "timestamp_ltz(6)",
}
_CLOCK = "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?"
_OPEN, _CLOSE = r"\A[\[]", r"[\]]\z"
_LIST = (r"\A[\[][\[]", r"[\]][\]]\z")
_END = "\\z"  # `$` would let a last newline pass
_ZONE = "(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_WHOLE = "-?[0-9]+"
_FLOATING = "-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?"
_DECIMAL = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,4})?"
_FIRST_TIME, _LAST_TIME = (
    "timestamp '0001-01-01 00:00:00'",
    "timestamp '9999-12-31 23:59:59.999999'",
)
_PER_UNIT = {"s": "1000000", "ms": "1000", "us": "1", "ns": "0.001"}
LARGEST = {pa.float32(): "3.4028235E38", pa.float64(): "1.7976931348623157E308"}
# whole numbers of so many digits are exact in any case
_DIGITS_SAFE = {pa.float32(): 7, pa.float64(): 15}
_LIST_TEXTS = {
    pa.int32(): "[0-9,nul-]*",
    pa.int64(): "[0-9,nul-]*",
    pa.bool_(): "[truefalsn,]*",
}


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """SQL of one field: `value` is null where `code` is a text, the code of its refusal.

    Both are made of columns that are added before, by `steps`, each of which may read those of the one before.
    """

    value: str
    code: str
    steps: tuple[Mapping[str, str], ...] = ()


def steps_of(fields: Iterable[Decoded]) -> dict[str, dict[str, str]]:
    """Return the columns that fields add, by the names of the steps."""
    found: dict[str, dict[str, str]] = {}
    for each in fields:
        for number, columns in enumerate(each.steps):
            found.setdefault(f"parts_{number}", {}).update(columns)
    return found


def sql_type(kind: pa.DataType) -> str:
    """Return Flink's name of a type, or of a list of such."""
    if pa.types.is_list(kind):
        return f"array<{sql_type(kind.value_type)}>"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    return _SQL_TYPES[kind]


def json_path(name: str, *, stream: str, field: str) -> str:
    """Return the path of a key at the top of a record.

    Raises:
        FlinkCannotError: If the key has a character that paths cannot hold, or is one inside of another
            object: the path of SQL would go into lists too, and take other values for an object.

    """
    if path_of(name) is not None:
        raise FlinkCannotError(stream, f"the key `{name[:80]}` of a nested object", field=field)
    if not re.fullmatch(r"[^\"'\\\[\]]+", name) or not name.isprintable():
        raise FlinkCannotError(stream, f"the key `{name[:80]}` has quotes or brackets", field=field)
    return f'lax $["{name}"]'


def scalar(j: str) -> str:
    """Write the SQL of `s` from `j`."""
    bare = f"substring({j} from 2 for char_length({j}) - 2)"
    plain = f"substring({j} from 3 for char_length({j}) - 4)"
    text = f"case when position('\\' in {j}) = 0 then {plain} else json_value({j}, 'lax $[0]') end"
    return f"case when {_is_text(j)} then {text} else {bare} end"


def decoded(name: str, field: StreamField, *, j: str, s: str, stream: str) -> Decoded:
    """Write the SQL of a field.

    Raises:
        FlinkCannotError: If Flink SQL cannot tell its values from others as the contract does.

    """
    found = _by_type(name, field, j, s, stream=stream)
    missing = f"when {j} is null then {quote_text(MISSING_REQUIRED)}" if field.required else ""
    null = f"when {j} is null then cast(null as string)"
    code = f"case {missing or null} {found.code} end"
    return replace(found, code=code)


def _by_type(name: str, field: StreamField, j: str, s: str, *, stream: str) -> Decoded:
    kind = field.type.arrow
    if field.timezone is not None or field.time_format is not None:
        what = "times of a `timezone` or a `time_format`, which may be no time or two"
        raise FlinkCannotError(stream, what, field=name)
    if kind == TIMESTAMP:
        return _time(name, s, j) if field.unit is None else _counted(s, field.unit)
    if kind == pa.date32():
        return _date(s, j)
    if pa.types.is_string(kind):
        return Decoded(value=f"case when {_is_text(j)} then {s} end", code=_unless(_is_text(j)))
    if pa.types.is_boolean(kind):
        fits = f"{j} in ('[true]', '[false]')"
        return Decoded(value=f"case when {fits} then {j} = '[true]' end", code=_unless(fits))
    if pa.types.is_integer(kind):
        fits, cast = _like(j, _WHOLE), f"try_cast({s} as {_SQL_TYPES[kind]})"
        return _checked(fits, cast, f"when {cast} is null then {quote_text(OUT_OF_RANGE)}")
    if pa.types.is_floating(kind):
        return _floating(kind, j, s)
    if pa.types.is_decimal(kind):
        return _decimal(kind, s)
    if pa.types.is_list(kind):
        return _list(name, kind.value_type, j, stream=stream)
    raise FlinkCannotError(stream, f"the type `{field.type.text}`", field=name)


def _like(j: str, pattern: str) -> str:
    return f"regexp({j}, {quote_text(_OPEN + pattern + _CLOSE)})"


def _is_text(j: str) -> str:
    return f"{j} like '[\"%'"


def _unless(fits: str) -> str:
    return f"when not ({fits}) then {quote_text(WRONG_TYPE)}"


def _checked(fits: str, value: str, *codes: str) -> Decoded:
    """Return a value that is only computed where its form fits."""
    return Decoded(
        value=f"case when {fits} then {value} end", code=" ".join((_unless(fits), *codes))
    )


def _floating(kind: pa.DataType, j: str, number: str) -> Decoded:
    fits, sql = _like(j, _FLOATING), _SQL_TYPES[kind]
    value = f"try_cast({number} as {sql})"
    far = f"when abs({value}) > {LARGEST[kind]} then {quote_text(NOT_FINITE)}"
    digits = f"char_length({number}) > {_DIGITS_SAFE[kind]}"
    wide = f"try_cast({number} as {'bigint' if kind == pa.float64() else 'double'})"
    same = f"cast({value} as {'bigint' if kind == pa.float64() else 'double'}) = {wide}"
    bounded = (
        f"abs({value}) < 9.2E18" if INTEGER_BITS[kind] > 24 else f"char_length({number}) <= 15"
    )
    exact = (
        f"when {_like(j, _WHOLE)} and {digits} and not coalesce({bounded} and {same}, false) "
        f"then {quote_text(NOT_EXACT)}"
    )
    return _checked(fits, value, far, exact)


def _decimal(kind: pa.DataType, written: str) -> Decoded:
    precision, scale = kind.precision, kind.scale
    fits = f"regexp({written}, {quote_text(f'^{_DECIMAL}{_END}')})"
    value = f"try_cast({written} as decimal({precision}, {scale}))"
    wider = f"try_cast({written} as decimal(38, {38 - (precision - scale)}))"
    plain = f"regexp({written}, {quote_text(f'[.][0-9]{{{scale}}}[0-9]*[1-9]')})"
    cut = f"case when upper({written}) like '%E%' then {_digits_behind(written)} > {scale} else {plain} end"
    far = f"when {value} is null or {value} <> {wider} or {cut} then {quote_text(OUT_OF_RANGE)}"
    return _checked(fits, value, far)


def _digits_behind(written: str) -> str:
    """Write how many digits a number with an exponent has behind the point: `1.2340e2` has one, `0e-9` none."""
    digits, exponent = (f"split_index(upper({written}), 'E', {place})" for place in (0, 1))
    bare = f"trim(trailing '0' from replace({digits}, '.', ''))"
    zeros = f"char_length(replace({digits}, '.', '')) - char_length({bare})"
    behind = f"coalesce(char_length(split_index({digits}, '.', 1)), 0) - ({zeros}) - cast({exponent} as int)"
    return f"case when {bare} in ('', '+', '-') then 0 else {behind} end"


def _time(name: str, text: str, j: str) -> Decoded:
    """Read a time with `Z` or an offset; a day or an hour that no clock shows is out of range.

    So is an offset of a day and more, and a time that in UTC is outside of the years 1 to 9999.

    The form is looked at once; the rest goes by places in the text, as what takes parts by a pattern compiles
    it for each record.
    """
    zone, clock, local = (f"`{part}_{name}`" for part in ("zone", "clock", "local"))
    fits = f"{_is_text(j)} and regexp({text}, {quote_text(f'^{_CLOCK}{_ZONE}{_END}')})"
    naive = f"{_is_text(j)} and regexp({text}, {quote_text(f'^{_CLOCK}{_END}')})"
    found_zone = (
        f"case when {text} like '%Z' then 'Z' "
        f"when substring({text} from char_length({text}) - 5 for 1) in ('+', '-') then right({text}, 6) "
        f"when substring({text} from char_length({text}) - 4 for 1) in ('+', '-') then right({text}, 5) "
        f"else right({text}, 3) end"
    )
    seconds = f"case when substring({text} from 17 for 1) = ':' then substring({text} from 18 for 2) else '00' end"
    digits = f"substring({text} from 21 for char_length({text}) - 20 - char_length({zone}))"
    fraction = f"case when substring({text} from 20 for 1) = '.' then substring({digits} from 1 for 6) else '' end"
    found_clock = (
        f"concat(substring({text} from 1 for 10), ' ', substring({text} from 12 for 5), ':', "
        f"{seconds}, '.', rpad({fraction}, 6, '0'))"
    )
    hours = f"cast(substring({zone} from 2 for 2) as int) * 60"
    minutes = f"case when char_length({zone}) > 3 then cast(right({zone}, 2) as int) else 0 end"
    behind = (
        f"case when {zone} = 'Z' then 0 when {zone} like '-%' then {hours} + {minutes} "
        f"else - ({hours} + {minutes}) end"
    )
    moved = f"timestampadd(minute, {behind}, {local})"
    shown = (
        f"coalesce(cast({local} as string) = {clock} "
        f"and ({zone} = 'Z' or {hours} < 1440 and {minutes} < 60) "
        f"and {moved} between {_FIRST_TIME} and {_LAST_TIME}, false)"
    )
    value = f"cast({moved} as timestamp_ltz(6))"
    return Decoded(
        value=f"case when {shown} then {value} end",
        code=f"when {shown} then cast(null as string) "
        f"when {zone} is not null then {quote_text(OUT_OF_RANGE)} "
        f"when {naive} then {quote_text(NAIVE_TIME)} else {quote_text(WRONG_TYPE)}",
        steps=(
            {f"zone_{name}": f"case when {fits} then {found_zone} end"},
            {f"clock_{name}": f"case when {zone} is not null then {found_clock} end"},
            {f"local_{name}": f"try_cast({clock} as timestamp(6))"},
        ),
    )


def _counted(written: str, unit: str) -> Decoded:
    """Read a time that counts from 1970; digits beyond microseconds are cut off towards the past."""
    fits = f"regexp({written}, '^[+-]?[0-9]{{1,24}}([.][0-9]*)?{_END}')"
    digits = 33 if unit == "ns" else 28  # a product has at most 38, else Flink rounds it
    exact_us = f"floor(try_cast({written} as decimal({digits}, 9)) * {_PER_UNIT[unit]})"
    us = f"cast({exact_us} as bigint)"  # of a far time it is another one
    ms = f"(({us}) - mod(mod({us}, 1000) + 1000, 1000)) / 1000"
    rest = f"lpad(cast(mod(mod({us}, 1000) + 1000, 1000) as string), 3, '0')"
    start = (
        f"date_format(cast(to_timestamp_ltz({ms}, 3) as timestamp(3)), 'yyyy-MM-dd HH:mm:ss.SSS')"
    )
    value = f"cast(try_cast(concat({start}, {rest}) as timestamp(6)) as timestamp_ltz(6))"
    inside = f"{exact_us} between -62135596800000000 and 253402300799999999"
    return Decoded(
        value=f"case when {fits} and {inside} then {value} end",
        code=f"{_unless(fits)} when not coalesce({inside}, false) then {quote_text(OUT_OF_RANGE)}",
    )


def _date(text: str, j: str) -> Decoded:
    fits = f"{_is_text(j)} and regexp({text}, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{_END}')"
    midnight = f"try_cast(concat({text}, ' 00:00:00') as timestamp(6))"
    shown = f"coalesce(date_format({midnight}, 'yyyy-MM-dd') = {text}, false)"
    return Decoded(
        value=f"case when {fits} and {shown} then cast({midnight} as date) end",
        code=f"{_unless(fits)} when not {shown} then {quote_text(OUT_OF_RANGE)}",
    )


def _list(name: str, element: pa.DataType, j: str, *, stream: str) -> Decoded:
    texts = f"json_query({j}, 'lax $[0]' returning array<string>)"
    if pa.types.is_string(element):
        bare = f"regexp_replace(regexp_replace({j}, '\\\\.', ''), '\"[^\"]*\"', '')"
        fits = f"regexp({bare}, '^[\\[][\\[][nul,]*[\\]][\\]]$')"
        return Decoded(value=f"case when {fits} then {texts} end", code=_unless(fits))
    if element not in _LIST_TEXTS:
        raise FlinkCannotError(stream, f"lists of `{element}`", field=name)
    fits = f"regexp({j}, {quote_text(_LIST[0] + _LIST_TEXTS[element] + _LIST[1])})"
    value = f"try_cast({texts} as array<{_SQL_TYPES[element]}>)"
    return _checked(fits, value, f"when {value} is null then {quote_text(OUT_OF_RANGE)}")
