"""What tiles keep for one aggregate: states that merge in any order to the same value.

| take | state |
|---|---|
| `count`, `sum` | an integer; of decimals, the sum of their digits |
| `min`, `max` | the value, or None |
| `distinct` | the least `keep` + 1 hashes, in order: all of them up to `keep`, and an estimate beyond |
| `last` | the last `keep` values with their event time and coordinate, in that order |

Values are plain: numbers, texts and booleans; times in microseconds, dates in days, decimals as the
integer of their digits.
"""

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.types as pt

from headrace.clock import EPOCH_DAY, ONE_DAY
from headrace.decimals import EXACTLY
from headrace.definitions.window_view import HASH_BITS, HASH_DIGITS
from headrace.definitions.windows import Slot
from headrace.serving.store import Value, from_epoch_us

State = Any  # as the table says; JSON holds every one

_LONG_MAX = (1 << 63) - 1


class Event(NamedTuple):
    """One event of an entity; `known_us` includes the delay, `values` are those of the inputs.

    `key` is None where the stream has none.
    """

    event_us: int
    known_us: int
    source: str
    partition: int
    offset: int
    key: Any
    values: Sequence[Any]

    @property
    def arrival(self) -> tuple[int, str, int, int]:
        """The order in which repeats of one event came: the first one counts."""
        return self.known_us, self.source, self.partition, self.offset


def state_of(slot: Slot, event: Event, value: Any) -> State:  # noqa: ANN401  (a plain value)
    """Return the state of one event; `value` is that of the slot's input, or None."""
    if slot.of is None:
        return 1
    counts = value is not None and value == value  # noqa: PLR0124  (NaN is not)
    match slot.take:
        case "count":
            return int(value is not None)
        case "sum":
            return 0 if value is None else value
        case "min" | "max":
            return value if counts else None
        case "distinct":
            return [] if value is None else [hash_of(value)]
        case "last":
            place = [event.event_us, event.source, event.partition, event.offset]
            return [] if value is None else [[*place, value]]


def merged(slot: Slot, states: Iterable[State]) -> State:
    """Return the state of all events of several states."""
    match slot.take:
        case "count" | "sum":
            return sum(states)
        case "min":
            return min((each for each in states if each is not None), default=None)
        case "max":
            return max((each for each in states if each is not None), default=None)
        case "distinct":
            return heapq.nsmallest(slot.keep + 1, {h for each in states for h in each})
        case "last":
            return sorted(item for each in states for item in each)[-slot.keep :]


def result_of(slot: Slot, state: State) -> Value:
    """Return the value that a state stands for, as the column's type has it."""
    match slot.take:
        case "count":
            return state
        case "sum":
            if pt.is_decimal(slot.output):
                return value_of(state, slot.output)
            return state if -_LONG_MAX - 1 <= state <= _LONG_MAX else None
        case "min" | "max":
            return value_of(state, slot.output)
        case "distinct":
            return distinct_of(state, slot.keep)
        case "last":
            kind = slot.input
            assert kind is not None  # only `count` has none
            return tuple(value_of(item[-1], kind) for item in state) or None


def distinct_of(hashes: Sequence[int], keep: int) -> int:
    """Return how many values there are: exact up to `keep`, then by how dense the least hashes lie."""
    if len(hashes) <= keep:
        return len(hashes)
    return int(float(keep * (1 << HASH_BITS)) / float(hashes[keep]))


def hash_of(value: object) -> int:
    """Return the hash of an integer or a text, the same as engines compute."""
    digest = hashlib.md5(str(value).encode(), usedforsecurity=False).hexdigest()
    return int(digest[:HASH_DIGITS], 16)


def plain_of(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the plain values of a column."""
    if pt.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()
    if pt.is_date(column.type):
        return column.cast(pa.int32()).to_pylist()
    values = column.to_pylist()
    if pt.is_decimal(column.type):
        scale = column.type.scale
        return [None if value is None else int(value.scaleb(scale, EXACTLY)) for value in values]
    return values


def value_of(plain: Any, kind: pa.DataType) -> Value:  # noqa: ANN401  (a plain value)
    """Return the value of a plain one."""
    if plain is None:
        return None
    if pt.is_timestamp(kind):
        return from_epoch_us(plain)
    if pt.is_date(kind):
        return EPOCH_DAY + plain * ONE_DAY
    if pt.is_decimal(kind):
        return _decimal(plain, kind.scale)
    return plain


def _decimal(digits: int, scale: int) -> Decimal:
    sign = int(digits < 0)
    return Decimal((sign, tuple(map(int, str(abs(digits)))), -scale))
