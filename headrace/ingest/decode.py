"""From records as read to columns: a fast whole-batch path, and one record at a time where it fails.

Both paths accept the same records. The fast JSON path sees only lines that can hold nothing but one
object each: pyarrow 26 reads `{"a":1}{"a":2}` as two rows and crashes on a bare `null`, so a line of
another shape, and every batch that does not parse, is read record by record.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from headrace.definitions.stream import Stream
from headrace.ingest.base import Records
from headrace.ingest.files import RECORD_BYTES_MAX
from headrace.ingest.values import NAIVE_TIME, NOT_FINITE, OUT_OF_RANGE, WRONG_TYPE

MALFORMED = "malformed"
INVALID_UTF8 = "invalid_utf8"
TOO_LONG = "too_long"
WRONG_COLUMNS = "wrong_columns"

_LINES_PER_RETRY = 1024
_OPEN, _CLOSE = ord("{"), ord("}")
_AFTER_CLOSE = np.frombuffer(b"\n,}]", dtype=np.uint8)
_INT64 = range(-(2**63), 2**63)
_DECIMAL_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)


@dataclass(frozen=True)
class Violation:
    """Why a record cannot be a row."""

    code: str
    reason: str
    field: str | None = None


def refusal(name: str, code: str, value: object, *, declared: str) -> Violation:
    """Say why a field's value cannot be of its declared type."""
    why = {
        NAIVE_TIME: "has neither `Z` nor an offset",
        NOT_FINITE: "is not a finite number",
        INVALID_UTF8: "holds half of a surrogate pair",
        OUT_OF_RANGE: f"does not fit into `{declared}`",
    }.get(code, f"is not a `{declared}`")
    return Violation(code, f"`{name}` is {_shown(value)}, which {why}", name)


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Columns of the records that could be read, and a violation for each of the others.

    `index` says which record of the batch each row is; rows and violations together are all of them.
    Columns have a type that `values.convert` understands; undeclared ones are there only if the
    contract asks about them.
    """

    index: np.ndarray
    columns: dict[str, pa.Array]
    violations: dict[int, Violation]


def decode(records: Records, stream: Stream) -> Decoded:
    """Decode one micro-batch; never raises for what a record holds."""
    if records.rows is not None:
        return _decode_rows(records.rows, stream)
    if stream.format == "csv":
        return _CsvDecoder(stream, records.header).decode(records.lines)
    return _JsonDecoder(stream).decode(records.lines)


class _LineDecoder:
    """What CSV and JSON share: sort the lines out, decode most at once, the rest one by one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._strict = stream.unknown_fields == "dead_letter"

    def decode(self, lines: Sequence[bytes]) -> Decoded:
        violations: dict[int, Violation] = {}
        refused = _unreadable(lines)
        odd = set(self._odd(lines)) - refused.keys()
        plain = [at for at in range(len(lines)) if at not in odd and at not in refused]
        violations |= refused
        parts: list[tuple[np.ndarray, pa.Table]] = []
        for piece in self._fast(plain, lines, parts, violations):
            odd.update(piece)
        if odd:
            parts.append(self._slow(sorted(odd), lines, violations))
        return _assemble(parts, violations)

    def _fast(
        self,
        at: list[int],
        lines: Sequence[bytes],
        parts: list[tuple[np.ndarray, pa.Table]],
        violations: dict[int, Violation],
    ) -> Iterable[list[int]]:
        """Decode lines at once; yield those that have to be read one by one."""
        if not at:
            return
        done = self._whole([lines[i] for i in at], np.array(at, dtype=np.int64), violations)
        if done is not None:
            parts.append(done)
        elif len(at) <= _LINES_PER_RETRY:
            yield at
        else:
            for start in range(0, len(at), _LINES_PER_RETRY):
                piece = at[start : start + _LINES_PER_RETRY]
                yield from self._fast(piece, lines, parts, violations)

    def _odd(self, lines: Sequence[bytes]) -> Iterable[int]:
        raise NotImplementedError

    def _whole(
        self, lines: list[bytes], at: np.ndarray, violations: dict[int, Violation]
    ) -> tuple[np.ndarray, pa.Table] | None:
        raise NotImplementedError

    def _one(self, line: bytes) -> dict[str, Any] | Violation:
        raise NotImplementedError

    def _schema(self) -> pa.Schema:
        raise NotImplementedError

    def _slow(
        self, at: list[int], lines: Sequence[bytes], violations: dict[int, Violation]
    ) -> tuple[np.ndarray, pa.Table]:
        kept: list[int] = []
        rows: list[dict[str, Any]] = []
        for i in at:
            record = self._one(lines[i])
            if isinstance(record, Violation):
                violations[i] = record
            else:
                kept.append(i)
                rows.append(record)
        schema = self._schema()
        extra = sorted({name for row in rows for name in row} - set(schema.names))
        columns = [pa.array([row.get(f.name) for row in rows], f.type) for f in schema]
        columns += [
            pa.array([True if name in row else None for row in rows], pa.bool_()) for name in extra
        ]
        table = pa.Table.from_arrays(columns, names=[*schema.names, *extra])
        return np.array(kept, dtype=np.int64), table


class _JsonDecoder(_LineDecoder):
    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._types = {name: _json_type(field.type.arrow) for name, field in stream.fields.items()}
        decimals = any("decimal" in str(kind) for kind in self._types.values())
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_Pairs, parse_float=Decimal if decimals else None
        )

    def _schema(self) -> pa.Schema:
        return pa.schema(list(self._types.items()))

    def _odd(self, lines: Sequence[bytes]) -> Iterable[int]:
        """Find lines that may hold anything but one object: `}` is followed by `,`, `}`, `]` or the end."""
        for at, line in enumerate(lines):
            if line[0] != _OPEN or line[-1] != _CLOSE:
                yield at
        block = np.frombuffer(b"\n".join(lines) + b"\n", dtype=np.uint8)
        closing = np.flatnonzero(block == _CLOSE)
        strange = closing[~np.isin(block[closing + 1], _AFTER_CLOSE)]
        if len(strange):
            ends = np.cumsum([len(line) + 1 for line in lines])
            yield from (int(at) for at in np.searchsorted(ends, strange, side="right"))

    def _whole(
        self, lines: list[bytes], at: np.ndarray, violations: dict[int, Violation]
    ) -> tuple[np.ndarray, pa.Table] | None:
        block = b"\n".join(lines)
        try:
            table = pa_json.read_json(
                io.BytesIO(block),
                read_options=pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
                parse_options=pa_json.ParseOptions(
                    explicit_schema=self._schema(),
                    unexpected_field_behavior="infer" if self._strict else "ignore",
                ),
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        for position, name in enumerate(table.column_names):
            if name not in self._types:  # of an undeclared key only its presence matters
                present = pc.if_else(table.column(name).is_valid(), True, None)
                table = table.set_column(position, name, present.cast(pa.bool_()))
        return (at, table) if table.num_rows == len(lines) else None

    def _one(self, line: bytes) -> dict[str, Any] | Violation:
        try:
            pairs = self._decoder.decode(line.decode())
        except (ValueError, RecursionError) as error:
            detail = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            return Violation(MALFORMED, f"not JSON: {detail}")
        if not isinstance(pairs, _Pairs):
            return Violation(MALFORMED, "the line is JSON, but not an object")
        record: dict[str, Any] = {}
        for name, value in pairs.items:
            if name in record:
                return Violation(MALFORMED, f"key {_shown(name)} is there twice", name)
            if name in self._types:
                try:
                    record[name] = _coerce(value, self._types[name])
                except _CoercionError as error:
                    declared = self._stream.fields[name].type.text
                    return refusal(name, error.code, value, declared=declared)
            elif self._strict and value is not None:
                record[name] = True
        return record


class _CsvDecoder(_LineDecoder):
    def __init__(self, stream: Stream, header: tuple[str, ...]) -> None:
        super().__init__(stream)
        self._header = header
        self._wanted = [name for name in header if self._strict or name in stream.fields]

    def _schema(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in self._wanted])

    def _odd(self, lines: Sequence[bytes]) -> Iterable[int]:
        return (at for at, line in enumerate(lines) if b'"' in line or b"\r" in line)

    def _whole(
        self, lines: list[bytes], at: np.ndarray, violations: dict[int, Violation]
    ) -> tuple[np.ndarray, pa.Table] | None:
        uneven: dict[int, Violation] = {}

        def skip(row: pa_csv.InvalidRow) -> str:
            uneven[row.number - 1] = self._uneven(row.actual_columns)
            return "skip"

        block = b"\n".join(lines)
        try:
            table = pa_csv.read_csv(
                io.BytesIO(block),
                read_options=pa_csv.ReadOptions(
                    use_threads=False, block_size=len(block) + 1, column_names=list(self._header)
                ),
                parse_options=pa_csv.ParseOptions(quote_char=False, invalid_row_handler=skip),
                convert_options=pa_csv.ConvertOptions(
                    column_types=self._schema(),
                    include_columns=self._wanted,
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowException:
            return None
        if table.num_rows + len(uneven) != len(lines):
            return None
        violations |= {int(at[row]): violation for row, violation in uneven.items()}
        return np.delete(at, list(uneven)) if uneven else at, table

    def _uneven(self, found: int | None) -> Violation:
        reason = f"{found} values, but the header has {len(self._header)}"
        return Violation(WRONG_COLUMNS, reason)

    def _one(self, line: bytes) -> dict[str, Any] | Violation:
        try:
            values = next(csv.reader((line.decode(),), strict=True))
        except (csv.Error, StopIteration) as error:
            return Violation(MALFORMED, f"not a CSV record: {error}")
        if len(values) != len(self._header):
            return self._uneven(len(values))
        wanted = set(self._wanted)
        return {
            name: value or None
            for name, value in zip(self._header, values, strict=True)
            if name in wanted
        }


class _Pairs:
    """A JSON object as written: repeated keys are still there."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items


class _CoercionError(Exception):
    def __init__(self, code: str) -> None:
        self.code = code


def _coerce(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401, C901  (a JSON value; one case per type)
    if value is None:
        return None
    if pa.types.is_string(kind):
        return _text(value)
    if pa.types.is_boolean(kind):
        if not isinstance(value, bool):
            raise _CoercionError(WRONG_TYPE)
        return value
    if isinstance(value, bool):
        raise _CoercionError(WRONG_TYPE)
    if pa.types.is_integer(kind):
        if not isinstance(value, int):
            raise _CoercionError(WRONG_TYPE)
        if value not in _INT64:
            raise _CoercionError(OUT_OF_RANGE)
        return value
    if pa.types.is_floating(kind):
        return _float(value)
    if pa.types.is_decimal(kind):
        return _decimal(value, kind)
    if not isinstance(value, list):
        raise _CoercionError(WRONG_TYPE)
    return [_coerce(element, kind.value_type) for element in value]  # pyright: ignore[reportUnknownVariableType]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _CoercionError(WRONG_TYPE)
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise _CoercionError(INVALID_UTF8) from None
    return value


def _float(value: object) -> float:
    if not isinstance(value, int | float | Decimal):
        raise _CoercionError(WRONG_TYPE)
    try:
        return float(value)
    except OverflowError:
        raise _CoercionError(NOT_FINITE) from None


def _decimal(value: object, kind: pa.DataType) -> Decimal:
    text = value if isinstance(value, str) else str(value)
    if isinstance(value, list | _Pairs) or not _DECIMAL_TEXT.fullmatch(text):
        raise _CoercionError(WRONG_TYPE)
    exact = Decimal(text)
    try:
        pa.scalar(exact, kind)
    except pa.ArrowInvalid:
        raise _CoercionError(OUT_OF_RANGE) from None
    return exact


def _json_type(declared: pa.DataType) -> pa.DataType:
    """What to ask the JSON reader for: times as text, numbers wide enough to be judged later."""
    if pa.types.is_list(declared):
        return pa.list_(_json_type(declared.value_type))
    if pa.types.is_integer(declared):
        return pa.int64()
    if pa.types.is_floating(declared):
        return pa.float64()
    if pa.types.is_temporal(declared):
        return pa.string()
    return declared


def _unreadable(lines: Sequence[bytes]) -> dict[int, Violation]:
    """Find lines that are too long or not UTF-8; clean batches cost one pass."""
    refused = {
        at: Violation(TOO_LONG, f"longer than {RECORD_BYTES_MAX} bytes; `raw` is its beginning")
        for at, line in enumerate(lines)
        if len(line) > RECORD_BYTES_MAX
    }
    try:
        b"\n".join(lines).decode()
    except UnicodeDecodeError:
        for at, line in enumerate(lines):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                refused.setdefault(
                    at, Violation(INVALID_UTF8, f"not UTF-8 at byte {error.start} of the record")
                )
    return refused


def _assemble(
    parts: list[tuple[np.ndarray, pa.Table]], violations: dict[int, Violation]
) -> Decoded:
    if not parts:
        return Decoded(index=np.empty(0, np.int64), columns={}, violations=violations)
    index = np.concatenate([at for at, _ in parts])
    table = pa.concat_tables([table for _, table in parts], promote_options="default")
    if len(index) and (np.diff(index) < 0).any():
        order = np.argsort(index, kind="stable")
        index, table = index[order], table.take(pa.array(order))
    columns = {name: _flat(table.column(name)) for name in table.column_names}
    return Decoded(index=index, columns=columns, violations=violations)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    flat = column.combine_chunks()
    return flat if isinstance(flat, pa.Array) else flat.chunk(0)


def _decode_rows(batch: pa.RecordBatch, stream: Stream) -> Decoded:
    violations: dict[int, Violation] = {}
    columns: dict[str, pa.Array] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name not in stream.fields and stream.unknown_fields == "ignore":
            continue
        columns[name] = _utf8_only(name, column, violations) if name in stream.fields else column
    index = np.arange(batch.num_rows, dtype=np.int64)
    if violations:
        index = np.delete(index, list(violations))
        columns = {name: column.take(pa.array(index)) for name, column in columns.items()}
    return Decoded(index=index, columns=columns, violations=violations)


def _utf8_only(name: str, column: pa.Array, violations: dict[int, Violation]) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if column.type not in (pa.string(), pa.large_string(), pa.string_view()):
        return column
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        values = column.cast(pa.large_binary()).to_pylist()
        for at, value in enumerate(values):
            try:
                values[at] = None if value is None else value.decode()
            except UnicodeDecodeError:
                values[at] = None
                violations.setdefault(at, Violation(INVALID_UTF8, f"`{name}` is not UTF-8", name))
        return pa.array(values, pa.string())
    return column


def _shown(value: object) -> str:
    if isinstance(value, _Pairs):
        return "an object"
    text = str(value).encode(errors="replace").decode()
    return f"`{text if len(text) <= 80 else text[:79] + '…'}`"
