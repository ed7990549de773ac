"""A row as Redis holds it: 20 digits of its event time, 20 of its `known_at`, then its values."""

import datetime as dt

from headrace.serving.store import EntityKey, OnlineRow, ViewState, epoch_us, from_epoch_us
from headrace.serving.values import decode, encode, encode_key

DIGITS = 20
_BIAS = 1 << 63  # makes times before 1970 positive, so that their digits sort


def packed_row(state: ViewState, row: OnlineRow) -> tuple[str, str]:
    """Return the key and the row as texts.

    Raises:
        ValueError: If the row does not fit the view, or a time has no zone.

    """
    if len(row.key) != len(state.entity) or len(row.values) != len(state.columns):
        msg = f"a row of `{state.view}` has {len(row.key)} key parts and {len(row.values)} values"
        raise ValueError(msg)
    times = (epoch_us(row.event_time) + _BIAS, epoch_us(row.known_at) + _BIAS)
    digits = "".join(f"{time_us:0{DIGITS}d}" for time_us in times)
    return encode_key(row.key), digits + encode(row.values)


def times_us(packed: bytes) -> tuple[int, int]:
    """Return event time and `known_at` in microseconds since 1970."""
    return int(packed[:DIGITS]) - _BIAS, int(packed[DIGITS : 2 * DIGITS]) - _BIAS


def row_of(key: EntityKey, packed: bytes | None) -> OnlineRow | None:
    """Read a row that is there."""
    if packed is None:
        return None
    event_us, known_us = times_us(packed)
    return OnlineRow(
        key=tuple(key),
        event_time=from_epoch_us(event_us),
        known_at=from_epoch_us(known_us),
        values=decode(packed[2 * DIGITS :].decode()),
    )


def moment_of(digits: bytes | None) -> dt.datetime | None:
    """Read one of the two times."""
    return None if digits is None else from_epoch_us(int(digits) - _BIAS)
