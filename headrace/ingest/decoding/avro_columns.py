"""Avro values by columns: one field of all values at a time, by arithmetic on arrays.

What comes out is what `avro_one` gives of one value after the other. A value that is not plainly of its
schema is not judged here: it is doubtful, and to be read by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from headrace.ingest.arrow_arrays import array_of, bits, spans, there
from headrace.ingest.decoding.avro_types import Node
from headrace.ingest.decoding.varints import Bytes

DATA_BYTES_MAX = 2**31 - 64  # places in texts have 32 bits
# Items of other types than numbers lie at places that are known only once those before are read:
# values with more of them than this in one block, or when there were so many rounds, are doubtful.
_ITEMS_MAX, _ROUNDS_MAX = 256, 4_096
_FLOATS: Mapping[str, tuple[str, pa.DataType]] = {
    "float": ("<u4", pa.float32()),
    "double": ("<u8", pa.float64()),
}
_SIZES: Mapping[str, int] = {"float": 4, "double": 8}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The fields of values: each as its column, or, if it is not wanted, as whether it is there.

    `doubtful` are the places of values that say nothing here.
    """

    columns: Sequence[pa.Array]
    doubtful: np.ndarray


def read_columns(
    data: bytes, starts: np.ndarray, ends: np.ndarray, record: Node, wanted: Sequence[bool]
) -> Columns:
    """Read values that lie one after the other in `data`, of less than `DATA_BYTES_MAX` bytes."""
    reader = _Reader(Bytes(data), starts.copy(), ends)
    rows = np.arange(len(starts))
    columns = [
        reader.read(node, rows, wanted=is_wanted)
        for node, is_wanted in zip(record.inner, wanted, strict=True)
    ]
    doubtful = reader.bad | (reader.at != ends)
    return Columns(columns=columns, doubtful=doubtful)


class _Reader:
    """Where each value is read up to, and which are doubtful.

    Rows are numbers of values, ascending. A value that is doubtful is read on within its bounds.
    """

    def __init__(self, data: Bytes, at: np.ndarray, ends: np.ndarray) -> None:
        self.data, self.at, self.ends = data, at, ends
        self.bad = np.zeros(len(at), dtype=bool)
        self._rounds = 0

    def read(self, node: Node, rows: np.ndarray, *, wanted: bool) -> pa.Array:
        """Read one type of some values."""
        return _READ[node.kind](self, node, rows, wanted)

    def long(self, rows: np.ndarray) -> np.ndarray:
        """Read numbers."""
        at = self.at[rows]
        numbers, after, strange = self.data.longs(at)
        if strange is not None:
            self.bad[rows[strange]] = True
        self.move(rows, after)
        return numbers

    def index(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Read numbers below `count`."""
        numbers = self.long(rows)
        return self.without(rows, numbers, (numbers < 0) | (numbers >= count))

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Read lengths of what follows."""
        numbers = self.long(rows)
        return self.without(rows, numbers, (numbers < 0) | (numbers > self.room(rows)))

    def room(self, rows: np.ndarray) -> np.ndarray:
        """Return how many bytes are left."""
        return self.ends[rows] - self.at[rows]

    def without(self, rows: np.ndarray, numbers: np.ndarray, wrong: np.ndarray) -> np.ndarray:
        """Return 0 in place of numbers that are wrong, whose values are doubtful."""
        if not wrong.any():
            return numbers
        self.bad[rows[wrong]] = True
        return np.where(wrong, 0, numbers)

    def move(self, rows: np.ndarray, after: np.ndarray) -> None:
        """Go on at these places, none behind the end of its value."""
        ends = self.ends[rows]
        beyond = after > ends
        if beyond.any():
            self.bad[rows[beyond]] = True
            after = np.minimum(after, ends)
        self.at[rows] = after

    def begin_round(self, rows: np.ndarray) -> None:
        """Count a round; after too many, what needs another one is doubtful."""
        self._rounds += 1
        if self._rounds > _ROUNDS_MAX:
            self.bad[rows] = True

    @cached_property
    def buffer(self) -> pa.Buffer:
        return pa.py_buffer(self.data.data)


def _null(_reader: _Reader, _node: Node, rows: np.ndarray, _wanted: bool) -> pa.Array:
    return pa.nulls(len(rows))


def _boolean(reader: _Reader, _node: Node, rows: np.ndarray, wanted: bool) -> pa.Array:
    at = reader.at[rows]
    reader.move(rows, at + 1)
    return bits(reader.data.codes[at] != 0) if wanted else there(len(rows))


def _long(reader: _Reader, _node: Node, rows: np.ndarray, wanted: bool) -> pa.Array:
    numbers = reader.long(rows)
    return array_of(numbers, pa.int64()) if wanted else there(len(rows))


def _float(reader: _Reader, node: Node, rows: np.ndarray, wanted: bool) -> pa.Array:
    at = reader.at[rows]
    reader.move(rows, at + _SIZES[node.kind])
    return _floats_at(reader, node.kind, at) if wanted else there(len(rows))


def _floats_at(reader: _Reader, kind: str, at: np.ndarray) -> pa.Array:
    form, of = _FLOATS[kind]
    return array_of(reader.data.words[at].astype(form), of)  # the first bytes of eight


def _string(reader: _Reader, _node: Node, rows: np.ndarray, wanted: bool) -> pa.Array:
    lengths = reader.lengths(rows)
    found = _spans(reader, rows, lengths) if wanted else None
    reader.at[rows] += lengths
    if found is None:
        return there(len(rows))
    try:
        return found.cast(pa.string())
    except pa.ArrowInvalid:
        return _utf8_only(reader, rows, found)


def _utf8_only(reader: _Reader, rows: np.ndarray, found: pa.Array) -> pa.Array:
    texts: list[str | None] = []
    for row, value in zip(rows.tolist(), found.to_pylist(), strict=True):
        try:
            texts.append(value.decode())
        except UnicodeDecodeError:
            texts.append(None)
            reader.bad[row] = True
    return pa.array(texts, pa.string())


def _bytes(reader: _Reader, _node: Node, rows: np.ndarray, wanted: bool) -> pa.Array:
    lengths = reader.lengths(rows)
    found = _spans(reader, rows, lengths) if wanted else there(len(rows))
    reader.at[rows] += lengths
    return found


def _fixed(reader: _Reader, node: Node, rows: np.ndarray, wanted: bool) -> pa.Array:
    size = np.minimum(node.size, reader.room(rows))
    found = _spans(reader, rows, size) if wanted else there(len(rows))
    reader.move(rows, reader.at[rows] + node.size)
    return found


def _spans(reader: _Reader, rows: np.ndarray, lengths: np.ndarray) -> pa.Array:
    at = reader.at[rows]
    return spans(reader.buffer, at, at + lengths)


def _enum(reader: _Reader, node: Node, rows: np.ndarray, wanted: bool) -> pa.Array:
    numbers = reader.index(rows, len(node.names))
    if not wanted:
        return there(len(rows))
    return pa.array(node.names or ("",), pa.string()).take(array_of(numbers, pa.int64()))


def _union(reader: _Reader, node: Node, rows: np.ndarray, wanted: bool) -> pa.Array:
    numbers = reader.index(rows, len(node.inner))
    found: list[tuple[np.ndarray, pa.Array]] = []
    for number, branch in enumerate(node.inner):
        here = np.flatnonzero(numbers == number)
        if len(here):
            found.append((here, reader.read(branch, rows[here], wanted=wanted)))
    valued = [each for each in found if not pa.types.is_null(each[1].type)]
    if not valued:
        others = [each for each in node.inner if each.kind != "null"]
        of = [reader.read(each, rows[:0], wanted=wanted).type for each in others[:1]]
        return pa.nulls(len(rows), *of)
    if len(valued) > 1:  # a value of several types is never wanted
        return there(len(rows), np.concatenate([here for here, _ in valued]))
    here, values = valued[0]
    if len(here) == len(rows):
        return values
    known = np.zeros(len(rows), dtype=bool)
    known[here] = True
    return values.take(array_of(np.cumsum(known) - 1, pa.int64(), known))


def _record(reader: _Reader, node: Node, rows: np.ndarray, _wanted: bool) -> pa.Array:
    for each in node.inner:
        reader.read(each, rows, wanted=False)
    return there(len(rows))


def _array(reader: _Reader, node: Node, rows: np.ndarray, wanted: bool) -> pa.Array:
    (item,) = node.inner
    owners: list[np.ndarray] = [np.empty(0, np.int64)]
    items: list[pa.Array] = []
    left = np.arange(len(rows))
    while len(left):
        counts = _block(reader, rows[left])
        has_some = (counts > 0) & ~reader.bad[rows[left]]
        left, counts = left[has_some], counts[has_some]
        if len(left):
            for whose, found in _items(reader, item, rows[left], counts, wanted=wanted):
                owners.append(left[whose])
                items.append(found)
    if not wanted:
        return there(len(rows))
    owned = np.concatenate(owners)
    ends = np.concatenate(([0], np.cumsum(np.bincount(owned, minlength=len(rows)))))
    if not items:
        items = [_READ[item.kind](reader, item, owned, wanted)]  # nothing, of its type
    values = pa.concat_arrays(items)
    if len(items) > 1:
        values = values.take(array_of(np.argsort(owned, kind="stable"), pa.int64()))
    return pa.ListArray.from_arrays(array_of(ends.astype(np.int32), pa.int32()), values)


def _block(reader: _Reader, rows: np.ndarray) -> np.ndarray:
    """Read how many items follow; there are not more than bytes, or the value is doubtful."""
    reader.begin_round(rows)
    counts = reader.long(rows)
    sized = np.flatnonzero(counts < 0)
    if len(sized):
        reader.long(rows[sized])
        counts = np.abs(counts)
    return reader.without(rows, counts, (counts < 0) | (counts > reader.room(rows)))


def _items(
    reader: _Reader, item: Node, rows: np.ndarray, counts: np.ndarray, *, wanted: bool
) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """Read so many items of each value; yield them with the places in `rows` of their owners."""
    at = reader.at[rows]
    whose = np.repeat(np.arange(len(rows)), counts)
    if item.kind == "long":
        numbers, after, strange = reader.data.runs(at, counts, reader.ends[rows])
        reader.bad[rows[strange]] = True
        reader.move(rows, after)
        yield whose, array_of(numbers, pa.int64())
    elif item.kind in _FLOATS:
        size = _SIZES[item.kind]
        ramp = np.arange(len(whose)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.minimum(at[whose] + ramp * size, reader.ends[rows][whose])
        reader.move(rows, at + counts * size)
        yield whose, _floats_at(reader, item.kind, places)
    else:
        counts = reader.without(rows, counts, counts > _ITEMS_MAX)
        for number in range(counts.max(initial=0)):
            some = np.flatnonzero(counts > number)
            reader.begin_round(rows[some])
            some = some[~reader.bad[rows[some]]]
            yield some, reader.read(item, rows[some], wanted=wanted)


_READ: Mapping[str, Callable[[_Reader, Node, np.ndarray, bool], pa.Array]] = {
    "null": _null,
    "boolean": _boolean,
    "long": _long,
    "float": _float,
    "double": _float,
    "bytes": _bytes,
    "string": _string,
    "fixed": _fixed,
    "enum": _enum,
    "union": _union,
    "record": _record,
    "array": _array,
}
