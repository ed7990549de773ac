"""What tiles keep for one aggregate, states that merge in any order, and the values that they stand for.

| take | state |
|---|---|
| `count`, `sum` | an integer; of decimals, the sum of their digits |
| `min`, `max` | the value, or None |
| `distinct` | the least `keep` + 1 hashes, in order: all of them up to `keep`, and an estimate beyond |
| `last` | the last `keep` items in the order of their places: an item ends with its value |

Values are plain: numbers, texts and booleans; times in microseconds, dates in days, decimals as the
integer of their digits.

This runs at the online store and in Python workers of Flink, whose environment is another: so it imports
nothing but Python's own library.
"""

import hashlib
import heapq
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

State = Any  # as the table says; JSON holds every one
HASH_DIGITS, HASH_BITS = 15, 60  # of `distinct`: hexadecimal digits of MD5


class Kept(Protocol):
    """The aggregate of a state."""

    @property
    def take(self) -> Literal["count", "sum", "min", "max", "distinct", "last"]:
        """What is computed."""
        ...

    @property
    def of(self) -> str | None:
        """The column that is aggregated; None counts events."""
        ...

    @property
    def keep(self) -> int:
        """How many values are kept."""
        ...


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


def state_of(slot: Kept, event: Event, value: Any) -> State:  # noqa: ANN401  (a plain value)
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


def merged(slot: Kept, states: Iterable[State]) -> State:
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


def merged_since(
    slot: Kept, numbers: Sequence[int], states: Sequence[State], first: int, more: Sequence[State]
) -> State:
    """Return the state of a window: of all tiles from number `first` on, and `more`.

    `numbers` counts the hops of the tiles of `states`, in order; two parts of a tile may share one.
    """
    chosen = states[bisect_left(numbers, first) :]
    return merged(slot, [*chosen, *more] if more else chosen)


def plain_result(slot: Kept, state: State) -> Any:  # noqa: ANN401  (a plain value, or those of `last`)
    """Return what a state stands for; None where there is nothing."""
    match slot.take:
        case "distinct":
            return distinct_of(state, slot.keep)
        case "last":
            return [item[-1] for item in state] or None
        case _:
            return state


def distinct_of(hashes: Sequence[int], keep: int) -> int:
    """Return how many values there are: exact up to `keep`, then by how dense the least hashes lie."""
    if len(hashes) <= keep:
        return len(hashes)
    return int(float(keep * (1 << HASH_BITS)) / float(hashes[keep]))


def hash_of(value: object) -> int:
    """Return the hash of an integer or a text, the same as engines compute."""
    digest = hashlib.md5(str(value).encode(), usedforsecurity=False).hexdigest()
    return int(digest[:HASH_DIGITS], 16)
