"""The SQL that differs between engines, as pure functions that return text.

Rooms above the engines write SQL that every engine reads: lower case, `cast(… as …)`, window
functions, names and text quoted by `headrace.identifiers`. Whatever an engine spells in its own way
comes from the `Dialect` of the engine that will run it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import pyarrow as pa

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class NewestBefore:
    """For each probe, the newest row of the same keys strictly before an instant.

    `probes` and `rows` are names of relations, which the query calls `e` and `r`. `keys` are
    columns of both. `at` is an SQL expression over `e`; `clock` is a column of `rows`. A probe
    matches the row with equal keys and the greatest `clock` below `at`. A null key or a null `at`
    matches no row. Two rows must not have equal keys and an equal `clock`.

    The result has one row for each probe: the columns `carried` of the probe, then the columns
    `taken` of the row, each with its name in the result, null without a match.
    """

    probes: str
    rows: str
    keys: Sequence[str]
    at: str
    clock: str
    carried: Sequence[str]
    taken: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class FirstOfKey:
    """Of each key, the row that comes first.

    `columns` pairs SQL expressions over `relation` with their names in the result. `where` is a
    condition, `keys` are expressions, `order` holds sort terms with their direction and the place
    of nulls; together they must tell the rows of a key apart.
    """

    columns: Sequence[tuple[str, str]]
    relation: str
    where: str
    keys: Sequence[str]
    order: Sequence[str]


class Dialect(Protocol):
    """How one engine spells what engines spell differently.

    Every method is pure and returns SQL text. Arguments named `instant` are SQL expressions of
    type `timestamp with time zone`, in UTC, with microseconds. All renderings of one method have
    one meaning on every engine.
    """

    @property
    def name(self) -> str:
        """The engine's name, as settings write it."""
        ...

    @property
    def has_asof_join(self) -> bool:
        """Whether `newest_before` is an operator of the engine, so that two cost less than a sort."""
        ...

    def epoch_us(self, instant: str) -> str:
        """Render the microseconds since 1970 of an instant, a bigint."""
        ...

    def instant(self, us: str) -> str:
        """Render the instant of an expression that counts microseconds since 1970."""
        ...

    def literal(self, moment: datetime) -> str:
        """Render a moment as a constant, by which engines skip files.

        Raises:
            ValueError: If `moment` has no time zone.

        """
        ...

    def shifted(self, instant: str, by: timedelta) -> str:
        """Render an instant moved by a duration, which may be negative; exact to the microsecond."""
        ...

    def is_nan(self, number: str) -> str:
        """Render whether a double is NaN; null gives null."""
        ...

    def md5_hex(self, text: str) -> str:
        """Render the MD5 of a text's UTF-8 as 32 lower-case hexadecimal digits, the same everywhere."""
        ...

    def hash60(self, text: str) -> str:
        """Render the first 60 bits of the MD5 of a text's UTF-8, a bigint, the same everywhere."""
        ...

    def tie_hash(self, values: Sequence[str]) -> str:
        """Render a 64-bit integer; equal values give equal hashes, different values may collide.

        No value is null or a floating-point number. The hash is the engine's own: do not store it.
        """
        ...

    def has_json(self, text: str, path: Sequence[str]) -> str:
        """Render whether a JSON text has something at a path of keys, be it null; null without text."""
        ...

    def json_as(self, text: str, path: Sequence[str], kind: pa.DataType) -> str:
        """Render what a JSON text has at a path of keys, as a value of a type; null if it has nothing.

        Numbers that JSON has not are texts (`NaN`, `Infinity`), as are times, dates and decimals; bytes
        are base64. Lists are of such values, but for times and bytes.
        """
        ...

    def first_of_key(self, rows: FirstOfKey) -> str:
        """Render the choice of one row of each key as a `select`."""
        ...

    def newest_before(self, join: NewestBefore) -> str:
        """Render an ASOF join as a `select`; the order of its rows is not defined."""
        ...

    def step_once(self, name: str, sql: str) -> str:
        """Render a step of a `with` list that the engine computes once, where it can be told to."""
        ...

    def step_inlined(self, name: str, sql: str) -> str:
        """Render a step of a `with` list that the engine repeats where it is used, if it can."""
        ...


def first_over(rows: FirstOfKey) -> str:
    """Render the window function that numbers the rows of each key from 1."""
    return (
        f"row_number() over (partition by {', '.join(rows.keys)} order by {', '.join(rows.order)})"
    )


def columns_as(columns: Sequence[tuple[str, str]]) -> str:
    """Render a select list; an expression that is its own name is written once."""
    return ", ".join(
        name if expression == name else f"{expression} as {name}" for expression, name in columns
    )


def utc_text(moment: datetime) -> str:
    """Write a moment as `2024-05-01 00:00:00.000000` in UTC.

    Raises:
        ValueError: If `moment` has no time zone.

    """
    offset = moment.utcoffset()
    if offset is None:
        msg = f"`{moment}` has no time zone; instants in SQL are UTC"
        raise ValueError(msg)
    return (moment - offset).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
