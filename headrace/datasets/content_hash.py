"""The content hash: one number for what a set of rows says, whatever wrote, ordered or split it.

`docs/formats/content-hash.md` is the specification; this file is its fast form. It finds accidents
(a changed, lost, doubled or swapped value) with 128 bits; it is not proof against a forger.
"""

import hashlib
import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.datasets.canonical import Words, kind_of, words_of
from headrace.datasets.mixing import mix
from headrace.errors import ContentTypeError

FORMAT = "headrace.content.1"
# Rows hashed at a time: the ten scratch arrays of 128 KiB stay in a core's own cache.
_CHUNK_ROWS = 16_384
_LANE = (1 << 64) - 1

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class _Column:
    """What a column's name and kind contribute: a key and a null value for each lane."""

    name: str
    kind: str
    keys: tuple[np.uint64, np.uint64]
    nulls: tuple[np.uint64, np.uint64]

    @classmethod
    def of(cls, field: "pa.Field[Any]") -> "_Column":
        kind = kind_of(field.type, column=field.name)
        seed = f"{FORMAT}\0{field.name}\0{kind}".encode()
        parts = struct.unpack("<4Q", hashlib.blake2b(seed, digest_size=32).digest())
        k0, k1, n0, n1 = (np.uint64(part) for part in parts)
        return cls(field.name, kind, (k0, k1), (n0, n1))


class ContentHash:
    """Accumulates the content hash of rows that arrive in any order, in batches of any size.

    Two accumulators end with the same digest exactly when (up to chance, 2⁻¹²⁸) they saw the same
    columns, by name and kind, and the same rows with the same multiplicity.

    Args:
        schema: Columns to expect. Their order does not matter.
        leave_out: Columns that do not count, such as those declared approximate.

    Raises:
        ContentTypeError: If a column's type has no canonical form.

    """

    def __init__(self, schema: pa.Schema, *, leave_out: Collection[str] = ()) -> None:
        self._columns = tuple(
            sorted(
                (_Column.of(field) for field in schema if field.name not in leave_out),
                key=lambda column: column.name,
            )
        )
        names = [column.name for column in self._columns]
        if len(set(names)) != len(names):
            msg = f"column names repeat in {names}"
            raise ValueError(msg)
        self._lanes = [0, 0]
        self._rows = 0

    @property
    def rows(self) -> int:
        """Rows seen."""
        return self._rows

    def update(self, batch: pa.RecordBatch) -> "ContentHash":
        """Add the rows of `batch`.

        Raises:
            ContentTypeError: If the batch lacks a column or has it with another kind of values.

        """
        for column in self._columns:
            index = batch.schema.get_field_index(column.name)
            found = "missing"
            if index >= 0:
                found = kind_of(batch.schema.field(index).type, column=column.name)
            if found != column.kind:
                raise ContentTypeError(column.name, found, allowed=column.kind)
        for start in range(0, batch.num_rows, _CHUNK_ROWS):
            self._add(batch.slice(start, _CHUNK_ROWS))
        return self

    def merge(self, other: "ContentHash") -> "ContentHash":
        """Add all rows `other` has seen, as if they had been given to this one.

        Raises:
            ValueError: If the two count other columns.

        """
        if self._columns != other._columns:
            msg = "content hashes of different columns cannot be merged"
            raise ValueError(msg)
        self._lanes = [(a + b) & _LANE for a, b in zip(self._lanes, other._lanes, strict=True)]
        self._rows += other._rows
        return self

    def hexdigest(self) -> str:
        """The hash of everything seen so far: 32 hexadecimal digits."""
        digest = hashlib.blake2b(f"{FORMAT}\0".encode(), digest_size=16)
        digest.update(struct.pack("<3Q", self._rows, *self._lanes))
        for column in self._columns:
            digest.update(f"{column.name}\0{column.kind}\0".encode())
        return digest.hexdigest()

    def _add(self, batch: pa.RecordBatch) -> None:
        scratch = np.empty(batch.num_rows, dtype=np.uint64)
        value = np.empty(batch.num_rows, dtype=np.uint64)
        rows = [np.zeros(batch.num_rows, dtype=np.uint64) for _ in range(2)]
        for column in self._columns:
            words = words_of(batch.column(column.name))
            for lane in (0, 1):
                _hash_values(words, column=column, lane=lane, out=value, scratch=scratch)
                np.add(rows[lane], value, out=rows[lane])
        for lane in (0, 1):
            mix(rows[lane], lane=lane, scratch=scratch)
            total = int(np.add.reduce(rows[lane], dtype=np.uint64))
            self._lanes[lane] = (self._lanes[lane] + total) & _LANE
        self._rows += batch.num_rows


def _hash_values(words: Words, *, column: _Column, lane: int, out: U64, scratch: U64) -> None:
    np.bitwise_xor(words.lanes[lane], column.keys[lane], out=out)
    mix(out, lane=lane, scratch=scratch)
    if words.nulls is not None:
        np.copyto(out, column.nulls[lane], where=words.nulls)
