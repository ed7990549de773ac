"""Values of a window at a moment from parts of its tiles, by the function of the online tiles.

`worker.py` makes it a function of Flink, which runs in an environment of its own: so this module imports only
Python's own library and what needs no more. `tile_sql.py` writes the texts that it reads.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from headrace.window_states import State, merged_since, plain_result

# in no text of a part: places are hexadecimal, and JSON has no such characters
ITEM_BREAK, FIELD_BREAK, PART_BREAK = "\x01", "\x02", "\x03"
# of the texts of parts that are not read anew for each moment; what was read of them takes a few times as much
KEPT_CHARS_MAX = 4_000_000


@dataclass(frozen=True, kw_only=True)
class TextSlot:
    """An aggregate whose states are texts.

    Args:
        take: What is computed.
        of: The column that is aggregated.
        keep: How many values are kept.
        scale: How many digits are behind the point; None where values are no such numbers.
        floating: Whether they are floating numbers.

    """

    take: Literal["count", "sum", "min", "max", "distinct", "last"]
    of: str | None = None
    keep: int = 0
    scale: int | None = None
    floating: bool = False


@dataclass(frozen=True, kw_only=True)
class TileView:
    """What decides the values of a moment: `columns` pair a slot with the hops of its window."""

    hop_ms: int
    slots: tuple[TextSlot, ...]
    columns: tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def view_of(text: str) -> TileView:
    """Read a view from its JSON."""
    said: dict[str, Any] = json.loads(text)
    return TileView(
        hop_ms=said["hop_ms"],
        slots=tuple(TextSlot(**slot) for slot in said["slots"]),
        columns=tuple((slot, hops) for slot, hops in said["columns"]),
    )


def values_of(view_json: str, at_ms: int, parts: str | None) -> list[str | None]:
    """Return the values of each column at an end of a tile, as texts.

    Args:
        view_json: The view.
        at_ms: The end.
        parts: What is known of tiles by then, in any order; None if there is nothing.

    """
    view = view_of(view_json)
    read = sorted(
        (_parts_read.part(view_json, each) for each in (parts or "").split(PART_BREAK) if each),
        key=lambda each: each[0],
    )
    numbers = [number for number, _ in read]
    states = [[each[slot] for _, each in read] for slot in range(len(view.slots))]
    found: list[str | None] = []
    for number, hops in view.columns:
        slot, first = view.slots[number], at_ms // view.hop_ms - hops
        state = merged_since(slot, numbers, states[number], first, ())
        found.append(_written(slot, plain_result(slot, state)))
    return found


class PartsRead:
    """Parts that were read, of not more text than a limit."""

    def __init__(self) -> None:
        self.parts: dict[tuple[str, str], tuple[int, Sequence[State]]] = {}
        self.chars = 0

    def part(self, view_json: str, text: str) -> tuple[int, Sequence[State]]:
        """Return the number of a tile and the states of a part of it."""
        found = self.parts.get((view_json, text))
        if found is None:
            if self.chars + len(text) > KEPT_CHARS_MAX:
                self.parts.clear()
                self.chars = 0
            found = self.parts[view_json, text] = _part(view_json, text)
            self.chars += len(text)
        return found


_parts_read = PartsRead()


def _part(view_json: str, text: str) -> tuple[int, Sequence[State]]:
    view = view_of(view_json)
    start_ms, *states = text.split(FIELD_BREAK)
    read = [_state(slot, each) for slot, each in zip(view.slots, states, strict=True)]
    return int(start_ms) // view.hop_ms, read


def _state(slot: TextSlot, text: str) -> State:
    match slot.take:
        case "count":
            return int(text)
        case "sum":
            return _digits(text) if text else 0
        case "min" | "max":
            if not text:
                return None
            return float(text) if slot.floating else text if slot.scale is None else _digits(text)
        case "distinct":
            return [int(each) for each in text.split(ITEM_BREAK) if each]
        case "last":
            return [each.split("|", 1) for each in text.split(ITEM_BREAK) if each]


def _written(slot: TextSlot, value: Any) -> str | None:  # noqa: ANN401  (a plain value)
    if value is None:
        return None
    if slot.take == "last":
        return f"[{','.join(value)}]"
    if slot.floating:
        return repr(value).replace("inf", "Infinity")
    return str(value) if slot.scale is None else _point(value, slot.scale)


def _digits(text: str) -> int:
    """Return a number's digits; all numbers of a column have as many behind the point."""
    return int(text.replace(".", ""))


def _point(digits: int, scale: int) -> str:
    if not scale:
        return str(digits)
    whole, behind = divmod(abs(digits), 10**scale)
    return f"{'-' * (digits < 0)}{whole}.{behind:0{scale}}"
