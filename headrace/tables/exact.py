"""What a cast to a table's type would lose without an error: fields, digits, the time of a day."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt


def unfit_part(have: pa.DataType, wanted: pa.DataType) -> str | None:
    """Say which part of a type Arrow would cast into something else; None if there is none. Pure."""
    if pt.is_dictionary(have):
        return unfit_part(have.value_type, wanted)
    if pt.is_struct(have) and pt.is_struct(wanted):
        names = {field.name for field in wanted}
        lost = [field.name for field in have if field.name not in names]
        if lost:
            return f"its field `{lost[0]}`, which the table does not have"
    for one, other in _parts(have, wanted):
        if found := unfit_part(one, other):
            return found
    if (pt.is_temporal(have) and _is_number(wanted)) or (
        _is_number(have) and pt.is_temporal(wanted)
    ):
        return f"{have} as {wanted}, of which nobody says the unit"
    if (
        pt.is_timestamp(have)
        and pt.is_timestamp(wanted)
        and (have.tz is None) != (wanted.tz is None)
    ):
        return f"{have} as {wanted}, of which one has no zone"
    if pt.is_timestamp(have) and pt.is_time(wanted):
        return f"{have} as {wanted}, without the day"
    if pt.is_decimal(have) and pt.is_floating(wanted):
        return f"{have} as {wanted}, which has fewer digits"
    return None


def is_changed(before: pa.Array, after: pa.Array) -> bool:
    """Whether a value came out of a cast as another one; rounding to a 32-bit float is none."""
    have, wanted = before.type, after.type
    if pt.is_dictionary(have):
        return is_changed(before.dictionary_decode(), after)
    if pt.is_map(have) and pt.is_map(wanted):
        return is_changed(_entries(before), _entries(after))
    if _is_list(have) and _is_list(wanted):
        return is_changed(before.flatten(), after.flatten())
    if pt.is_struct(have) and pt.is_struct(wanted):
        pairs = zip(after.type, after.flatten(), strict=True)
        old = dict(zip((field.name for field in have), before.flatten(), strict=True))
        return any(f.name in old and is_changed(old[f.name], new) for f, new in pairs)
    if pt.is_floating(have) and pt.is_floating(wanted):
        return bool(pc.any(pc.xor(pc.is_inf(before), pc.is_inf(after))).as_py())
    if (
        ((pt.is_integer(have) or pt.is_floating(have)) and pt.is_boolean(wanted))
        or (pt.is_floating(have) and pt.is_decimal(wanted))
        or (pt.is_timestamp(have) and pt.is_date(wanted))
    ):
        return not after.cast(have).equals(before)
    return False


def _entries(maps: pa.Array) -> pa.Array:
    # not `keys` and `items`: of a slice they have those of the whole array
    entry = pa.struct([("key", maps.type.key_type), ("value", maps.type.item_type)])
    return maps.cast(pa.list_(entry)).flatten()


def _parts(have: pa.DataType, wanted: pa.DataType) -> Iterator[tuple[pa.DataType, pa.DataType]]:
    if pt.is_struct(have) and pt.is_struct(wanted):
        own = {field.name: field.type for field in have}
        yield from ((own[field.name], field.type) for field in wanted if field.name in own)
    elif _is_list(have) and _is_list(wanted):
        yield have.value_type, wanted.value_type
    elif pt.is_map(have) and pt.is_map(wanted):
        yield from ((have.key_type, wanted.key_type), (have.item_type, wanted.item_type))


def _is_list(kind: pa.DataType) -> bool:
    return pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)
