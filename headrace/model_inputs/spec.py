"""The inputs of a model: which columns become which tensors, and how nulls are replaced."""

import difflib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import pyarrow as pa
import pyarrow.types as pt

from headrace.errors import FeatureSpecError, FeatureSpecReason

_BEYOND_FLOAT32 = 3.4028235677973366e38  # what is rounded to float32 is infinite from here on
MISSING_DENSE = 0.0
MISSING_ID = -1  # hashes are never negative, so it cannot collide with a hashed string


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """The columns of one model, by role.

    Attributes:
        dense: Numbers and flags, as columns of `Batch.dense` (float32).
        sparse: Categorical ids, int64. Integers are kept bit by bit; strings become a 63-bit hash
            that is the same on every machine and in every release (`hash_text`).
        sequence: Lists of ids or numbers, as (values, offsets). A null list reads as an empty one.
        label: Training targets, as columns of `Batch.labels` (float32); never null.
        weight: The weight of each row, as `Batch.weight` (float32); never null.
        key: A column that identifies the row, returned as `Batch.keys`, an Arrow array.
        missing: Replacement of nulls, by column. By default 0.0 for `dense`, and -1 for `sparse`
            and for a null *inside* a list.

    """

    dense: Sequence[str] = ()
    sparse: Sequence[str] = ()
    sequence: Sequence[str] = ()
    label: Sequence[str] = ()
    weight: str | None = None
    key: str | None = None
    missing: Mapping[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        for role in ("dense", "sparse", "sequence", "label"):
            names = getattr(self, role)
            if isinstance(names, str):
                msg = f"`{role}` takes a list of columns, found the text `{names}`"
                raise FeatureSpecError(msg, reason=FeatureSpecReason.NOT_A_LIST)
            object.__setattr__(self, role, tuple(names))
            doubled = sorted({name for name in names if list(names).count(name) > 1})
            if doubled:
                msg = f"`{role}` names `{doubled[0]}` more than once"
                reason = FeatureSpecReason.NAMED_TWICE
                raise FeatureSpecError(msg, reason=reason, column=doubled[0])
        if not self.columns:
            msg = "the spec names no column; give at least one of dense, sparse, sequence, label"
            raise FeatureSpecError(msg, reason=FeatureSpecReason.NO_COLUMNS)
        may_be_null = {*self.dense, *self.sparse, *self.sequence}
        for name in self.missing:
            if name not in may_be_null:
                msg = f"`missing` names `{name}`, which is in none of dense, sparse and sequence"
                reason = FeatureSpecReason.MISSING_UNUSED
                raise FeatureSpecError(msg, reason=reason, column=name)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column to read, each once."""
        extra = [name for name in (self.weight, self.key) if name is not None]
        return tuple(
            dict.fromkeys([*self.dense, *self.sparse, *self.sequence, *self.label, *extra])
        )

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that become float32: dense ones, then labels, then the weight."""
        return (*self.dense, *self.label, *([self.weight] if self.weight else []))

    @property
    def hash(self) -> str:
        """A short hash of everything that affects the contents of a batch."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        content["missing"] = sorted(self.missing.items())
        text = json.dumps(content, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def missing_number(self, name: str) -> float:
        """Return the replacement of nulls in a dense column."""
        return self.missing.get(name, MISSING_DENSE)

    def missing_id(self, name: str) -> int:
        """Return the replacement of a null id; `check` has refused one that is no whole number."""
        return int(self.missing.get(name, MISSING_ID))

    def missing_element(self, name: str) -> float:
        """Return the replacement of a null inside a list, of numbers or of ids."""
        return self.missing.get(name, MISSING_ID)

    def check(self, schema: pa.Schema, *, source: str) -> None:
        """Check the spec against the columns of a table; reads no data.

        Raises:
            FeatureSpecError: If a column is missing or has an unsuitable type; it names the first.

        """
        known: list[str] = schema.names
        for name in self.columns:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean `{close[0]}`? " if close else ""
                listed = ", ".join(f"`{other}`" for other in known)
                msg = f"{source} has no column `{name}`; {hint}columns: {listed}"
                reason = FeatureSpecReason.UNKNOWN_COLUMN
                raise FeatureSpecError(msg, reason=reason, column=name)
        for names, fits, allowed in (
            (self.numbers, _is_number, "a number or a boolean"),
            (self.sparse, _is_id, "an integer, a boolean or a string"),
            (self.sequence, _is_sequence, "a list of integers, numbers or strings"),
        ):
            for name in names:
                found: pa.DataType = schema.field(name).type
                if not fits(found):
                    msg = f"column `{name}` of {source} is {found}; here it must be {allowed}"
                    reason = FeatureSpecReason.WRONG_TYPE
                    raise FeatureSpecError(msg, reason=reason, column=name)
        self._check_missing(schema, source=source)

    def _check_missing(self, schema: pa.Schema, *, source: str) -> None:
        """Refuse a fraction in place of an id, whose row it would not be, and what float32 cannot hold."""
        for name, stand_in in self.missing.items():
            if (
                math.isfinite(stand_in)
                and abs(stand_in) >= _BEYOND_FLOAT32
                and name not in self.sparse
            ):
                msg = f"`missing` of `{name}` is {stand_in:g}, beyond float32, as which it is read"
                reason = FeatureSpecReason.TOO_LARGE
                raise FeatureSpecError(msg, reason=reason, column=name)
        lists = (n for n in self.sequence if not pt.is_floating(schema.field(n).type.value_type))
        for name in (*self.sparse, *lists):
            stand_in = self.missing.get(name, MISSING_ID)
            if not isinstance(stand_in, int) and not stand_in.is_integer():
                msg = f"`missing` of `{name}` is {stand_in}, but {source} has whole ids there"
                reason = FeatureSpecReason.WRONG_TYPE
                raise FeatureSpecError(msg, reason=reason, column=name)


def is_text(data_type: pa.DataType) -> bool:
    """Whether values of this type are hashed."""
    if pt.is_dictionary(data_type):
        return is_text(data_type.value_type)
    return bool(
        pt.is_string(data_type)
        or pt.is_large_string(data_type)
        or pt.is_binary(data_type)
        or pt.is_large_binary(data_type)
    )


def _is_number(data_type: pa.DataType) -> bool:
    return bool(
        pt.is_integer(data_type)
        or pt.is_floating(data_type)
        or pt.is_boolean(data_type)
        or pt.is_decimal(data_type)
    )


def _is_id(data_type: pa.DataType) -> bool:
    return bool(pt.is_integer(data_type) or pt.is_boolean(data_type)) or is_text(data_type)


def _is_sequence(data_type: pa.DataType) -> bool:
    if not (pt.is_list(data_type) or pt.is_large_list(data_type)):
        return False
    element: pa.DataType = data_type.value_type
    return bool(pt.is_floating(element)) or _is_id(element)
