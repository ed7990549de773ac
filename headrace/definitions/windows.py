"""A window view together with its stream's contract: everything that decides its values, no engine."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from headrace.clock import ONE_US
from headrace.definitions.problem import Finding, hint
from headrace.definitions.source_lines import Place
from headrace.definitions.stream import Stream
from headrace.definitions.types import FieldType
from headrace.definitions.window_view import Aggregate, Take, WindowView

_KEYS = ("string", "int", "long", "boolean", "date")
_SUM_DIGITS_MAX, _DECIMAL_DIGITS = 28, 38  # ten billion values of 28 digits have 38 together
_ALLOWED = {
    "sum": "an `int`, a `long`, or a `decimal` of at most 28 digits: sums of floats depend on their order",
    "min": "a number, a `date` or a `timestamptz`",
    "max": "a number, a `date` or a `timestamptz`",
    "distinct": "an `int`, a `long` or a `string`",
    "last": "a field that is no list",
}


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What a tile keeps for the windows of one aggregate. `type` is that of the column `of`."""

    take: Take
    of: str | None = None
    type: str | None = None
    keep: int = 0

    @cached_property
    def input(self) -> pa.DataType | None:
        """The Arrow type of the column."""
        return None if self.type is None else FieldType.parse(self.type).arrow

    @cached_property
    def output(self) -> pa.DataType:
        """The Arrow type of the aggregate."""
        if self.take in ("count", "distinct"):
            return pa.int64()
        kind = self.input
        if self.take == "sum":
            whole = pt.is_integer(kind)
            return pa.int64() if whole else pa.decimal128(_DECIMAL_DIGITS, kind.scale)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
        return pa.list_(pa.field("element", kind)) if self.take == "last" else kind  # pyright: ignore[reportReturnType, reportCallIssue, reportArgumentType]


@dataclass(frozen=True, kw_only=True)
class WindowColumn:
    """One column of a window view: a slot over a window."""

    name: str
    slot: int
    window_us: int


@dataclass(frozen=True, kw_only=True)
class Windows:
    """A resolved window view; equal ones give equal values of equal events.

    `entity`, `key` and the slots name columns of the table `events`, which also has the times and
    the row coordinates of a stream.
    """

    view: str
    events: str
    entity: tuple[str, ...]
    key: str | None
    hop_us: int
    lateness_us: int
    delay_us: int
    stale_us: int
    slots: tuple[Slot, ...]
    columns: tuple[WindowColumn, ...]

    @cached_property
    def longest_us(self) -> int:
        """The longest window."""
        return max(column.window_us for column in self.columns)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The columns that are aggregated, each once."""
        return tuple(dict.fromkeys(slot.of for slot in self.slots if slot.of is not None))

    def schema(self) -> pa.Schema:
        """Return the columns of its values."""
        return pa.schema([pa.field(c.name, self.slots[c.slot].output) for c in self.columns])

    def first_of(self, at_us: int) -> int:
        """Return the start of the tile in which a moment lies."""
        return at_us - at_us % self.hop_us

    def to_json(self) -> str:
        """Write it as canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Windows":
        """Read what `to_json` wrote."""
        said: dict[str, Any] = json.loads(text)
        said["entity"] = tuple(said["entity"])
        said["slots"] = tuple(Slot(**slot) for slot in said["slots"])
        said["columns"] = tuple(WindowColumn(**column) for column in said["columns"])
        return cls(**said)


def window_problems(view: WindowView, streams: Iterable[Stream]) -> Iterator[Finding]:
    """Yield what is wrong with a view's declaration beside the streams."""
    streams = tuple(streams)
    if owner := next((each.name for each in streams if each.table == view.view), None):
        yield Finding(("view",), f"`{view.view}` is the table of stream `{owner}`")
    stream = next((each for each in streams if each.table == view.events), None)
    if stream is None:
        tables = tuple(sorted(str(each.table) for each in streams))
        near = hint(str(view.events), tables)
        text = f"`{view.events}` is the table of no declared stream; {near}"
        yield Finding(("events",), text, tables)
        return
    for at, name in enumerate(view.entity):
        place: Place = ("entity", at)
        if name not in stream.fields:
            yield _no_field(name, stream, place)
        elif stream.fields[name].type.text not in _KEYS:
            text = f"`{name}` is `{stream.fields[name].type.text}`, which cannot be a key"
            yield Finding(place, text)
    for at, each in enumerate(view.aggregates):
        if each.of is None:
            continue
        place = ("aggregates", at, "of")
        if each.of not in stream.fields:
            yield _no_field(each.of, stream, place)
        elif not _fits(each.take, stream.fields[each.of].type.arrow):
            said = f"`{each.of}`, which is `{stream.fields[each.of].type.text}`"
            allowed = _ALLOWED[each.take]
            yield Finding(place, f"`{each.take}` is taken of {said}; it takes {allowed}")


def _no_field(name: str, stream: Stream, place: Place) -> Finding:
    text = f"`{name}` is not a field of stream `{stream.name}`; {hint(name, stream.fields)}"
    return Finding(place, text, tuple(stream.fields))


def resolve_windows(view: WindowView, streams: Iterable[Stream]) -> Windows:
    """Fill in what the declaration leaves to the stream; there must be no `window_problems`."""
    stream = next(each for each in streams if each.table == view.events)
    slots = {(each.take, each.of, each.keep): _slot(each, stream) for each in view.aggregates}
    places = {key: number for number, key in enumerate(slots)}
    columns = tuple(
        WindowColumn(
            name=each.column_of(window),
            slot=places[each.take, each.of, each.keep],
            window_us=window // ONE_US,
        )
        for each in view.aggregates
        for window in each.windows
    )
    never = view.longest + view.hop + view.delay  # later than this an event is in no window
    lateness = never if view.lateness is None else view.lateness
    shortest = min(window for each in view.aggregates for window in each.windows)
    stale = shortest if view.stale_after is None else view.stale_after
    return Windows(
        view=view.name,
        events=str(view.events),
        entity=tuple(stream.column_of(name) for name in view.entity),
        key=None if stream.key is None else stream.column_of(stream.key),
        hop_us=view.hop // ONE_US,
        lateness_us=lateness // ONE_US,
        delay_us=view.delay // ONE_US,
        stale_us=stale // ONE_US,
        slots=tuple(slots.values()),
        columns=columns,
    )


def _slot(aggregate: Aggregate, stream: Stream) -> Slot:
    if aggregate.of is None:
        return Slot(take=aggregate.take)
    return Slot(
        take=aggregate.take,
        of=stream.column_of(aggregate.of),
        type=stream.fields[aggregate.of].type.text,
        keep=aggregate.keep or 0,
    )


def _fits(take: Take, kind: pa.DataType) -> bool:
    match take:
        case "count":
            return True
        case "sum":
            small = pt.is_decimal(kind) and kind.precision <= _SUM_DIGITS_MAX
            return pt.is_integer(kind) or small
        case "min" | "max":
            number = pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)
            return number or pt.is_date(kind) or pt.is_timestamp(kind)
        case "distinct":
            return pt.is_integer(kind) or pt.is_string(kind)
        case "last":
            return not (pt.is_nested(kind) or pt.is_binary(kind) or pt.is_time(kind))
