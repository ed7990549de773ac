"""JSON lines: one object a line, decoded by pyarrow, or by the standard library where that fails.

pyarrow gets only lines that hold exactly one object: pyarrow 26 reads `{"a":1}{"a":2}` as two rows and
crashes the process on a bare `null`. Types are never inferred: inference recurses without a limit
into nested values, and makes a column of every key.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from headrace.definitions.sources import KafkaSource
from headrace.definitions.stream import Stream
from headrace.definitions.stream_field import StreamField
from headrace.definitions.types import is_plain_list
from headrace.ingest.decoding.decoded import MALFORMED, Decoded, Violation, refusal, unknown
from headrace.ingest.decoding.json_alike import read_alike
from headrace.ingest.decoding.json_paths import Paths
from headrace.ingest.decoding.json_shape import Declared
from headrace.ingest.decoding.json_values import CoercionError, Number, Pairs, coerce, whole_number
from headrace.ingest.decoding.lines import LineDecoder, Look, Whole
from headrace.ingest.sources.line_block import LineBlock
from headrace.ingest.values import INTEGER_BITS, WRONG_TYPE, shown

SAMPLE_LINES, _SAMPLED_BYTES_MAX = 64, 16 * 1024
DEPTH_MAX = 256  # the standard library's parser fails at a depth that depends on its caller's
_OPEN, _CLOSE, _NEWLINE = ord("{"), ord("}"), ord("\n")
# by the code of a character; a look-up in a table is several times as fast as a search
_STEP = np.zeros(256, dtype=np.int8)
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
# `[` and `{` differ in one bit, without which no other character is the same
_CASE, _OPENING = np.uint8(0xDF), ord("[")
_MAY_FOLLOW = np.isin(np.arange(256), np.frombuffer(b"\n,}]", dtype=np.uint8))  # a closing brace
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_EXACT = pa.decimal128(38, 9)  # of times that are numbers, to the nanosecond
_COUNTED_SINGLY_MAX = 0.1  # of the lines; beyond it the brackets of all are looked up at once
_ROW = re.compile(r" in row ([0-9]+)")  # of the parser's message, from 0


class JsonDecoder(LineDecoder):
    """Decodes JSON lines."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        # by the key in the source; the result has the names of the fields
        self._names = {field.source_name or name: name for name, field in stream.fields.items()}
        self._declared = {key: _read_as(stream.fields[name]) for key, name in self._names.items()}
        self._kinds = {key: _json_type(kind) for key, kind in self._declared.items()}
        self._plain = Declared.of(self._kinds, self._declared)
        self._paths = Paths(self._kinds)
        self._nested = [key for key, steps in self._paths.steps.items() if len(steps) > 1]
        # objects as values: pyarrow reads none as maps, and rounds whole numbers within others
        self._objects = any(
            pa.types.is_nested(kind) and not is_plain_list(kind) for kind in self._declared.values()
        )
        self._null_keys: list[str] = []
        self._decoder = json.JSONDecoder(
            object_pairs_hook=Pairs, parse_float=Number, parse_int=whole_number
        )

    def decode(self, lines: Sequence[bytes]) -> Decoded:
        """Decode lines; never raises for what one holds."""
        keys: Counter[str] = Counter()
        valued: set[str] = set()
        for line in lines[:: max(1, len(lines) // SAMPLE_LINES)]:
            record = _sampled(line)
            keys.update(name[:80] for name in record)
            valued.update(name for name, value in record.items() if value is not None)
        for root in self._paths.roots:
            del keys[root]
        known = self._declared.keys() | valued
        self._null_keys = [name for name in keys if name.isprintable() and name not in known]
        done = super().decode(lines)
        columns = {self._names.get(key, key): column for key, column in done.columns.items()}
        named = Counter({self._names.get(key, key): count for key, count in keys.items()})
        return replace(done, columns=columns, keys=named)

    def schema(self) -> pa.Schema:
        """The declared fields, in types that are converted later."""
        return pa.schema(self._kinds)

    def alike(self, lines: Sequence[bytes]) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Decode lines that are written as one of them is."""
        if self._nested or self._objects:
            return iter(())
        return read_alike(lines, self._plain, strict=self.strict)

    def odd(self, lines: LineBlock) -> np.ndarray:
        """Find lines that may not be one object: where `}` is not followed by `,`, `}`, `]` or the end."""
        if self._objects:
            return np.arange(len(lines))
        codes = lines.codes
        bad = lines.lengths == 0
        bad |= (codes[lines.starts] != _OPEN) | (codes[lines.ends - 1] != _CLOSE)
        if lines.lengths.max(initial=0) > DEPTH_MAX:
            bad[[at for at in _many_opened(lines) if _is_deep(lines[at])]] = True
        if lines.data.count(b"\n") != len(lines):  # messages may have newlines
            newlines = np.flatnonzero(codes == _NEWLINE)
            is_end = lines.ends[np.searchsorted(lines.ends, newlines)] == newlines
            bad[lines.holding(newlines[~is_end])] = True
        closing = np.flatnonzero(codes == _CLOSE)
        after = codes[closing + 1]
        strange = closing[~_MAY_FOLLOW[after]]
        bad[lines.holding(strange)] = True
        return np.flatnonzero(bad)

    def looks(self) -> Sequence[Look]:
        """Ask a typed reader about each line, and count its keys."""
        # its library is loaded where a line is at fault
        from headrace.ingest.decoding.json_faults import misfitting, reader_of, repeating

        kinds = tuple(self._paths.schema())
        reader = reader_of(kinds, tuple(self._nulls), strict=self.strict)
        return (repeating,) if reader is None else (partial(misfitting, reader), repeating)

    @property
    def _nulls(self) -> Sequence[str]:
        """Undeclared keys whose values are all null, which are accepted."""
        return self._null_keys[:SAMPLE_LINES] if self.strict else ()

    def whole(self, text: bytes, count: int) -> Whole | int | None:
        """Parse lines at once, or say which cannot be parsed or has an undeclared key."""
        nulls = [(name, pa.null()) for name in self._nulls]
        try:
            table = pa_json.read_json(
                pa.BufferReader(text),
                read_options=pa_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
                parse_options=pa_json.ParseOptions(
                    explicit_schema=pa.schema([*self._paths.schema(), *nulls]),
                    unexpected_field_behavior="error" if self.strict else "ignore",
                ),
            )
        except (pa.ArrowException, UnicodeDecodeError) as error:
            row = _ROW.search(str(error))
            return None if row is None else int(row[1])
        if table.num_rows != count:
            return None
        table = self._paths.flat(table)
        singly = self._doubtful(table)
        kept = np.delete(np.arange(count), singly)
        return Whole(
            table=table.take(pa.array(kept)) if singly else table, kept=kept, singly=singly
        )

    def _doubtful(self, table: pa.Table) -> list[int]:
        """Find rows with a floating value so large that a whole number may have been rounded to it."""
        rows: set[int] = set()
        for name, kind in self._declared.items():
            inner = kind.value_type if is_plain_list(kind) else kind
            if inner not in INTEGER_BITS:
                continue
            column = table.column(name).combine_chunks()
            values = column if inner is kind else column.flatten()
            large = pc.greater_equal(pc.abs(values), 2.0 ** INTEGER_BITS[inner])
            found = pc.indices_nonzero(pc.fill_null(large, False))
            if len(found):
                rows.update(
                    (
                        found if inner is kind else column.value_parent_indices().take(found)
                    ).to_pylist()
                )
        return sorted(rows)

    def one(self, line: bytes) -> dict[str, Any] | Violation:
        """Parse one line; repeated keys and wrong types become different violations."""
        if _is_deep(line):
            return Violation(MALFORMED, f"nested more than {DEPTH_MAX} deep")
        try:
            pairs = self._decoder.decode(line.decode())
        except (ValueError, RecursionError) as error:
            detail = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            return Violation(MALFORMED, f"not JSON: {self._hint(line) or detail}")
        if not isinstance(pairs, Pairs):
            return Violation(MALFORMED, "the line is JSON, but not an object")
        return self._record(pairs)

    def _hint(self, line: bytes) -> str:
        """Name a cause that the parser does not: it says `Expecting value` to both."""
        if not line.strip():
            return "it is empty"
        source, is_zero = self.stream.source, line.startswith(b"\0")
        if is_zero and isinstance(source, KafkaSource) and source.kafka.framing == "none":
            head = "it begins with a zero byte, as values with the id of a schema do"
            return f"{head}; those are declared by `framing: registry`"
        return ""

    def _record(self, pairs: Pairs) -> dict[str, Any] | Violation:
        record: dict[str, Any] = {}
        refused: Violation | None = None
        for name, value in pairs.items:
            if name in record:
                return Violation(MALFORMED, f"key {shown(name)} is there twice", name)
            if name in self._declared and name not in self._nested:
                done = self._coerced(name, value)
                if isinstance(done, Violation):
                    return done
                record[name] = done[0]
            elif self.strict and value is not None and refused is None:
                refused = unknown(name, self.stream)
        return refused or self._with_nested(pairs, record)

    def _with_nested(self, pairs: Pairs, record: dict[str, Any]) -> dict[str, Any] | Violation:
        for key in self._nested:
            found = _inside(pairs, self._paths.steps[key])
            if isinstance(found, Violation):
                return found
            done = self._coerced(key, found[0])
            if isinstance(done, Violation):
                return done
            record[key] = done[0]
        return record

    def _coerced(self, key: str, value: Any) -> tuple[Any] | Violation:  # noqa: ANN401  (JSON)
        try:
            return (coerce(value, self._declared[key]),)
        except CoercionError as error:
            name = self._names[key]
            declared = self.stream.fields[name].type.text
            return refusal(name, error.code, value, declared=declared)


def _inside(pairs: Pairs, steps: Sequence[str]) -> tuple[Any] | Violation:
    """Return the value at the end of a path, None if an object on the way lacks it."""
    at: Any = pairs
    for step in steps:
        if at is None:
            return (None,)
        if not isinstance(at, Pairs):
            reason = (
                f"{shown(steps[0])} holds {shown(at)} where `{'.'.join(steps)}` needs an object"
            )
            return Violation(WRONG_TYPE, reason, steps[0])
        found = [value for name, value in at.items if name == step]
        if len(found) > 1:
            return Violation(MALFORMED, f"key {shown(step)} is there twice", step)
        at = found[0] if found else None
    return (at,)


def _sampled(line: bytes) -> dict[str, Any]:
    """Read the keys and values of a sampled line; empty if it is long or cannot be parsed."""
    if len(line) > _SAMPLED_BYTES_MAX or _is_deep(line):
        return {}
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _many_opened(lines: LineBlock) -> list[int]:
    """Find lines that may have more than `DEPTH_MAX` opening brackets, also those inside of texts."""
    long = np.flatnonzero(lines.lengths > DEPTH_MAX)
    if len(long) <= len(lines) * _COUNTED_SINGLY_MAX:
        return long.tolist()
    opening = np.flatnonzero((lines.codes & _CASE) == _OPENING)
    before = np.searchsorted(opening, lines.starts), np.searchsorted(opening, lines.ends)
    return np.flatnonzero(before[1] - before[0] > DEPTH_MAX).tolist()


def _is_deep(line: bytes) -> bool:
    """Whether objects and lists are nested more than `DEPTH_MAX` deep."""
    if line.count(b"[") + line.count(b"{") <= DEPTH_MAX:
        return False
    bare = np.frombuffer(_STRING.sub(b"", line), dtype=np.uint8)
    return bool(np.cumsum(_STEP[bare], dtype=np.int32).max(initial=0) > DEPTH_MAX)


def _read_as(field: StreamField) -> pa.DataType:
    """Times that are numbers are read exactly, as numbers or as texts of them."""
    return _EXACT if field.unit is not None else field.type.arrow


def _json_type(declared: pa.DataType) -> pa.DataType:
    """The type to read from JSON: times as text, whole numbers in the widest type; converted later.

    A floating number is read as its own type: by way of a wider one it would be rounded twice.
    """
    if pa.types.is_list(declared):
        return pa.list_(_json_type(declared.value_type))
    if pa.types.is_map(declared):
        return pa.map_(pa.string(), _json_type(declared.item_type))
    if pa.types.is_struct(declared):
        children = (declared.field(at) for at in range(declared.num_fields))
        return pa.struct([(child.name, _json_type(child.type)) for child in children])
    if pa.types.is_integer(declared):
        return pa.int64()
    if pa.types.is_temporal(declared):
        return pa.string()
    return declared
