"""Where the values of one key lie in lines: one in each line, or as many as its list has."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.ingest.arrow_arrays import array_of, bits, spans
from headrace.ingest.decoding.json_numbers import read_numbers
from headrace.ingest.sources.line_block import LineBlock

WHOLES = pa.list_(pa.int64())  # the only lists that are read by their places
_COMMA, _SPACE, _NULL = ord(","), ord(" "), b"null"


@dataclass(frozen=True)
class Parts:
    """The bounds of values.

    Args:
        first: Where each begins.
        last: Where it ends.
        counts: How many of them each line has, if not one.
        valid: Which are values and not null, if not all are.
        values: What they are, once whole numbers were read.

    """

    first: np.ndarray
    last: np.ndarray
    counts: np.ndarray | None = None
    valid: np.ndarray | None = None
    values: np.ndarray | None = None

    @classmethod
    def of_lists(cls, lines: LineBlock, first: np.ndarray, last: np.ndarray) -> Self:
        """Cut what lies between the brackets of lists at its commas; a space may follow each."""
        lengths = np.maximum(last - first, 0)
        inner = np.arange(int(lengths.sum())) + np.repeat(first - _before(lengths), lengths)
        commas = inner[lines.codes[inner] == _COMMA]
        low, high = np.searchsorted(commas, first), np.searchsorted(commas, last)
        counts = np.where(lengths > 0, high - low + 1, 0)
        some, begun = counts > 0, _before(counts)
        # the comma behind each value; behind the last one of a list it is another's
        after = np.arange(int(counts.sum())) + np.repeat(low - begun, counts)
        bounds = np.append(commas, 0)
        starts, stops = bounds[after - 1] + 1, bounds[after]
        starts[begun[some]] = first[some]
        stops[(begun + counts)[some] - 1] = last[some]
        starts += lines.codes[starts] == _SPACE
        return cls(starts, stops, counts)

    def only(self, kept: np.ndarray) -> "Parts":
        """Return those of the lines for which `kept` is true."""
        inner = kept if self.counts is None else np.repeat(kept, self.counts)
        return Parts(
            self.first[inner],
            self.last[inner],
            None if self.counts is None else self.counts[kept],
            None if self.valid is None else self.valid[inner],
            None if self.values is None else self.values[inner],
        )

    def numbers(self, lines: LineBlock, kind: pa.DataType) -> tuple["Parts", np.ndarray]:
        """Read numbers, and return which lines have a value that is plainly neither one nor null."""
        is_whole = kind in (pa.int64(), WHOLES)
        odd, values = read_numbers(lines, self.first, self.last, is_whole=is_whole)
        read = replace(self, values=values) if is_whole else self
        if not odd.any():
            return read, np.zeros(len(odd if self.counts is None else self.counts), dtype=bool)
        if self.counts is not None:
            rows = np.zeros(len(self.counts), dtype=bool)
            rows[np.repeat(np.arange(len(rows)), self.counts)[odd]] = True
            return read, rows
        at = np.flatnonzero(odd)
        at = at[self.last[at] - self.first[at] == len(_NULL)]
        for place, code in enumerate(_NULL):
            at = at[lines.codes[self.first[at] + place] == code]
        odd[at] = False
        valid = np.ones(len(odd), dtype=bool)
        valid[at] = False
        return replace(read, valid=valid), odd

    def column(self, data: pa.Buffer, kind: pa.DataType) -> pa.Array:
        """Return the values, as texts or numbers of a kind, or as lists of them."""
        if self.values is not None:
            column = array_of(self.values, pa.int64(), self.valid)
            if self.counts is None:
                return column
            ends = np.cumsum(self.counts, dtype=np.int32)
            offsets = array_of(np.concatenate((np.zeros(1, np.int32), ends)), pa.int32())
            return pa.ListArray.from_arrays(offsets, column)
        texts = spans(data, self.first, self.last).view(pa.string())
        if self.valid is not None:
            texts = pc.if_else(bits(self.valid), texts, pa.scalar(None, pa.string()))
        return texts.cast(kind)


def _before(counts: np.ndarray) -> np.ndarray:
    """Return the sum of all counts before each."""
    return np.cumsum(counts) - counts
