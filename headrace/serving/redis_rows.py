"""What Redis holds: of a row 20 digits of its event time, 20 of its `known_at`, then its values."""

import datetime as dt
from collections.abc import Sequence

from headrace.serving.kept import KeptRows, Times
from headrace.serving.store import (
    EncodedRow,
    EntityKey,
    Found,
    ViewState,
    from_epoch_us,
)
from headrace.serving.view_state import read_state

DIGITS = 20
TIMES = 2 * DIGITS
STATE = ("shape", "snapshot_id", "published_at_us")  # fields of a view's state
_BIAS = 1 << 63  # makes times before 1970 positive, so that their digits sort


def packed(row: EncodedRow) -> str:
    """Return a row as text; its two times are usually one."""
    _, event_us, known_us, values = row
    event = f"{event_us + _BIAS:0{DIGITS}d}"
    known = event if known_us == event_us else f"{known_us + _BIAS:0{DIGITS}d}"
    return f"{event}{known}{values}"


def times_us(packed: bytes) -> tuple[int, int]:
    """Return event time and `known_at` in microseconds since 1970."""
    return int(packed[:DIGITS]) - _BIAS, int(packed[DIGITS:TIMES]) - _BIAS


def rows_of(keys: Sequence[EntityKey], text: bytes) -> KeptRows:
    """Read rows, one a line, in the order of their keys; an empty line is a row that is not there.

    Raises:
        ValueError: If a row is damaged, or there are more or fewer lines than keys.

    """
    lines, known = text.decode().split("\n") if keys else [], _Times()
    if len(lines) != len(keys):
        msg = f"{len(keys)} keys have {len(lines)} lines"
        raise ValueError(msg)
    times = [known[line[:TIMES]] if line else None for line in lines]
    return KeptRows(keys, times, [line[TIMES:] if line else None for line in lines])


class _Times(dict[str, Times]):
    """Both times of a row by their digits, each pair read once: rows that came together share theirs."""

    def __missing__(self, digits: str) -> Times:
        event, known = digits[:DIGITS], digits[DIGITS:]
        event_time = from_epoch_us(int(event) - _BIAS)
        known_at = event_time if known == event else from_epoch_us(int(known) - _BIAS)
        self[digits] = found = event_time, known_at
        return found


def moment_of(digits: bytes | None) -> dt.datetime | None:
    """Read one of the two times."""
    return None if digits is None else from_epoch_us(int(digits) - _BIAS)


def found_of(
    view: str,
    keys: Sequence[EntityKey],
    fields: Sequence[bytes | None],
    rows: bytes,
    *,
    held: int,
) -> Found:
    """Read the answer of one look-up: the fields of the state, and the rows.

    A view with fewer rows `held` than its state came with lost some to a full memory. It counts as
    never published: look-ups are refused, and the next publication writes all.
    """
    state, wrote = state_of(view, fields[: len(STATE)]), fields[len(STATE)]
    if state is None or held < int(wrote or 0):
        return Found(state=None, rows=[None] * len(keys))
    return Found(state=state, rows=rows_of(keys, rows))


def state_of(view: str, fields: Sequence[bytes | None]) -> ViewState | None:
    """Read a state; None if it is not there."""
    shape, snapshot_id, published_at_us = fields
    if shape is None or snapshot_id is None or published_at_us is None:
        return None
    return read_state(view, shape.decode(), int(snapshot_id), int(published_at_us))
