"""What surrounds a value of a topic: it may be null, too long, or begin with the id of its schema."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.ingest.decoding.decoded import TOMBSTONE, TOO_LONG, UNFRAMED, Violation
from headrace.ingest.sources.base import RECORD_BYTES_MAX, Records

PLAIN = -1  # the place of an id where values have none
_HEAD_BYTES = 5


@dataclass(frozen=True, kw_only=True)
class Unwrapped:
    """The values of a batch: their places by the id of their schema, and what cannot be a value.

    `values` has one entry a record; those of refused records are empty.
    """

    by_schema: dict[int, list[int]]
    values: Sequence[bytes]
    refused: dict[int, Violation]


def unwrap(records: Records, *, framed: bool) -> Unwrapped:
    """Take the frames off the values of a topic; whether there are any is declared, never guessed."""
    refused = {
        at: Violation(TOMBSTONE, "the value is null, which deletes the record's key")
        for at in records.tombstones
    }
    values = records.lines
    if max(map(len, values), default=0) > RECORD_BYTES_MAX:
        reason = f"longer than {RECORD_BYTES_MAX} bytes"
        for at, value in enumerate(values):
            if len(value) > RECORD_BYTES_MAX:
                refused.setdefault(at, Violation(TOO_LONG, reason))
    if not framed:
        places = [at for at in range(len(values)) if at not in refused]
        return Unwrapped(by_schema={PLAIN: places}, values=values, refused=refused)
    by_schema: dict[int, list[int]] = defaultdict(list)
    bodies: list[bytes] = []
    for at, value in enumerate(values):
        bodies.append(value[_HEAD_BYTES:])
        if at in refused:
            continue
        if len(value) < _HEAD_BYTES or value[0]:
            reason = "the value does not begin with a zero byte and the id of a schema"
            refused[at] = Violation(UNFRAMED, reason)
            continue
        by_schema[int.from_bytes(value[1:_HEAD_BYTES], "big")].append(at)
    return Unwrapped(by_schema=dict(by_schema), values=bodies, refused=refused)
