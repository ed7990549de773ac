"""Aggregates that keep several values, `distinct` and `last`, as SQL: what a tile keeps, and its value; pure.

A tile keeps of `distinct` the least hashes, of `last` the newest values with their places. Items have the
columns of `payload`: the hash or the value `h`, and for `last` when and where its event was.
"""

from collections.abc import Sequence

from headrace.definitions.windows import Slot
from headrace.engines.dialect import Dialect
from headrace.window_states import HASH_BITS


def item_of(slot: Slot, value: str, dialect: Dialect) -> str:
    """Render what one event adds, from its value that is not null."""
    return dialect.hash60(f"cast({value} as varchar)") if slot.take == "distinct" else value


def payload_of(slot: Slot, places: Sequence[str]) -> tuple[str, ...]:
    """Name the columns of an item; `places` are those of the arrival order."""
    return ("h",) if slot.take == "distinct" else ("h", "e_us", *places)


def _order_of(slot: Slot, places: Sequence[str]) -> str:
    """Render the order in which items are kept."""
    if slot.take == "distinct":
        return "h"
    return ", ".join(f"{name} desc" for name in payload_of(slot, places)[1:])


def kept_sql(
    slot: Slot, relation: str, *, item: str, by: Sequence[str], places: Sequence[str]
) -> str:
    """Render the items that each group of events keeps: `by` and the payload.

    `relation` has the columns of `by`, what `item` is made of, `e_us` and the places; an item that is null
    is none.
    """
    keys, listed = ", ".join(by), ", ".join(payload_of(slot, places))
    rest = "".join(f", {name}" for name in payload_of(slot, places)[1:])
    items = f"(select {keys}, {item} as h{rest} from {relation})"
    once = "distinct " if slot.take == "distinct" else ""
    ranked = f"row_number() over (partition by {keys} order by {_order_of(slot, places)}) as nth"
    return (
        f"select {keys}, {listed} from (select *, {ranked} from"
        f" (select {once}{keys}, {listed} from {items} where h is not null))"
        f" where nth <= {_keep_of(slot)}"
    )


def _keep_of(slot: Slot) -> int:
    """Return how many items are kept: one more hash than is exact says that there are more."""
    return slot.keep + 1 if slot.take == "distinct" else slot.keep


def found_sql(slot: Slot, relation: str, *, by: Sequence[str], places: Sequence[str]) -> str:
    """Render the value of each group of kept items: `by` and `value`."""
    keys = ", ".join(by)
    items = kept_sql(slot, relation, item="h", by=by, places=places)
    return f"select {keys}, {_value_of(slot, places)} as value from ({items}) group by {keys}"


def _value_of(slot: Slot, places: Sequence[str]) -> str:
    """Render the value of items."""
    if slot.take == "last":
        return f"array_agg(h order by {', '.join(payload_of(slot, places)[1:])})"
    density = f"cast({slot.keep << HASH_BITS} as double) / cast(max(h) as double)"
    estimate = f"cast(floor({density}) as bigint)"
    return f"case when count(*) <= {slot.keep} then count(*) else {estimate} end"
