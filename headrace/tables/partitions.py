"""Partition keys: how rows, files and text name one partition of a table.

A partition scheme is a tuple of terms in order, each a column name or `day(column)`. A key holds one
Python value per term: `datetime.date` for `day`, the column's value otherwise, `()` if unpartitioned.
"""

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BooleanType,
    DateType,
    IntegerType,
    LongType,
    StringType,
    TimestampType,
    TimestamptzType,
)

from headrace.errors import ContractError, UnsupportedTableError
from headrace.identifiers import plain_name

PartitionKey = tuple[object, ...]

_EPOCH = dt.date(1970, 1, 1)
_DAY = re.compile(r"day\((\w+)\)")
_DAY_TYPES = (TimestampType, TimestamptzType, DateType)
_VALUE_TYPES = (StringType, IntegerType, LongType, BooleanType)
_ALLOWED = "use `day(column)` of a time or date, or a column of strings, integers or booleans"
_FIRST_FIELD_ID = 1000  # the Iceberg specification reserves ids from 1000 for partition fields


@dataclass(frozen=True)
class Term:
    """One level of partitioning: a column, taken as it is or by its UTC day."""

    column: str
    by_day: bool

    @classmethod
    def parse(cls, text: str) -> "Term":
        """Read `column` or `day(column)`."""
        day = _DAY.fullmatch(text.strip())
        column = plain_name(day.group(1) if day else text.strip(), kind="partition column")
        return cls(column, by_day=day is not None)

    def __str__(self) -> str:
        return f"day({self.column})" if self.by_day else self.column


def spec_of(terms: Sequence[Term], schema: Schema, *, table: str) -> PartitionSpec:
    """Build the Iceberg partition spec of `terms`.

    Raises:
        ContractError: If a term names a column the table does not have, or one whose type makes no
            partitions here.

    """
    fields: list[PartitionField] = []
    for position, term in enumerate(terms):
        if term.column not in schema.column_names:
            raise ContractError(table, f"it is partitioned by `{term}`, which is not a column")
        source = schema.find_field(term.column)
        if not isinstance(source.field_type, _DAY_TYPES if term.by_day else _VALUE_TYPES):
            raise ContractError(table, f"it cannot be partitioned by `{term}`: {_ALLOWED}")
        fields.append(
            PartitionField(
                source_id=source.field_id,
                field_id=_FIRST_FIELD_ID + position,
                transform=DayTransform() if term.by_day else IdentityTransform(),
                name=f"{term.column}_day" if term.by_day else term.column,
            )
        )
    return PartitionSpec(*fields)


def terms_of(spec: PartitionSpec, schema: Schema) -> tuple[Term, ...]:
    """Read the terms back from an Iceberg partition spec."""
    return tuple(
        Term(schema.find_column_name(f.source_id) or "", isinstance(f.transform, DayTransform))
        for f in spec.fields
    )


def refuse_unknown(spec: PartitionSpec, schema: Schema, *, table: str) -> None:
    """Refuse a partition scheme of another program whose keys would be taken for something else.

    Raises:
        UnsupportedTableError: Naming the field.

    """
    for field in spec.fields:
        by_day = isinstance(field.transform, DayTransform)
        known = by_day or isinstance(field.transform, IdentityTransform)
        types = _DAY_TYPES if by_day else _VALUE_TYPES
        if not known or not isinstance(schema.find_type(field.source_id), types):
            raise UnsupportedTableError(table, f"it is partitioned by `{field}`; {_ALLOWED}")


def key_of_record(record: Record, terms: Sequence[Term]) -> PartitionKey:
    """Turn a manifest's partition record into a key."""
    values = (record[position] for position in range(len(terms)))
    return tuple(
        _EPOCH + dt.timedelta(days=value) if term.by_day and isinstance(value, int) else value
        for term, value in zip(terms, values, strict=True)
    )


def record_of_key(key: PartitionKey) -> Record:
    """Turn a key into the record a manifest stores."""
    return Record(*((v - _EPOCH).days if isinstance(v, dt.date) else v for v in key))


def key_to_text(key: PartitionKey) -> str:
    """Write a key as canonical JSON: dates in ISO form."""
    return json.dumps([v.isoformat() if isinstance(v, dt.date) else v for v in key])


def key_from_text(text: str, terms: Sequence[Term]) -> PartitionKey:
    """Read what `key_to_text` wrote."""
    return tuple(
        dt.date.fromisoformat(value) if term.by_day and isinstance(value, str) else value
        for term, value in zip(terms, json.loads(text), strict=True)
    )


def path_of_key(key: PartitionKey, terms: Sequence[Term]) -> str:
    """Name a partition's folder; only for humans, nothing is ever read from it."""
    parts = (
        f"{t.column}{'_day' if t.by_day else ''}={re.sub(r'[^A-Za-z0-9_.-]', '_', str(v))[:80]}"
        for t, v in zip(terms, key, strict=True)
    )
    return "/".join(parts)


def split(
    batch: pa.RecordBatch, terms: Sequence[Term]
) -> Iterator[tuple[PartitionKey, pa.RecordBatch]]:
    """Split a batch into its partitions, keeping the order of rows inside each."""
    if not terms or batch.num_rows == 0:
        if batch.num_rows:
            yield (), batch
        return
    columns = [_values(batch.column(term.column), term) for term in terms]
    keys = pa.table(columns, names=[str(i) for i in range(len(columns))])
    distinct = keys.group_by(keys.column_names, use_threads=False).aggregate([])
    rows = zip(*(distinct.column(name).to_pylist() for name in keys.column_names), strict=True)
    found = list(rows)
    if len(found) == 1:
        yield tuple(found[0]), batch
        return
    for key in found:
        yield tuple(key), batch.filter(_equal(columns, key))


def _values(column: pa.Array, term: Term) -> pa.Array:
    if not term.by_day:
        return column
    # casting to a zoneless type keeps the UTC instant, so the day is the UTC day
    return column.cast(pa.timestamp("us")).cast(pa.date32())


def _equal(columns: Iterable[pa.Array], key: PartitionKey) -> pa.Array:
    mask: pa.Array | None = None
    for column, value in zip(columns, key, strict=True):
        is_value = (
            pc.is_null(column)
            if value is None
            else pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), fill_value=False)
        )
        mask = is_value if mask is None else pc.and_(mask, is_value)
    if mask is None:
        msg = "a partition key needs at least one column"
        raise ValueError(msg)
    return mask
