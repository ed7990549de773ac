"""The result of decoding: columns for the records that could be read, violations for the others."""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from headrace.definitions.stream import Stream
from headrace.ingest.arrow_arrays import array_of
from headrace.ingest.values import (
    NAIVE_TIME,
    NO_SUCH_TIME,
    NOT_EXACT,
    NOT_FINITE,
    OUT_OF_RANGE,
    SHOWN_MAX,
    shown,
)

MALFORMED = "malformed"
INVALID_UTF8 = "invalid_utf8"
INVALID_ENCODING = "invalid_encoding"
TOO_LONG = "too_long"
WRONG_COLUMNS = "wrong_columns"
MISSING_REQUIRED = "missing_required"
WRONG_LENGTH = "wrong_length"
UNKNOWN_FIELD = "unknown_field"
FUTURE_TIME = "future_time"
TOMBSTONE = "tombstone"
UNFRAMED = "unframed"
UNKNOWN_SCHEMA = "unknown_schema"


@dataclass(frozen=True)
class Violation:
    """Why a record is refused."""

    code: str
    reason: str
    field: str | None = None


def refusal(name: str, code: str, value: object, *, declared: str) -> Violation:
    """Return why the value of a field does not have its declared type."""
    why = {
        NAIVE_TIME: "has neither `Z` nor an offset",
        NO_SUCH_TIME: "the clocks of its time zone never showed, or showed twice",
        NOT_FINITE: "is not a finite number",
        INVALID_UTF8: "holds half of a surrogate pair",
        OUT_OF_RANGE: f"does not fit into `{declared}`",
        NOT_EXACT: f"is a number that `{declared}` or its file rounds",
    }.get(code, f"is not of type `{declared}`")
    return Violation(code, f"`{name}` is {shown(value)}, which {why}", name)


def unknown(name: str, stream: Stream) -> Violation:
    """Return that a record has an undeclared field."""
    reason = f"{shown(name)} is not a field of `{stream.name}`"
    near = did_you_mean(name[:SHOWN_MAX], tuple(stream.fields))
    hint = f"; did you mean `{near}`?" if near else ""
    return Violation(UNKNOWN_FIELD, reason + hint, name[:SHOWN_MAX])


@functools.lru_cache(maxsize=1024)  # many records have the same one
def did_you_mean(name: str, declared: tuple[str, ...]) -> str | None:
    """Return the declared name closest to a name, without case and separators; None if none is close."""
    plain = {_plain(other): other for other in declared}
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Columns of the records that could be read, and a violation for each of the others.

    `index` is the place in the batch of each row; rows and violations together are all records.
    Columns have types that `values.convert` accepts. Undeclared columns are included only if the
    contract asks about them. `keys` are those of the sampled JSON lines, with their counts. `types` are
    those of undeclared columns that only say where a value is; None where no contract can declare it.
    """

    index: np.ndarray
    columns: dict[str, pa.Array]
    violations: dict[int, Violation]
    keys: Mapping[str, int] = field(default_factory=dict[str, int])
    types: Mapping[str, pa.DataType | None] = field(default_factory=dict[str, pa.DataType | None])


def in_order(
    index: np.ndarray, columns: dict[str, pa.Array]
) -> tuple[np.ndarray, dict[str, pa.Array]]:
    """Sort rows by their places in the batch, if they are not sorted."""
    if not (np.diff(index) < 0).any():
        return index, columns
    order = np.argsort(index, kind="stable")
    places = array_of(order, pa.int64())
    return index[order], {name: column.take(places) for name, column in columns.items()}
