"""JSON lines: one object a line, decoded by pyarrow, and by the standard library where that fails.

The fast path sees only lines that can hold nothing but one object each: pyarrow 26 reads
`{"a":1}{"a":2}` as two rows and crashes the process on a bare `null`.
"""

import io
import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from headrace.definitions.stream import Stream
from headrace.ingest.decoded import INVALID_UTF8, MALFORMED, Violation, refusal, shown
from headrace.ingest.lines import LineDecoder
from headrace.ingest.values import NOT_FINITE, OUT_OF_RANGE, WRONG_TYPE

_OPEN, _CLOSE = ord("{"), ord("}")
_AFTER_CLOSE = np.frombuffer(b"\n,}]", dtype=np.uint8)
_INT64 = range(-(2**63), 2**63)
_DECIMAL_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)


class JsonDecoder(LineDecoder):
    """Decodes JSON lines."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self._types = {name: _json_type(field.type.arrow) for name, field in stream.fields.items()}
        decimals = any("decimal" in str(kind) for kind in self._types.values())
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_Pairs, parse_float=Decimal if decimals else None
        )

    def schema(self) -> pa.Schema:
        """The declared fields, in types judged later."""
        return pa.schema(list(self._types.items()))

    def odd(self, lines: Sequence[bytes]) -> Iterable[int]:
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

    def whole(
        self, lines: list[bytes], at: np.ndarray, violations: dict[int, Violation]
    ) -> tuple[np.ndarray, pa.Table] | None:
        """Parse lines at once; one that does not parse fails them all."""
        block = b"\n".join(lines)
        try:
            table = pa_json.read_json(
                io.BytesIO(block),
                read_options=pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
                parse_options=pa_json.ParseOptions(
                    explicit_schema=self.schema(),
                    unexpected_field_behavior="infer" if self.strict else "ignore",
                ),
            )
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        for position, name in enumerate(table.column_names):
            if name not in self._types:  # of an undeclared key only its presence matters
                present = pc.if_else(table.column(name).is_valid(), True, None)
                table = table.set_column(position, name, present.cast(pa.bool_()))
        return (at, table) if table.num_rows == len(lines) else None

    def one(self, line: bytes) -> dict[str, Any] | Violation:
        """Parse one line; repeated keys and wrong types are told apart."""
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
                return Violation(MALFORMED, f"key {shown(name)} is there twice", name)
            if name in self._types:
                try:
                    record[name] = _coerce(value, self._types[name])
                except _CoercionError as error:
                    declared = self.stream.fields[name].type.text
                    return refusal(name, error.code, value, declared=declared)
            elif self.strict and value is not None:
                record[name] = True
        return record


class _Pairs:
    """A JSON object as written: repeated keys are still there."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items

    def __str__(self) -> str:
        return "{…}"


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
