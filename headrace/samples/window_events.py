"""The events of a window view as SQL: which rows count, each once, and what one adds to each aggregate."""

from collections.abc import Sequence

import pyarrow.types as pt

from headrace.definitions.stream import EVENT_TIME, KNOWN_AT
from headrace.definitions.windows import Slot, Windows
from headrace.engines.dialect import Dialect
from headrace.identifiers import quote

_LONG_MAX = (1 << 63) - 1


class WindowEvents:
    """Renders the events of a view.

    `relation` has the columns of the events' table; `coordinate` names those of the arrival order. In
    what is rendered entity columns are called `k0`, `k1`, …, coordinates `c0`, …; `inputs` names those
    that are aggregated.
    """

    def __init__(
        self, windows: Windows, relation: str, coordinate: Sequence[str], *, dialect: Dialect
    ) -> None:
        self._windows, self._relation, self._coordinate = windows, relation, coordinate
        self._dialect = dialect
        self.keys = tuple(f"k{n}" for n in range(len(windows.entity)))
        self.inputs = {name: f"v{n}" for n, name in enumerate(windows.inputs)}
        self.places = tuple(f"c{n}" for n in range(len(coordinate)))

    def sql(self) -> str:
        """Render the events that count, each once: keys, coordinates, inputs and their times.

        Those are `e_us`, `known_us`, the start of the tile `tile_us`, and `is_late`: whether it was
        known after its tile and the delay were over.
        """
        windows, dialect = self._windows, self._dialect
        named = [*zip(windows.entity, self.keys, strict=True), *self.inputs.items()]
        named += zip(self._coordinate, self.places, strict=True)
        named += [] if windows.key is None else [(windows.key, "x")]
        columns = ", ".join(f"{quote(name)} as {alias}" for name, alias in named)
        happened, known = dialect.epoch_us(EVENT_TIME), dialect.epoch_us(KNOWN_AT)
        known = f"greatest({known}, {happened} + {windows.delay_us})"
        present = " and ".join(
            f"{quote(name)} is not null" for name in (*windows.entity, EVENT_TIME, KNOWN_AT)
        )
        rows = (
            f"select {columns}, {happened} as e_us, {known} as known_us,"
            f" {self.tile_of(happened)} as tile_us from {self._relation} where {present}"
        )
        in_time = f"known_us - e_us <= {windows.lateness_us}"
        late = f"known_us >= tile_us + {windows.hop_us + self.slack_us} as is_late"
        if windows.key is None:
            return f"select *, {late} from ({rows}) where {in_time}"
        order = ", ".join(("known_us", *self.places))
        by = ", ".join((*self.keys, "x", "e_us"))
        nth = f"row_number() over (partition by {by} order by {order}) as nth"
        return (
            f"select *, {late} from (select *, {nth} from ({rows}) where {in_time}) where nth = 1"
        )

    @property
    def slack_us(self) -> int:
        """How long after the end of a tile its last event on time may be known, in whole hops."""
        return -(-self._windows.delay_us // self._windows.hop_us) * self._windows.hop_us

    def tile_of(self, us: str) -> str:
        """Render the start of the tile in which a moment lies."""
        hop_us = self._windows.hop_us
        return f"({us} - ((({us}) % {hop_us}) + {hop_us}) % {hop_us})"

    def state(self, number: int) -> str:
        """Render what one event adds to a slot."""
        slot = self._windows.slots[number]
        if slot.of is None:
            return "1"
        value = self.inputs[slot.of]
        if slot.take == "count":
            return f"case when {value} is null then 0 else 1 end"
        if slot.take == "sum":
            return f"coalesce(cast({value} as {self._sum_type(slot)}), 0)"
        if pt.is_floating(slot.input):
            is_nan = self._dialect.is_nan(f"cast({value} as double)")
            return f"case when not {is_nan} then {value} end"
        return value

    def merge(self, number: int, state: str) -> str:
        """Render the aggregate of states of a slot that is one number."""
        take = self._windows.slots[number].take
        return f"{take}({state})" if take in ("min", "max") else f"sum({state})"

    def value(self, number: int, merged: str) -> str:
        """Render the value of a slot that is one number, in its type; a sum that it cannot hold is null."""
        slot = self._windows.slots[number]
        if slot.take == "count":
            return f"cast({merged} as bigint)"
        if slot.take == "sum" and pt.is_integer(slot.output):
            fits = f"{merged} between -{_LONG_MAX} - 1 and {_LONG_MAX}"
            return f"case when {fits} then cast({merged} as bigint) end"
        return merged

    @staticmethod
    def _sum_type(slot: Slot) -> str:
        scale = slot.output.scale if pt.is_decimal(slot.output) else 0
        return f"decimal(38, {scale})"
