"""Aggregates that keep several values, `distinct` and `last`, as text in Flink SQL; pure.

SQL has no aggregate that keeps some of its values and merges, but it gathers texts. So an event's item is a
text whose order is that in which items are kept: a hash in digits, or a place and a value. Gathered items
are split, sorted and cut; those that are kept are joined again, and gathered in the next step.
"""

import pyarrow.types as pt

from headrace.definitions.stream import COORDINATES, EVENT_TIME
from headrace.definitions.windows import Slot
from headrace.flink.columns import sql_type
from headrace.flink.following import text_of
from headrace.window_states import HASH_BITS, HASH_DIGITS

_SEPARATOR = r"u&'\0001'"  # in no item: places are hexadecimal, and JSON has no such character
_PLACE_BEFORE = r"'(^|\x01)[^|\x01]*[|]'"
_DECIMAL_DIGITS = 19
_DIGITS = "'0123456789abcdef'"


def item(slot: Slot) -> str:
    """Write what one event adds; null if it has no value."""
    value = f"`{slot.of}`"
    text = text_of(value) if pt.is_timestamp(slot.input) else f"cast({value} as string)"
    found = (
        _hash(text) if slot.take == "distinct" else f"concat({_place()}, '|', json_string({text}))"
    )
    return f"case when {value} is not null then {found} end"


def gathered(items: str) -> str:
    """Write the aggregate of items, or of texts that `kept` made: a text."""
    return f"listagg({items}, {_SEPARATOR})"


def kept(slot: Slot, text: str) -> str:
    """Write which of gathered items are kept, as a text of the same form."""
    return f"array_join({_list(slot, text)}, {_SEPARATOR})"


def value(slot: Slot, text: str) -> str:
    """Write the value of gathered items: null is none of `last`, 0 none of `distinct`."""
    items = _list(slot, text)
    if slot.take == "distinct":
        all_hashes = repr(float(slot.keep << HASH_BITS)).upper()  # beyond a bigint
        density = f"{all_hashes} / cast({items}[{slot.keep + 1}] as double)"
        return (
            f"case when {text} is null then 0 when cardinality({items}) <= {slot.keep} "
            f"then cardinality({items}) else cast(floor({density}) as bigint) end"
        )
    values = (
        f"regexp_replace(array_join(array_reverse({items}), {_SEPARATOR}), {_PLACE_BEFORE}, ',')"
    )
    return typed(slot, f"concat('[', substring({values} from 2), ']')")


def typed(slot: Slot, listed: str) -> str:
    """Write the values of `last` from a text, the JSON of a list of their texts."""
    assert slot.input is not None  # only `count` has none
    texts = f"json_query({listed}, 'lax $' returning array<string>)"
    if pt.is_timestamp(slot.input):  # a clock of UTC
        texts = f"cast({texts} as array<timestamp(6)>)"
    return f"cast({texts} as array<{sql_type(slot.input)}>)"


def _list(slot: Slot, text: str) -> str:
    """Write the items that are kept, the first ones first."""
    items = f"split({text}, {_SEPARATOR})"
    if slot.take == "distinct":
        return f"array_slice(array_sort(array_distinct({items})), 1, {slot.keep + 1})"
    return f"array_slice(array_sort({items}, false), 1, {slot.keep})"


def _place() -> str:
    """Write when and where an event was, as text in that order: the newest is the greatest."""
    source, partition, offset = (f"`{name}`" for name in COORDINATES.names[:3])
    return (
        f"concat({text_of(f'`{EVENT_TIME}`')}, ' ', hex({source}), ' ', "
        f"lpad(cast({partition} as string), 11, '0'), lpad(cast({offset} as string), 20, '0'))"
    )


def _hash(text: str) -> str:
    """Write the first 60 bits of the MD5 of a text as a number of 19 digits."""
    digits = " + ".join(
        f"cast(position(substring(md5({text}) from {n + 1} for 1) in {_DIGITS}) - 1 as bigint)"
        f" * {16 ** (HASH_DIGITS - 1 - n)}"
        for n in range(HASH_DIGITS)
    )
    return f"lpad(cast({digits} as string), {_DECIMAL_DIGITS}, '0')"
