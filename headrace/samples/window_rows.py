"""Renders the rows of a window view's feature table as SQL of an engine: moments, and their values.

`definitions/window_rows.py` says which rows there are. Events become cells of entity, tile, and the end of
the tile in which they were known; the values of a moment are those of the cells that its windows hold.
"""

from collections.abc import Iterator, Sequence

import pyarrow.types as pt

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.window_view import KEPT
from headrace.engines.dialect import Dialect
from headrace.identifiers import quote
from headrace.samples.window_events import WindowEvents
from headrace.samples.window_kept import found_sql, item_of, kept_sql, payload_of


def rows_sql(
    rows: WindowRows,
    relation: str,
    coordinate: Sequence[str],
    *,
    dialect: Dialect,
    after_us: int,
    until_us: int,
) -> str:
    """Render the rows that are known after `after_us` and by `until_us`, ends of tiles, in no order.

    `relation` has the columns of the events' table; `coordinate` names those of the arrival order.
    """
    windows = rows.windows
    since = dialect.literal(EPOCH + (after_us - 1000 * rows.reach_ms) * ONE_US)
    relation = f"(select * from {relation} where {EVENT_TIME} >= {since}) as e"
    events = WindowEvents(windows, relation, coordinate, dialect=dialect)
    keys, hop = ", ".join(events.keys), windows.hop_us
    slots = [n for n, slot in enumerate(windows.slots) if slot.take not in KEPT]
    states = "".join(f", {events.merge(n, events.state(n))} as s{n}" for n in slots)
    ends = f"{events.tile_of('known_us')} + {hop} as end_us"
    cells = f"select {keys}, tile_us, end_us{states} from event group by {keys}, tile_us, end_us"
    moments = f"{_moments(rows, keys=keys)} where at_us > {after_us} and at_us <= {until_us}"
    steps = [
        dialect.step_once("event", f"select *, {ends} from ({events.sql()})"),
        dialect.step_once("cell", cells),
        dialect.step_once("moment", moments),
        *_kept(rows, events, dialect),
        f"found as ({_values(rows, events)})",
    ]
    return f"with {f',{chr(10)}'.join(steps)}\nselect {_selected(rows, events, dialect)} from found"


def _kept(rows: WindowRows, events: WindowEvents, dialect: Dialect) -> Iterator[str]:
    """Yield the steps of the columns that keep several values: those of each cell, and of each moment."""
    windows = rows.windows
    for number, slot in enumerate(windows.slots):
        if slot.take in KEPT:
            item = item_of(slot, events.inputs[slot.of or ""], dialect)
            by = (*events.keys, "tile_us", "end_us")
            kept = kept_sql(slot, "event", item=item, by=by, places=events.places)
            yield f"kept{number} as ({kept})"
    for number, column in enumerate(windows.columns):
        slot = windows.slots[column.slot]
        if slot.take in KEPT:
            same = " and ".join(f"c.{key} = m.{key}" for key in events.keys)
            within = f"c.tile_us < m.at_us and c.tile_us >= m.at_us - {column.window_us}"
            keys = ", ".join(f"m.{key}" for key in events.keys)
            met = (
                f"(select {keys}, m.at_us, {', '.join(f'c.{n}' for n in payload_of(slot, events.places))}"
                f" from moment m join kept{column.slot} c on {same} and {within} and c.end_us <= m.at_us)"
            )
            by = (*events.keys, "at_us")
            yield f"found{number} as ({found_sql(slot, met, by=by, places=events.places)})"


def _moments(rows: WindowRows, *, keys: str) -> str:
    """Render each end of a tile at which an event enters or leaves a window."""
    hop, last = rows.windows.hop_us, rows.windows.longest_us + rows.windows.hop_us
    exits = ", ".join(f"({hop + 1000 * window})" for window in rows.window_ms)
    entered = f"select {keys}, end_us as at_us from cell where end_us < tile_us + {last}"
    left = (
        f"select {keys}, tile_us + x_us as at_us from cell cross join (values {exits}) as x (x_us)"
        f" where tile_us + x_us > end_us"
    )
    return f"select distinct * from ({entered} union all {left})"


def _values(rows: WindowRows, events: WindowEvents) -> str:
    """Render the moments with the values of each column, named by its number."""
    windows = rows.windows
    kept = [n for n, c in enumerate(windows.columns) if windows.slots[c.slot].take in KEPT]
    joins = "".join(
        f" left join found{n} on {' and '.join(f'found{n}.{k} = s.{k}' for k in (*events.keys, 'at_us'))}"
        for n in kept
    )
    found = "".join(f", found{n}.value as v{n}" for n in kept)
    return f"select s.*{found} from ({_summed(rows, events)}) s{joins}"


def _summed(rows: WindowRows, events: WindowEvents) -> str:
    windows = rows.windows
    same = " and ".join(f"c.{key} = m.{key}" for key in events.keys)
    values = dict.fromkeys(
        f", {events.merge(c.slot, f's{c.slot}')} filter (where tile_us >= m.at_us - {c.window_us})"
        f" as {_name(c.slot, c.window_us)}"
        for c in windows.columns
        if windows.slots[c.slot].take not in KEPT
    )
    keys = ", ".join(f"m.{key}" for key in events.keys)
    return (
        f"select {keys}, m.at_us{''.join(values)} from moment m left join cell c"
        f" on {same} and c.tile_us < m.at_us and c.tile_us >= m.at_us - {windows.longest_us}"
        f" and c.end_us <= m.at_us group by {keys}, m.at_us"
    )


def _selected(rows: WindowRows, events: WindowEvents, dialect: Dialect) -> str:
    windows = rows.windows
    pairs = [
        *zip(events.keys, windows.entity, strict=True),
        (dialect.instant("at_us"), EVENT_TIME),
        (dialect.instant("at_us"), KNOWN_AT),
    ]
    for number, column in enumerate(windows.columns):
        slot, merged = windows.slots[column.slot], _name(column.slot, column.window_us)
        if slot.take in KEPT:
            found = f"v{number}"
            pairs.append(
                (f"coalesce({found}, 0)" if slot.take == "distinct" else found, column.name)
            )
            continue
        value = f"coalesce({merged}, 0)" if slot.take in ("count", "sum") else merged
        value = events.value(column.slot, value)
        if pt.is_floating(slot.output):  # 0 has one sign
            value = f"{value} + 0"
        pairs.append((value, column.name))
    return ", ".join(f"{value} as {quote(name)}" for value, name in pairs)


def _name(slot: int, window_us: int) -> str:
    return f"s{slot}_{window_us}"
