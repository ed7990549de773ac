"""JSON objects that are written alike, as those of one program: their values are found without a parser.

The shape of a line is the text around its values: keys, quotes and signs. A line has it if that text
is at its places, byte by byte; its values are then what lies between. Every byte of such a line is
looked at: a text has no escape and no control character, a number the form of JSON. What is not plainly
of a shape is not judged here, but left to the parser. A list of whole numbers is a value as well, and
a number may be null.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from headrace.ingest.arrow_arrays import bits
from headrace.ingest.decoding.json_parts import WHOLES, Parts
from headrace.ingest.sources.line_block import WORD_BYTES, LineBlock
from headrace.ingest.values import INTEGER_BITS

_LINE_BYTES_MAX = 16 * 1024  # of one that a shape is taken from
_VALUES_MAX = 256
_PAIR = re.compile(
    rb' *"([^"\\\x00-\x1f]*)" *: *'
    rb'(?:"([^"\\\x00-\x1f]*)"|(-?[0-9][0-9.]*)|\[([-0-9, ]*)\]|(true|false|null)) *([,}])'
)
_TEXT, _NUMBER, _LIST, _WORD, _SIGN = 2, 3, 4, 5, 6  # groups of a pair
_WORDS: Mapping[bytes, bool | None] = {b"true": True, b"false": False, b"null": None}
_QUOTE, _ESCAPE, _SPACE = ord('"'), ord("\\"), ord(" ")


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The keys that a contract has.

    Args:
        kinds: What the value of each is read as.
        exact_below: Of floating keys, from which size on the declared type may round a whole number.

    """

    kinds: Mapping[str, pa.DataType]
    exact_below: Mapping[str, float]

    @classmethod
    def of(cls, kinds: Mapping[str, pa.DataType], declared: Mapping[str, pa.DataType]) -> Self:
        """Take as what keys are read, and their types in the contract."""
        bits = {key: INTEGER_BITS[kind] for key, kind in declared.items() if kind in INTEGER_BITS}
        return cls(kinds=kinds, exact_below={key: 2.0**count for key, count in bits.items()})


@dataclass(frozen=True, kw_only=True)
class _Value:
    """A value that differs from line to line.

    Args:
        key: Its key; None if the contract does not have it.
        kind: What it is read as.
        exact_below: From this size on the declared type may round a whole number.
        before: The text between the value before it and this one.
        quote: Which quote of the line ends a text, or is the next one behind a number.
        behind: How many bytes lie between a number and that quote.

    """

    key: str | None
    kind: pa.DataType
    before: bytes
    quote: int
    behind: int = 0
    exact_below: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What lines have in common; keys that are `true`, `false` or null in one are so in all.

    But a number may be null in any of them.
    """

    declared: Declared
    values: Sequence[_Value]
    words: Mapping[str, bool | None]
    tail: bytes
    quotes: int

    @classmethod
    def of(cls, line: bytes, declared: Declared, *, strict: bool) -> Self | None:
        """Take the shape of a line; None if it is no flat object of plain values of declared types.

        With `strict`, a line with a value that the contract does not have is of no shape.
        """
        if len(line) > _LINE_BYTES_MAX or line[:1] != b"{":
            return None
        values: list[_Value] = []
        words: dict[str, bool | None] = {}
        at, taken, sign = 1, 0, b","
        while sign == b",":
            pair = _PAIR.match(line, at)
            if pair is None or len(values) == _VALUES_MAX:
                return None
            at, sign = pair.end(), pair[_SIGN]
            key = pair[1].decode()
            wanted = declared.kinds.get(key)
            if wanted is not None and (key in words or any(key == each.key for each in values)):
                return None
            is_null = pair[_WORD] == b"null"
            if pair[_WORD] is not None and not (is_null and _is_number(wanted)):
                word = _WORDS[pair[_WORD]]
                if word is not None and (strict if wanted is None else wanted != pa.bool_()):
                    return None
                if wanted is not None:
                    words[key] = word
                continue
            groups = (_TEXT, _NUMBER, _LIST, _WORD)
            group = next(each for each in groups if pair[each] is not None)
            kind = wanted if group == _WORD else _kind(wanted, group)
            if kind is None or (strict and wanted is None):
                return None
            first, end = pair.span(group)
            quote = line.count(b'"', 0, end)
            behind = 0 if group == _TEXT else max(0, line.find(b'"', end) - end)
            values.append(
                _Value(
                    key=None if wanted is None else key,
                    kind=kind,
                    before=line[taken:first],
                    quote=quote,
                    behind=behind,
                    exact_below=declared.exact_below.get(key, 0.0),
                )
            )
            taken = end
        if at != len(line) or not values:
            return None
        return cls(
            declared=declared,
            values=values,
            words=words,
            tail=line[taken:],
            quotes=line.count(b'"'),
        )

    def read(
        self, lines: LineBlock, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, pa.Table]:
        """Return which lines have this shape, and their declared keys.

        Args:
            lines: Lines of less than 2 GiB in all.
            among: Which of them are UTF-8, ascending; all by default.

        """
        quotes = np.flatnonzero(lines.codes == _QUOTE)
        easy = ~_uneasy(lines)
        at = np.flatnonzero(easy) if among is None else among[easy[among]]
        at, first_quotes = self._alike(lines, quotes, at)
        kept, found = self._places(lines, at, quotes, first_quotes)
        odd = np.zeros(len(kept), dtype=bool)
        for number, value in enumerate(self.values):
            if value.kind != pa.string():
                found[number], others = found[number].numbers(lines, value.kind)
                odd |= others
        if odd.any():
            kept, found = kept[~odd], [each.only(~odd) for each in found]
        data = pa.py_buffer(lines.data)
        read: dict[str, pa.Array] = {}
        rounded = np.zeros(len(kept), dtype=bool)
        for value, parts in zip(self.values, found, strict=True):
            if value.key is None:
                continue
            column = read[value.key] = parts.column(data, value.kind)
            if pa.types.is_floating(value.kind):
                rounded |= np.abs(column.to_numpy(zero_copy_only=False)) >= value.exact_below
        count = len(kept)
        kinds = self.declared.kinds
        columns = [self._column(key, kind, read, count) for key, kind in kinds.items()]
        table = pa.Table.from_arrays(columns, names=list(kinds))
        if rounded.any():
            kept, table = kept[~rounded], table.filter(bits(~rounded))
        return kept, table

    def _column(
        self, key: str, kind: pa.DataType, read: Mapping[str, pa.Array], count: int
    ) -> pa.Array:
        if key in read:
            return read[key]
        word = self.words.get(key)
        return pa.nulls(count, kind) if word is None else pa.repeat(pa.scalar(word, kind), count)

    def _alike(
        self, lines: LineBlock, quotes: np.ndarray, at: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return which lines have as many quotes as the shape, and the number of the first of each."""
        if len(at) == len(lines) and len(quotes) == len(lines) * self.quotes:
            first = np.arange(0, len(quotes), self.quotes)
            last = first + self.quotes - 1
            if (quotes[first] > lines.starts).all() and (quotes[last] < lines.ends).all():
                return at, first
        first = np.searchsorted(quotes, lines.starts)
        counts = np.diff(first, append=len(quotes))
        at = at[counts[at] == self.quotes]
        return at, first[at]

    def _places(
        self, lines: LineBlock, rows: np.ndarray, quotes: np.ndarray, first_quotes: np.ndarray
    ) -> tuple[np.ndarray, list[Parts]]:
        """Return which lines have the same text around their values, and where these lie."""
        at, ends = lines.starts[rows], lines.ends[rows]
        wrong = np.zeros(len(rows), dtype=bool)
        bounds: list[tuple[np.ndarray, np.ndarray]] = []
        for value in self.values:
            wrong |= _differ(lines, at, value.before)
            first = at + len(value.before)
            if value.quote < self.quotes:
                at = np.maximum(quotes[first_quotes + value.quote] - value.behind, 0)
            else:
                at = ends - len(self.tail)
            wrong |= at < first
            bounds.append((first, at))
        wrong |= _differ(lines, at, self.tail) | (at + len(self.tail) != ends)
        found = [Parts(*each) for each in bounds]
        if wrong.any():
            rows, found = rows[~wrong], [each.only(~wrong) for each in found]
        return rows, [
            Parts.of_lists(lines, each.first, each.last) if value.kind == WHOLES else each
            for value, each in zip(self.values, found, strict=True)
        ]


def _kind(wanted: pa.DataType | None, group: int) -> pa.DataType | None:
    """Return as what a value is read; None if it is not of the declared type."""
    if group == _LIST:
        return WHOLES if wanted == WHOLES else None
    if wanted is None:
        return pa.string() if group == _TEXT else pa.float64()
    if group == _TEXT:
        return wanted if wanted == pa.string() else None
    return wanted if _is_number(wanted) else None


def _is_number(kind: pa.DataType | None) -> bool:
    return kind is not None and (kind == pa.int64() or pa.types.is_floating(kind))


def _uneasy(lines: LineBlock) -> np.ndarray:
    """Find lines with escapes or control characters; all, where there is next to nothing."""
    found = np.full(len(lines), fill_value=len(lines.data) < WORD_BYTES)
    if b"\\" in lines.data:
        found[lines.holding(np.flatnonzero(lines.codes == _ESCAPE))] = True
    controls = lines.codes < _SPACE
    if np.count_nonzero(controls) > len(lines):
        controls[lines.ends] = False
        found[lines.holding(np.flatnonzero(controls))] = True
    return found


def _differ(lines: LineBlock, at: np.ndarray, text: bytes) -> np.ndarray:
    """Return where another text than this lies; a place may be anywhere."""
    wrong = np.zeros(len(at), dtype=bool)
    if len(text) < WORD_BYTES:
        end = len(lines.codes) - 1
        for place, code in enumerate(text):
            wrong |= lines.codes[np.minimum(at + place, end)] != code
        return wrong
    end = len(lines.words) - 1
    places = {*range(0, len(text) - WORD_BYTES + 1, WORD_BYTES), len(text) - WORD_BYTES}
    for place in sorted(places):
        word = np.uint64(int.from_bytes(text[place : place + WORD_BYTES], "little"))
        wrong |= lines.words[np.minimum(at + place, end)] != word
    return wrong
