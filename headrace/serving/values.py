"""Values of the online store as canonical JSON text: exact, typed, and never pickled."""

import base64
import datetime as dt
import itertools
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, cast

import orjson

from headrace.serving.store import EntityKey, Value, epoch_us, from_epoch_us

_BETWEEN = 4_503_599_627_370_449  # no damage makes it by chance
_BETWEEN_TEXTS = f",{_BETWEEN},"
_NESTED: frozenset[type] = frozenset({list, dict})
_AS_THEY_ARE: frozenset[type] = frozenset({int, str, bool, type(None)})
_KEY_PARTS: frozenset[type] = frozenset({int, str, bool})
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def encode(values: Iterable[Value]) -> str:
    """Write values so that `decode` returns equal ones of the same types.

    JSON's own types are written as they are, others as an object with a one-letter key: `t` (epoch
    microseconds), `d` (ISO date), `n` (decimal), `b` (base64 bytes), `f` (nan, inf, -inf).

    Raises:
        ValueError: If a time has no zone.
        TypeError: If a value is of a type that has no form here, or an integer beyond 64 bits.

    """
    return orjson.dumps([json_form(value) for value in values]).decode()


def decode(text: str | bytes) -> tuple[Value, ...]:
    """Read what `encode` wrote; lists come back as tuples."""
    return _values(orjson.loads(text))


class ParsedRows(NamedTuple):
    """Rows as JSON has them; some may have values with a letter, as `encode` writes them, or lists."""

    items: Sequence[list[Any]]
    has_typed: bool
    has_lists: bool

    def values(self) -> Sequence[Sequence[Value]]:
        """Return the values that were encoded; lists come back as tuples."""
        return list(map(_values, self.items)) if self.has_typed or self.has_lists else self.items


def parse_rows(texts: Sequence[str]) -> ParsedRows:
    """Read texts that `encode` wrote, all at once.

    Raises:
        ValueError: If one of them is damaged.

    """
    # a number stands between two texts: where one text has a row too many, or two texts make one, it
    # is no longer every second value, also if the number of rows is right again
    joined = f"[{_BETWEEN_TEXTS.join(texts)}]"
    found: list[Any] = orjson.loads(joined)
    rows: list[list[Any]] = found[::2]
    if (
        len(found) != max(0, 2 * len(texts) - 1)
        or found[1::2].count(_BETWEEN) != len(found) // 2
        or not set(map(type, rows)) <= {list}
    ):
        msg = f"{len(texts)} texts are not as many rows"
        raise ValueError(msg)
    return ParsedRows(rows, "{" in joined, joined.count("[") != len(texts) + 1)


def decode_rows(texts: Sequence[str]) -> list[tuple[Value, ...]]:
    """Read texts as `decode` does, all at once. Raises as `parse_rows` does."""
    return list(map(tuple, parse_rows(texts).values()))


def plain_column(values: Sequence[Value]) -> Sequence[Any]:
    """Write the values of one column as JSON: as `plain`, but without a call for each where none is odd."""
    kinds = set(map(type, values))
    if kinds == {float} and math.isfinite(sum(cast("Sequence[float]", values))):
        return values  # one that is not finite makes the sum so
    return values if kinds <= _AS_THEY_ARE else [plain(value) for value in values]


def plain(value: Value) -> Any:  # noqa: ANN401  (JSON)
    """Write a value as JSON: integers whole, times ISO, decimals as text, bytes as base64.

    JSON has no NaN and no infinity: they are the texts `NaN`, `Infinity` and `-Infinity`.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOT_FINITE[str(value)]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def encode_key(key: EntityKey) -> str:
    """Write an entity key as the text it is stored and compared by.

    Raises:
        ValueError: If a part is null or a float: their equality is not well defined.

    """
    for part in key:
        if part is None or isinstance(part, float):
            msg = f"{part!r} cannot be part of an entity key"
            raise ValueError(msg)
    return encode(key)


def encode_keys(keys: Sequence[EntityKey]) -> list[str]:
    """Write keys as `encode_key` does. Raises as it does."""
    if _KEY_PARTS.issuperset(map(type, itertools.chain.from_iterable(keys))):  # as most are
        return [orjson.dumps(key).decode() for key in keys]
    return [encode_key(key) for key in keys]


def json_form(value: Value) -> Any:  # noqa: ANN401 - whatever JSON takes
    """Return what `encode` writes for one value.

    Raises:
        ValueError: If a time has no zone.
        TypeError: If it is of a type that has no form here.

    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"f": str(value)}
    if isinstance(value, dt.datetime):
        return {"t": epoch_us(value)}
    if isinstance(value, dt.date):
        return {"d": value.isoformat()}
    if isinstance(value, Decimal):
        return {"n": str(value)}
    if isinstance(value, bytes):
        return {"b": base64.b64encode(value).decode()}
    if isinstance(value, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        return [json_form(item) for item in value]
    msg = f"the online store cannot hold {value!r} of type {type(value).__name__}"
    raise TypeError(msg)


def _values(items: list[Any]) -> tuple[Value, ...]:
    if _NESTED.isdisjoint(map(type, items)):  # most rows: what JSON has a type for is itself
        return tuple(items)
    return tuple([_value(item) for item in items])


def _value(item: Any) -> Value:  # noqa: ANN401 - whatever JSON gives
    if item is None or isinstance(item, float | int | str):
        return item
    if isinstance(item, list):
        return tuple(_value(part) for part in item)
    ((kind, text),) = item.items()
    match kind:
        case "t":
            return from_epoch_us(text)
        case "d":
            return dt.date.fromisoformat(text)
        case "n":
            return Decimal(text)
        case "b":
            return base64.b64decode(text)
        case "f":
            return float(text)
        case _:
            msg = f"`{kind}` is not a known kind of value"
            raise ValueError(msg)
