"""Renders the rows of a window view's feature table as SQL of an engine: moments, and their values.

`definitions/window_rows.py` says which rows there are. Events become cells of entity, tile, and the end of
the tile in which they were known; the values of a moment are those of the cells that its windows hold.
"""

from collections.abc import Sequence

import pyarrow.types as pt

from headrace.clock import EPOCH, ONE_US
from headrace.definitions.stream import EVENT_TIME, KNOWN_AT
from headrace.definitions.window_rows import WindowRows
from headrace.engines.dialect import Dialect
from headrace.identifiers import quote
from headrace.samples.window_events import WindowEvents


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
    slots = range(len(windows.slots))
    states = ", ".join(f"{events.merge(n, events.state(n))} as s{n}" for n in slots)
    ends = f"{events.tile_of('known_us')} + {hop} as end_us"
    cells = f"select {keys}, tile_us, {ends}, {states} from event group by {keys}, tile_us, end_us"
    return (
        f"with {dialect.step_once('event', f'select *, {ends} from ({events.sql()})')},\n"
        f"{dialect.step_once('cell', cells.replace(f', {ends}', ', end_us'))},\n"
        f"moment as ({_moments(rows, keys=keys)} where at_us > {after_us} and at_us <= {until_us}),\n"
        f"found as ({_values(rows, events)})\n"
        f"select {_selected(rows, events, dialect)} from found"
    )


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
    windows = rows.windows
    same = " and ".join(f"c.{key} = m.{key}" for key in events.keys)
    values = dict.fromkeys(
        f"{events.merge(c.slot, f's{c.slot}')} filter (where tile_us >= m.at_us - {c.window_us})"
        f" as {_name(c.slot, c.window_us)}"
        for c in windows.columns
    )
    keys = ", ".join(f"m.{key}" for key in events.keys)
    return (
        f"select {keys}, m.at_us, {', '.join(values)} from moment m left join cell c"
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
    for column in windows.columns:
        slot, merged = windows.slots[column.slot], _name(column.slot, column.window_us)
        value = f"coalesce({merged}, 0)" if slot.take in ("count", "sum") else merged
        value = events.value(column.slot, value)
        if pt.is_floating(slot.output):  # 0 has one sign
            value = f"{value} + 0"
        pairs.append((value, column.name))
    return ", ".join(f"{value} as {quote(name)}" for value, name in pairs)


def _name(slot: int, window_us: int) -> str:
    return f"s{slot}_{window_us}"
