"""The statements of a window view's rows by Flink; pure.

The job reads the events' table, not its topic: so the rows are those of `samples/window_rows.py`, whoever
wrote the events. Its time is `known`. What was in the table before is read first and moves no watermark;
each later snapshot moves it.

Events become cells: entity, tile, and the tile in which they were known. A sliding window copies a cell to
each end of a tile from then on; those of one end that lie in a window are its value. Where that are many
copies, `moment_sql.py` and `tile_sql.py` keep only those at which something changes.
"""

from collections.abc import Mapping

import pyarrow.types as pt

from headrace.definitions.stream import COORDINATES, EVENT_TIME, KNOWN_AT
from headrace.definitions.window_rows import WindowRows
from headrace.definitions.window_view import KEPT
from headrace.definitions.windows import Slot, WindowColumn
from headrace.flink import kept_values, tile_sql
from headrace.flink.begin import Begin
from headrace.flink.columns import sql_type
from headrace.flink.following import history, interval, later, mark_after, news, place_of
from headrace.flink.moment_sql import MomentSql, needs_moments
from headrace.flink.statements import JobSql, create_catalog, named, plan_of

_LONG_MAX = (1 << 63) - 1
_ONE = "cast(1 as bigint)"  # a sum has the type of what it adds
NEWS, _HISTORY = "news", "history"


def view_sql(rows: WindowRows, catalog: Mapping[str, str], *, begin: Begin) -> JobSql:
    """Write the statements of the job that follows the events' table."""
    table, computed = rows.windows.events, _times(rows)
    # of when rows come: their delay may be longer than that of those that follow
    mark = mark_after(disorder=rows.disorder, ahead=rows.ahead, skew=rows.skew)
    sources = {NEWS: news(NEWS, table, begin, computed=computed, time="_known", mark=mark)}
    before = history(_HISTORY, table, begin, computed=computed, time="_known")
    if before is not None:
        sources[_HISTORY] = before
    text = _Text(rows)
    views = (text.events(list(sources), begin=begin), *text.views())
    insert = text.insert(after_ms=begin.after_us // 1000)
    return JobSql(
        setup=(create_catalog(catalog), *sources.values(), *views),
        insert=insert,
        plan=plan_of((*views, insert)),
    )


def history_sql(
    rows: WindowRows,
    catalog: Mapping[str, str],
    *,
    snapshot_id: int,
    after_us: int,
    until_us: int,
) -> JobSql:
    """Write the statements of the job that adds what is known by a time and ends, in Flink's batch mode.

    Args:
        rows: The rows.
        catalog: The options of the lake's catalog.
        snapshot_id: The snapshot of the events' table that has all that counts for them.
        after_us: The end of a tile, after which they are missing.
        until_us: The end of a tile, up to which they are known.

    """
    begin = Begin(after_us=after_us, snapshot_id=snapshot_id, history_id=snapshot_id)
    source = history(_HISTORY, rows.windows.events, begin, computed=_times(rows), time="_known")
    assert source is not None  # it names a snapshot
    text = _Text(rows, in_batch=True)
    views = (text.events([_HISTORY], begin=begin), *text.views())
    insert = text.insert(after_ms=after_us // 1000, until_ms=until_us // 1000)
    return JobSql(
        setup=(create_catalog(catalog), source, *views),
        insert=insert,
        plan=plan_of((*views, insert)),
    )


def _times(rows: WindowRows) -> tuple[str, str]:
    """Write when an event was known, to the microsecond and as the time of the job."""
    delayed = later(f"`{EVENT_TIME}`", rows.windows.delay_us // 1000)
    known = f"case when `{KNOWN_AT}` < {delayed} then {delayed} else `{KNOWN_AT}` end"
    return f"_known_us as {known}", f"_known as cast({known} as timestamp_ltz(3))"


class _Text:
    def __init__(self, rows: WindowRows, *, in_batch: bool = False) -> None:
        self._rows, self._windows = rows, rows.windows
        # a stream is ordered by nothing but its time, and a batch cannot count back from a time
        self._in_batch = in_batch
        self._by_python = tile_sql.needs_python(rows)
        by_moments = needs_moments(rows) and not self._by_python
        self._moments = MomentSql(rows, in_batch=in_batch) if by_moments else None
        self._keys = ", ".join(f"`{name}`" for name in self._windows.entity)
        self._hop = interval(rows.hop_ms)
        slots = range(len(self._windows.slots))
        ordered = any(slot.take == "last" for slot in self._windows.slots)
        self._places = COORDINATES.names[:3] if ordered else ()
        self._states = ", ".join(f"_s{n}" for n in slots)
        self._merged = ",\n    ".join(f"{self._cell(n)} as _s{n}" for n in slots)

    def events(self, sources: list[str], *, begin: Begin) -> str:
        """Write the events that may count; those of the first snapshots only as far back as they matter.

        Older ones of later snapshots are let through, to be counted with all that came too late.
        """
        windows = self._windows
        names = dict.fromkeys((*windows.entity, *windows.inputs, EVENT_TIME, *self._places))
        listed = [*(f"`{name}`" for name in names), "_known", "_known_us"]
        if windows.key is not None:
            listed.append(f"`{windows.key}` as _key")
            listed.append(f"{place_of('_known_us')} as _place")
        happened = f"cast(cast(`{EVENT_TIME}` as timestamp_ltz(3)) as timestamp(3))"
        ms = f"(extract(epoch from {happened}) * 1000 + extract(millisecond from {happened}))"
        listed.append(f"{ms} - mod({ms}, {self._rows.hop_ms}) as _tile_ms")
        where = [f"`{name}` is not null" for name in windows.entity]
        # known is later than that only if `known_at` is: a delay is no longer than the lateness
        latest = later(f"`{EVENT_TIME}`", windows.lateness_us // 1000)
        where.append(f"`{KNOWN_AT}` <= {latest}")
        after_ms = begin.after_us // 1000
        recent = f"`{EVENT_TIME}` >= to_timestamp_ltz({after_ms - self._rows.reach_ms}, 3)"
        # by then something was read that is known after all of the first snapshots
        passed = f"current_watermark(_known) > to_timestamp_ltz({after_ms + self._rows.hop_ms}, 3)"
        columns = ",\n    ".join(listed)
        parts: list[str] = []
        for name in sources:
            matters = f"({recent} or {passed})" if name == NEWS else recent
            condition = "\n    and ".join((*where, matters))
            parts.append(f"select\n    {columns}\nfrom {name}\nwhere {condition}")
        return "create temporary view events as\n" + "\nunion all\n".join(parts)

    def views(self) -> tuple[str, ...]:
        """Write the steps from events to the sums of each end and moment."""
        steps = (*self._counted(), self._cells(), self._copies())
        if self._moments is not None:
            return (*steps, *self._moments.views())
        if not self._by_python:
            return steps
        return (*steps, *tile_sql.moment_views(self._rows, in_batch=self._in_batch))

    def _counted(self) -> tuple[str, ...]:
        """Write the choice of the first of rows that are one event."""
        if self._windows.key is None:
            return ()
        late_ms = self._windows.lateness_us // 1000
        order, late = "_known", interval(late_ms)
        if self._in_batch:
            order, late = _ms("cast(_known as timestamp(3))"), str(late_ms)
        return (
            f"""create temporary view ranked as
select events.*, min(_place) over (
    partition by {self._keys}, _key, `{EVENT_TIME}` order by {order}
    range between {late} preceding and current row
) as _first_place
from events""",
            "create temporary view counted as\nselect * from ranked where _place = _first_place",
        )

    def _cells(self) -> str:
        base = "events" if self._windows.key is None else "counted"
        shift = "" if self._moments is None else f" {self._moments.shift} as _shift_ms,"
        return f"""create temporary view cells as
select {self._keys}, _tile_ms, {_ms("window_end")} as _known_ms, window_time as _cell_time,{shift}
    {self._merged}
from table(tumble(table {base}, descriptor(_known), {self._hop}))
group by {self._keys}, _tile_ms, window_start, window_end, window_time"""

    def _copies(self) -> str:
        """Write a copy of each cell for each end from the one at which it is known, as far as it matters."""
        rows = self._rows
        size = interval(rows.longest_ms + rows.hop_ms)
        last = f"_tile_ms + {rows.longest_ms + rows.hop_ms}"
        time = ", window_time" if self._by_python or self._moments else ""
        shift = "" if self._moments is None else " _shift_ms,"
        exits = " or ".join(f"_at_ms = _tile_ms + {rows.hop_ms + w}" for w in rows.window_ms)
        only = ""
        if self._moments is not None:
            only = f"\n    and ({self._moments.starts} or {exits})"
        return f"""create temporary view copies as
select *, case when _at_ms = _known_ms or {exits} then 1 else 0 end as _changes
from (
    select {self._keys}, _tile_ms, _known_ms,{shift} {self._states},
        {_ms("window_end")} as _at_ms, window_start, window_end{time}
    from table(hop(table cells, descriptor(_cell_time), {self._hop}, {size}))
)
where _at_ms <= {last} and _known_ms < {last}{only}"""

    def insert(self, *, after_ms: int, until_ms: int | None = None) -> str:
        """Write the job: the values at each end of a tile at which something changed."""
        until = "" if until_ms is None else f" and _at_ms <= {until_ms}"
        names = [*self._windows.entity, EVENT_TIME, KNOWN_AT]
        values = [f"`{name}`" for name in self._windows.entity]
        values += [_instant("_at_ms")] * 2
        for number, column in enumerate(self._windows.columns):
            names.append(column.name)
            values.append(self._value(number, column))
        listed = ", ".join(f"`{name}`" for name in names)
        selected = ",\n    ".join(
            f"{value} as `{name}`" for value, name in zip(values, names, strict=True)
        )
        return f"""insert into {named(str(self._rows.table))} ({listed})
select
    {selected}
from (
    {self._found()}
)
where {"" if self._by_python else "_changes = 1 and "}_at_ms > {after_ms}{until}"""

    def _found(self) -> str:
        """Write the moments, and others, with what each window holds."""
        if self._moments is not None:
            return self._moments.values()
        return self._valued() if self._by_python else self._summed()

    def _summed(self) -> str:
        """Write all moments with the sums of each window, and whether something changes."""
        merged = ",\n        ".join(
            f"{self._merge(n, f'case when _at_ms - _tile_ms <= {w} then _s{n} end')} as {_sum(n, w)}"
            for n, w in self._wanted()
        )
        return f"""select {self._keys}, {_ms("window_end")} as _at_ms, max(_changes) as _changes,
        {merged}
    from copies
    group by {self._keys}, window_start, window_end"""

    def _valued(self) -> str:
        """Write the moments at which something changes, with all values by a function of Python."""
        return f"select {self._keys}, _at_ms, {tile_sql.values_at(self._rows)} as _values from held"

    def _wanted(self) -> list[tuple[int, int]]:
        pairs = ((c.slot, c.window_us // 1000) for c in self._windows.columns)
        return list(dict.fromkeys(pairs))

    def _slot(self, column: WindowColumn) -> Slot:
        return self._windows.slots[column.slot]

    def _value(self, number: int, column: WindowColumn) -> str:
        slot, value = self._slot(column), _sum(column.slot, column.window_us // 1000)
        if self._by_python:
            value = tile_sql.value(slot, number)
        if slot.take in KEPT:
            return value if self._by_python else kept_values.value(slot, value)
        if pt.is_floating(slot.output):  # 0 has one sign
            return f"case when {value} = 0 then cast(0 as {sql_type(slot.output)}) else {value} end"
        if slot.take not in ("count", "sum"):
            return value
        value = f"coalesce({value}, 0)"
        if slot.take == "sum" and pt.is_integer(slot.output):
            fits = f"{value} between -{_LONG_MAX} - 1 and {_LONG_MAX}"
            return f"case when {fits} then cast({value} as bigint) end"
        return value

    def _cell(self, number: int) -> str:
        """Write what the events of a cell add to a slot."""
        slot, merged = self._windows.slots[number], self._merge(number, self._state(number))
        return kept_values.kept(slot, merged) if slot.take in KEPT else merged

    def _state(self, number: int) -> str:
        """Write what one event adds to a slot."""
        slot = self._windows.slots[number]
        if slot.take in KEPT:
            return kept_values.item(slot)
        if slot.of is None:
            return _ONE
        value = f"`{slot.of}`"
        if slot.take == "count":
            return f"case when {value} is null then cast(0 as bigint) else {_ONE} end"
        if slot.take == "sum":
            scale = slot.output.scale if pt.is_decimal(slot.output) else 0
            return f"cast({value} as decimal(38, {scale}))"
        if pt.is_floating(slot.input):  # NaN is no number
            return f"case when {value} = {value} then {value} end"
        return value

    def _merge(self, number: int, state: str) -> str:
        take = self._windows.slots[number].take
        if take in KEPT:
            return kept_values.gathered(state)
        return f"{take}({state})" if take in ("min", "max") else f"sum({state})"


def _sum(slot: int, window_ms: int) -> str:
    return f"_s{slot}_{window_ms}"


def _ms(instant: str) -> str:
    return f"(extract(epoch from {instant}) * 1000 + extract(millisecond from {instant}))"


def _instant(ms: str) -> str:
    return f"cast(to_timestamp_ltz({ms}, 3) as timestamp_ltz(6))"
