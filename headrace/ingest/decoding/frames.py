"""What surrounds a value of a topic: it may be null, too long, or begin with the id of its schema."""

from dataclasses import dataclass

import numpy as np

from headrace.ingest.decoding.decoded import TOMBSTONE, TOO_LONG, UNFRAMED, Violation
from headrace.ingest.sources.base import RECORD_BYTES_MAX, Records
from headrace.ingest.sources.line_block import LineBlock

PLAIN = -1  # the place of an id where values have none
HEAD_BYTES = 5  # a zero byte and the id of a schema


@dataclass(frozen=True, kw_only=True)
class Unwrapped:
    """The values of a batch: their places by the id of their schema, and what cannot be a value.

    `values` has one entry a record; those of refused records mean nothing.
    """

    by_schema: dict[int, np.ndarray]
    values: LineBlock
    refused: dict[int, Violation]


def unwrap(records: Records, *, framed: bool) -> Unwrapped:
    """Take the frames off the values of a topic; whether there are any is declared, never guessed."""
    refused = {
        at: Violation(TOMBSTONE, "the value is null, which deletes the record's key")
        for at in records.tombstones
    }
    block = LineBlock.of(records.lines)
    for at in np.flatnonzero(block.lengths > RECORD_BYTES_MAX).tolist():
        refused.setdefault(at, Violation(TOO_LONG, f"longer than {RECORD_BYTES_MAX} bytes"))
    values = block
    if framed:
        has_head = block.lengths >= HEAD_BYTES
        heads = np.where(has_head, block.starts, 0)
        has_head &= block.codes[heads] == 0 if len(block) else has_head
        for at in np.flatnonzero(~has_head).tolist():
            reason = "the value does not begin with a zero byte and the id of a schema"
            refused.setdefault(at, Violation(UNFRAMED, reason))
        values = LineBlock(
            block.data, np.minimum(block.starts + HEAD_BYTES, block.ends), block.ends
        )
    is_value = np.ones(len(block), dtype=bool)
    is_value[list(refused)] = False
    places = np.flatnonzero(is_value)
    if not framed:
        return Unwrapped(by_schema={PLAIN: places}, values=values, refused=refused)
    ids = _ids(block.codes, block.starts[places])
    by_schema = {number: places[ids == number] for number in np.unique(ids).tolist()}
    return Unwrapped(by_schema=by_schema, values=values, refused=refused)


def _ids(codes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the ids of schemas, whose four bytes follow a zero."""
    ids = np.zeros(len(starts), dtype=np.int64)
    for place in range(1, HEAD_BYTES):
        ids = ids << 8 | codes[starts + place]
    return ids
