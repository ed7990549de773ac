"""The values of windows of many tiles, by a function of Python instead of a copy of each event to each end; pure.

SQL sees the moments at which something changes, and gathers for each what became known within the longest
window before: parts of tiles, as texts. `tile_values.py` computes the values from them.
"""

import json

import pyarrow.types as pt

from headrace.definitions.window_rows import TILES_MAX, WindowRows
from headrace.definitions.window_view import KEPT
from headrace.definitions.windows import Slot, Windows
from headrace.flink import kept_values
from headrace.flink.columns import sql_type
from headrace.flink.following import interval, text_of
from headrace.identifiers import quote_text

_FUNCTION = "window_values"
CREATE_FUNCTION = (
    f"create temporary function {_FUNCTION} as 'headrace.flink.worker.{_FUNCTION}' language python"
)
LOOK_AT_FUNCTION = f"explain select {_FUNCTION}('', cast(0 as bigint), '')"
_FIELD_BREAK, _PART_BREAK = r"u&'\0002'", r"u&'\0003'"  # those of `tile_values.py`


def needs_python(rows: WindowRows) -> bool:
    """Whether the longest window has too many tiles to copy events to each."""
    return rows.windows.longest_us > TILES_MAX * rows.windows.hop_us


def moment_views(rows: WindowRows, *, in_batch: bool) -> tuple[str, ...]:
    """Write the steps from copies of cells to what each moment knows."""
    keys = ", ".join(f"`{name}`" for name in rows.windows.entity)
    states = [f"coalesce({_text(slot, f'_s{n}')}, '')" for n, slot in enumerate(rows.windows.slots)]
    part = f"concat_ws({_FIELD_BREAK}, cast(_tile_ms as string), {', '.join(states)})"
    order = "_at_ms" if in_batch else "_at_time"
    reach = str(rows.longest_ms) if in_batch else interval(rows.longest_ms)
    return (
        CREATE_FUNCTION,
        f"""create temporary view moments as
select {keys}, (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _at_ms,
    window_time as _at_time,
    listagg(case when _at_ms = _known_ms then {part} end, {_PART_BREAK}) as _entered
from copies
where _changes = 1
group by {keys}, window_start, window_end, window_time""",
        f"""create temporary view held as
select {keys}, _at_ms, listagg(_entered, {_PART_BREAK}) over (
    partition by {keys} order by {order}
    range between {reach} preceding and current row
) as _parts
from moments""",
    )


def values_at(rows: WindowRows) -> str:
    """Write the call that computes all values of a moment."""
    return f"{_FUNCTION}({quote_text(view_json(rows.windows))}, _at_ms, _parts)"


def view_json(windows: Windows) -> str:
    """Write what decides the values of a moment, as the function takes it."""
    said = {
        "hop_ms": windows.hop_us // 1000,
        "slots": [_declared(slot) for slot in windows.slots],
        "columns": [[each.slot, each.window_us // windows.hop_us] for each in windows.columns],
    }
    return json.dumps(said, separators=(",", ":"))


def value(slot: Slot, number: int) -> str:
    """Write the value of a column, by its number, from the answer of the call."""
    text = f"_values[{number + 1}]"
    if slot.take == "last":
        return kept_values.typed(slot, text)
    if slot.take == "sum":
        return f"cast({text} as decimal(38, {_scale(slot)}))"
    return f"cast({text} as {sql_type(slot.output)})"


def _declared(slot: Slot) -> dict[str, str | int | bool]:
    said: dict[str, str | int | bool] = {"take": slot.take, "keep": slot.keep}
    if slot.of is not None:
        said["of"] = slot.of
    if slot.take not in KEPT:
        if pt.is_floating(slot.output):
            said["floating"] = True
        elif pt.is_integer(slot.output) or pt.is_decimal(slot.output):
            said["scale"] = _scale(slot)
    return said


def _scale(slot: Slot) -> int:
    return slot.output.scale if pt.is_decimal(slot.output) else 0


def _text(slot: Slot, state: str) -> str:
    """Write a state as text; those of times have the order of time."""
    if slot.take in KEPT:
        return state
    return text_of(state) if pt.is_timestamp(slot.output) else f"cast({state} as string)"
