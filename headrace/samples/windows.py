"""Renders window views as SQL: the aggregates of an entity's events as serving could have known them.

At `t` an event counts for a window `w` if `event_time < t`, `known < t`, and it is not in a tile before
the one in which `t - w` lies; tiles begin at multiples of the hop since 1970, and windows are multiples
of it, so that is `tile >= head - w` with the tile `head` of `t`. `known` is
`greatest(known_at, event_time + delay)`; an event with `known - event_time > lateness` never counts.
Of rows with equal entity, key and event time the first by `(known, coordinate)` counts.

Without events a count, a sum and a number of distinct values are 0, all others null; a null in any
entity column gives null for all.

Most events are on time: known before their tile and the delay are over. They are folded into tiles,
and an exposure meets the tiles of its windows; those in the newest tiles, and the late ones, it
meets one by one. Everything here is pure text, in the dialect of the engine that runs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.definitions.window_view import KEPT
from headrace.definitions.windows import Slot, WindowColumn, Windows
from headrace.engines.dialect import Dialect
from headrace.identifiers import quote
from headrace.samples.point_in_time import Exposures
from headrace.samples.window_events import WindowEvents
from headrace.samples.window_kept import found_sql, item_of, kept_sql, payload_of


@dataclass(frozen=True, kw_only=True)
class WindowJoin:
    """One window view as one sample set uses it.

    `relation` has the columns of the events' table; `coordinate` names those of the arrival order.
    The entity columns carry the same names in the exposures. `columns` pairs each wanted column
    with its name in the result.
    """

    windows: Windows
    relation: str
    coordinate: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]


def window_sql(exposures: Exposures, join: WindowJoin, *, dialect: Dialect) -> str:
    """Render one row for each exposure: its id, and the wanted columns."""
    return _Query(exposures, join, dialect).sql()


class _Query:
    def __init__(self, exposures: Exposures, join: WindowJoin, dialect: Dialect) -> None:
        self._exposures, self._join, self._dialect = exposures, join, dialect
        self._windows = join.windows
        by_name = {column.name: column for column in join.windows.columns}
        self._wanted = [(by_name[name], output) for name, output in join.columns]
        self._events = WindowEvents(join.windows, join.relation, join.coordinate, dialect=dialect)
        self._keys, self._places = self._events.keys, self._events.places

    def sql(self) -> str:
        plain = {c.slot for c, _ in self._wanted if self._slot(c).take not in KEPT}
        steps = [
            self._dialect.step_once("exposure", self._exposure()),
            self._dialect.step_once("event", self._events.sql()),
            f"folded as ({self._plain_states(sorted(plain))})",
            f"summed as ({self._summed(sorted(plain))})",
        ]
        joins: list[str] = []
        outputs: list[str] = []
        for number, (column, output) in enumerate(self._wanted):
            slot = self._slot(column)
            value = f"m.s{column.slot}_{column.window_us}"
            if slot.take in KEPT:
                steps += self._kept_steps(number, column)
                joins.append(f"left join found{number} on found{number}.id = m.id")
                value = f"found{number}.value"
            if slot.take == "distinct":
                value = f"case when m.present then coalesce({value}, 0) end"
            outputs.append(f"{value} as {quote(output)}")
        listed = ",\n".join(steps)
        columns = ", ".join([f"m.id as {quote(self._exposures.id)}", *outputs])
        return f"with {listed}\nselect {columns} from summed m {' '.join(joins)}"

    def _slot(self, column: WindowColumn) -> Slot:
        return self._windows.slots[column.slot]

    def _exposure(self) -> str:
        entity = ", ".join(
            f"{quote(name)} as {key}"
            for name, key in zip(self._windows.entity, self._keys, strict=True)
        )
        at_us = self._dialect.epoch_us(quote(self._exposures.at))
        present = " and ".join(f"{quote(name)} is not null" for name in self._windows.entity)
        return (
            f"select {quote(self._exposures.id)} as id, {entity}, {at_us} as t_us,"
            f" {self._events.tile_of(at_us)} as head_us, {present} as present"
            f" from {self._exposures.relation}"
        )

    def _plain_states(self, slots: Sequence[int]) -> str:
        """Render tiles of events on time, for the aggregates that are one number."""
        states = [f"{self._events.merge(n, self._events.state(n))} as s{n}" for n in slots]
        keys = ", ".join(self._keys)
        columns = ", ".join((keys, "tile_us", *states))
        return f"select {columns} from event where not is_late group by {keys}, tile_us"

    def _summed(self, slots: Sequence[int]) -> str:
        payload = [f"s{n}" for n in slots]
        event = ", ".join(
            (*self._keys, "e_us", "known_us", "tile_us", "is_late")
            + tuple(f"{self._events.state(n)} as s{n}" for n in slots)
        )
        met = self._met("folded", f"(select {event} from event)", payload)
        zeros = ["case when present then 0 end" if self._is_sum(n) else "null" for n in slots]
        none = ", ".join(("id", "head_us", "present", "head_us as tile_us", *zeros))
        inner = f"{met} union all select {none} from exposure"
        values = dict.fromkeys(
            f"{self._windowed(column)} as s{column.slot}_{column.window_us}"
            for column, _ in self._wanted
            if column.slot in slots
        )
        columns = ", ".join(("id", "bool_or(present) as present", *values))
        return f"select {columns} from ({inner}) group by id"

    def _windowed(self, column: WindowColumn) -> str:
        within = f"filter (where tile_us >= head_us - {column.window_us})"
        merged = f"{self._events.merge(column.slot, f's{column.slot}')} {within}"
        return self._events.value(column.slot, merged)

    def _met(self, tiles: str, events: str, payload: Sequence[str]) -> str:
        """Render what each exposure meets: `id, head_us, tile_us` and the payload."""
        windows = self._windows
        longest = max(column.window_us for column, _ in self._wanted)
        same = " and ".join(f"r.{key} = x.{key}" for key in self._keys)
        columns = ", ".join(
            ("x.id", "x.head_us", "x.present", "r.tile_us", *(f"r.{name}" for name in payload))
        )
        within = f"r.tile_us >= x.head_us - {longest}"
        before = "r.known_us < x.t_us"  # so it happened before
        backs = range(0, self._events.slack_us + windows.hop_us, windows.hop_us)
        newest = ", ".join(f"({back})" for back in backs)
        over = f"r.tile_us + {windows.hop_us + self._events.slack_us} <= x.head_us"
        whole = f"join {tiles} r on {same} and {within} and {over}"
        newest = (
            f"cross join (values {newest}) as b (back_us) join {events} r"
            f" on {same} and r.tile_us = x.head_us - b.back_us and {within} and {before}"
        )
        late = f"join {events} r on {same} and {within} and {before} and r.is_late"
        selected = (f"select {columns} from exposure x {each}" for each in (whole, newest, late))
        return " union all ".join(selected)

    def _is_sum(self, number: int) -> bool:
        return self._windows.slots[number].take in ("count", "sum")

    def _kept_steps(self, number: int, column: WindowColumn) -> list[str]:
        """Render `foundN`: `id` and the value of a column that keeps several values."""
        slot, places = self._slot(column), self._places
        item = item_of(slot, self._events.inputs[slot.of or ""], self._dialect)
        payload = payload_of(slot, places)
        keys = ", ".join(self._keys)
        columns = ", ".join(
            (keys, "tile_us", "known_us", "is_late", *dict.fromkeys((*payload[1:], "e_us")))
        )
        events = f"(select * from (select {columns}, {item} as h from event) where h is not null)"
        on_time = "(select * from event where not is_late)"
        tiles = kept_sql(slot, on_time, item=item, by=(*self._keys, "tile_us"), places=places)
        met = self._met(f"kept{number}", events, payload)
        within = f"(select * from ({met}) where tile_us >= head_us - {column.window_us})"
        found = found_sql(slot, within, by=("id",), places=places)
        return [f"kept{number} as ({tiles})", f"found{number} as ({found})"]
