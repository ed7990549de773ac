"""The values of windows of some tiles, from what enters and leaves them, instead of a copy of each cell to each end; pure.

An end matters to an entity only if a cell enters or leaves a window there: a moment. Counts and sums are carried
from one moment to the next: a cell is added where it becomes known, and subtracted where it leaves. What cannot
be subtracted, as a minimum, is gathered as texts whose order is that of time, and cut at the start of the window.

A sum that is carried for ever is state for ever. So time is divided into periods, and each begins with the cells
that a window still holds: the state of a period ends with it. Periods of entities begin at different times: all at
once, they would hold back what is known then.
"""

import pyarrow.types as pt

from headrace.definitions.window_rows import WindowRows
from headrace.definitions.windows import Slot
from headrace.flink.columns import sql_type
from headrace.flink.following import interval, text_of

# a moment costs as much as so many copies of a cell: it is a row more in each of two steps
COPIES_PER_MOMENT = 5
_ITEM_BREAK = r"u&'\0001'"  # that of `kept_values.py`: in no item
_SHIFT_DIGITS = 4  # of base 16: 64 times as many as there are tiles
_TILE_DIGITS = 15
_TILE = f"'[0-9]{{{_TILE_DIGITS}}}:'"


def needs_moments(rows: WindowRows) -> bool:
    """Whether copies to each end cost more than moments: one for each exit, one to enter, one of a period."""
    return rows.longest_ms // rows.hop_ms > COPIES_PER_MOMENT * (len(rows.window_ms) + 2)


class MomentSql:
    """Writes the steps from copies of cells to the values of moments."""

    def __init__(self, rows: WindowRows, *, in_batch: bool) -> None:
        windows = rows.windows
        self._rows, self._in_batch = rows, in_batch
        self._slots = windows.slots
        self._keys = ", ".join(f"`{name}`" for name in windows.entity)
        pairs = dict.fromkeys((c.slot, c.window_us // 1000) for c in windows.columns)
        self._summed = [pair for pair in pairs if self._is_summed(pair[0])]
        self._cut = [pair for pair in pairs if not self._is_summed(pair[0])]
        self._gathered = [n for n in range(len(windows.slots)) if not self._is_summed(n)]

    @property
    def starts(self) -> str:
        """Write whether a copy adds to what its windows hold: its cell is known now, or held from before."""
        return f"(_at_ms = _known_ms or {self._is_carried})"

    @property
    def shift(self) -> str:
        """Write by how much earlier than those of others the periods of an entity begin, whole tiles."""
        named = [f"cast(`{name}` as string)" for name in self._rows.windows.entity]
        digits = f"md5(concat_ws({_ITEM_BREAK}, {', '.join(named)}))"
        number = " + ".join(
            f"(position(substring({digits} from {n + 1} for 1) in '0123456789abcdef') - 1) * {16**n}"
            for n in range(_SHIFT_DIGITS)
        )
        tiles = self._period_ms // self._rows.hop_ms
        return f"mod({number}, {tiles}) * {self._rows.hop_ms}"

    @property
    def _is_carried(self) -> str:
        return f"(mod(_at_ms + _shift_ms, {self._period_ms}) = 0 and _known_ms < _at_ms)"

    @property
    def _period_ms(self) -> int:
        """How long sums are carried: a cell is held for no longer, so it is carried over one begin at most."""
        return self._rows.longest_ms

    def views(self) -> tuple[str, ...]:
        """Write the steps from copies to what is held at each moment."""
        changes = [f"{self._change(n, w)} as {_sum(n, w)}" for n, w in self._summed]
        changes += [f"{self._items(n)} as _items{n}" for n in self._gathered]
        order = "_at_ms" if self._in_batch else "_at_time"
        reach = str(self._period_ms) if self._in_batch else interval(self._period_ms)
        over = (
            f"over (partition by {self._keys}, _at_ms - mod(_at_ms + _shift_ms, {self._period_ms}) "
            f"order by {order} range between {reach} preceding and current row)"
        )
        held = [f"sum({_sum(n, w)}) {over} as {_sum(n, w)}" for n, w in self._summed]
        held += [f"listagg(_items{n}, {_ITEM_BREAK}) {over} as _items{n}" for n in self._gathered]
        return (
            f"""create temporary view moments as
select {self._keys}, (extract(epoch from window_end) * 1000 + extract(millisecond from window_end)) as _at_ms,
    window_time as _at_time, _shift_ms, max(_changes) as _changes,
    {_lines(changes)}
from copies
group by {self._keys}, _shift_ms, window_start, window_end, window_time""",
            f"""create temporary view held as
select {self._keys}, _at_ms, _changes,
    {_lines(held)}
from moments""",
        )

    def values(self) -> str:
        """Write the moments with the state of each slot and window."""
        found = [_sum(n, w) for n, w in self._summed]
        found += [f"{self._state_since(n, w)} as {_sum(n, w)}" for n, w in self._cut]
        return f"select {self._keys}, _at_ms, _changes,\n    {_lines(found)}\n    from held"

    def _is_summed(self, number: int) -> bool:
        return self._slots[number].take in ("count", "sum")

    def _change(self, number: int, window_ms: int) -> str:
        """Write what a moment adds to the sum of a window."""
        slot = self._slots[number]
        exact = "bigint"
        if slot.take == "sum":
            exact = f"decimal(38, {slot.output.scale if pt.is_decimal(slot.output) else 0})"
        leaves = f"_tile_ms + {self._rows.hop_ms + window_ms}"
        # one that leaves as a period begins is not carried into it
        left = f"_at_ms = {leaves} and not {self.starts}"
        return (
            f"sum(case when {self.starts} and _at_ms < {leaves} then cast(_s{number} as {exact}) "
            f"when {left} then cast(-_s{number} as {exact}) end)"
        )

    def _items(self, number: int) -> str:
        """Write the items that a moment adds."""
        return f"listagg(case when {self.starts} then {self._text(number)} end, {_ITEM_BREAK})"

    def _text(self, number: int) -> str:
        """Write the state of a cell as items, each of which begins with its time or its tile."""
        slot, state, tile = self._slots[number], f"_s{number}", f"{_tile('_tile_ms')}, ':'"
        if slot.take == "last":
            return state
        if slot.take == "distinct":
            after = f"concat({_ITEM_BREAK}, {tile})"
            return f"concat({tile}, replace({state}, {_ITEM_BREAK}, {after}))"
        text = text_of(state) if pt.is_timestamp(slot.output) else f"cast({state} as string)"
        return f"concat({tile}, {text})"

    def _state_since(self, number: int, window_ms: int) -> str:
        """Write the state of what happened since the start of a window: null if nothing did.

        The start is put among the items, which are sorted: what matters comes after it.
        """
        slot = self._slots[number]
        start_ms = f"_at_ms - {window_ms}"
        start = f"concat({_tile(start_ms)}, '/')"  # before its items, and the end of none
        if slot.take == "last":
            start = text_of(f"to_timestamp_ltz({start_ms}, 3)")
        listed = f"split(concat_ws({_ITEM_BREAK}, _items{number}, {start}), {_ITEM_BREAK})"
        ordered = f"array_join(array_sort({listed}), {_ITEM_BREAK})"
        since = f"split_index({ordered}, concat({start}, {_ITEM_BREAK}), 1)"
        if slot.take == "last":
            return since
        items = f"regexp_replace({since}, {_TILE}, '')"
        return (
            items if slot.take == "distinct" else _extreme(slot, f"split({items}, {_ITEM_BREAK})")
        )


def _extreme(slot: Slot, texts: str) -> str:
    """Write the least or greatest of texts of values; the order of times is that of their texts."""
    if pt.is_timestamp(slot.output):
        return f"cast(cast(array_{slot.take}({texts}) as timestamp(6)) as timestamp_ltz(6))"
    return f"array_{slot.take}(cast({texts} as array<{sql_type(slot.output)}>))"


def _tile(ms: str) -> str:
    return f"lpad(cast({ms} as string), {_TILE_DIGITS}, '0')"


def _sum(slot: int, window_ms: int) -> str:
    return f"_s{slot}_{window_ms}"


def _lines(columns: list[str]) -> str:
    return ",\n    ".join(columns)
