"""Random tables as stock PyIceberg writes them: odd names, every type, and values at the edges.

A table is drawn as data, so that a failing one shrinks; `create` writes it through a catalog.
"""

import datetime as dt
import decimal
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st
from pyiceberg.catalog import Catalog
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    PrimitiveType,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

# names that differ only in case, that SQL knows or quotes, that our own sorting uses
NAMES = ("a", "A", "ü", "Ü", "select", "a \"b'", "%2F", "c0", "C0")
LONG = 5_000  # characters: more than a row group's minimum and maximum may have
_TEXTS = ("", "z" * LONG, "a", "b\0", "\0", "Z" * 17, "zz", "ü", "😀", "'", '"')
_TIME = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))  # noqa: DTZ001
_VALUES: Mapping[IcebergType, st.SearchStrategy[Any]] = {
    BooleanType(): st.booleans(),
    IntegerType(): st.sampled_from([0, 1, -(2**31), 2**31 - 1]),
    LongType(): st.sampled_from([0, 1, 2**53 + 1, -(2**63), 2**63 - 1]),
    FloatType(): st.sampled_from([-0.0, 0.0, 1.5, float("nan"), float("-inf")]),
    DoubleType(): st.sampled_from([-0.0, 0.0, 0.1, float("nan"), 5e-324]),
    DecimalType(9, 2): st.sampled_from([decimal.Decimal("-0.01"), decimal.Decimal("1234567.89")]),
    DecimalType(38, 10): st.sampled_from([decimal.Decimal(0), decimal.Decimal("9" * 28)]),
    DateType(): st.dates(dt.date(1, 1, 2)),
    TimeType(): st.times(),
    TimestampType(): _TIME,
    TimestamptzType(): _TIME.map(lambda at: at.replace(tzinfo=dt.UTC)),
    StringType(): st.sampled_from(_TEXTS),
    BinaryType(): st.sampled_from([text.encode() for text in _TEXTS] + [b"\xff"]),
    FixedType(3): st.binary(min_size=3, max_size=3),
    UUIDType(): st.uuids().map(lambda each: each.bytes),
}
_TELLING = (
    StringType(),
    FloatType(),
    DoubleType(),
    BinaryType(),
)  # most faults were found by these
# pyarrow makes no array of UUIDs inside of others
_NESTED_VALUES = {kind: values for kind, values in _VALUES.items() if kind != UUIDType()}


@dataclass(frozen=True, kw_only=True)
class ForeignTable:
    """What a table is made of: a schema, properties, and the rows of each append, by field name."""

    schema: Schema
    properties: Mapping[str, str]
    appends: tuple[tuple[Mapping[str, Any], ...], ...]
    sort_by: tuple[str, ...]  # columns to sort by; none to pack

    def create(self, catalog: Catalog, name: str) -> Table:
        """Write it, each append in a commit of its own."""
        table = catalog.create_table(name, self.schema, properties=dict(self.properties))
        for rows in self.appends:
            table.append(self.batch(rows))
        return table

    def batch(self, rows: tuple[Mapping[str, Any], ...]) -> pa.Table:
        """Rows as Arrow has them."""
        columns = self.schema.as_arrow()
        arrays = [pa.array([row[f.name] for row in rows], f.type) for f in columns]
        return pa.Table.from_arrays(arrays, schema=columns)


def _fields(
    kinds: st.SearchStrategy[IcebergType], *, most: int
) -> st.SearchStrategy[list[NestedField]]:
    named = st.permutations(NAMES).flatmap(
        lambda names: st.lists(kinds, min_size=2, max_size=most).map(
            lambda found: list(zip(names, found, strict=False))
        )
    )
    return named.map(lambda pairs: [NestedField(0, name, kind) for name, kind in pairs])


def _nested() -> st.SearchStrategy[IcebergType]:
    leaves = st.sampled_from(list(_NESTED_VALUES))
    structs = _fields(leaves, most=3).map(lambda fields: StructType(*fields))
    inner = st.one_of(leaves, structs)
    return st.one_of(
        structs,
        inner.map(lambda kind: ListType(0, kind, element_required=False)),
        inner.map(lambda kind: MapType(0, StringType(), 0, kind, value_required=False)),
    )


def values_of(kind: IcebergType) -> st.SearchStrategy[Any]:
    """Values of a type, null among them."""
    if isinstance(kind, StructType):
        drawn = st.fixed_dictionaries({f.name: values_of(f.field_type) for f in kind.fields})
    elif isinstance(kind, ListType):
        drawn = st.lists(values_of(kind.element_type), max_size=3)
    elif isinstance(kind, MapType):
        keys = st.sampled_from(("k", "K", "\0"))
        drawn = st.dictionaries(keys, values_of(kind.value_type), max_size=2).map(
            lambda found: list(found.items())
        )
    else:
        drawn = _VALUES[kind]
    return st.one_of(st.none(), drawn, drawn)


@st.composite
def foreign_tables(draw: st.DrawFn) -> ForeignTable:
    """Draw a table of a few appends with row groups of a few rows."""
    sorts = draw(st.sampled_from((True, True, False)))
    plain = st.sampled_from(list(_VALUES))
    kinds = st.one_of(st.sampled_from(_TELLING), plain, _nested())
    schema = assign_fresh_schema_ids(Schema(*draw(_fields(kinds, most=6))))
    rows = st.fixed_dictionaries({f.name: values_of(f.field_type) for f in schema.fields})
    appends = st.lists(st.lists(rows, min_size=2, max_size=8).map(tuple), min_size=2, max_size=3)
    named = [f.name for f in schema.fields if isinstance(f.field_type, PrimitiveType)]
    keys = st.permutations(named).map(lambda names: names[: len(names) // 2 + 1])
    return ForeignTable(
        schema=schema,
        properties={"write.parquet.row-group-limit": str(draw(st.integers(1, 3)))},
        appends=tuple(draw(appends)),
        sort_by=tuple(draw(keys)) if sorts else (),
    )


def fresh_name() -> str:
    """A table name that no other example has."""
    return f"ns.t{uuid.uuid4().hex}"


def comparable(rows: pa.Table) -> list[str]:
    """Rows in an order of their own, spelled so that -0.0 is not 0.0 and NaN equals NaN."""
    return sorted(map(repr, rows.to_pylist()))
