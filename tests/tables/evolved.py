"""Random nested schemas, rows and schema changes, and the one-line truth they are checked against.

A row is kept by field id: a struct is a mapping from ids, a list a list, a map a list of pairs. What
a schema shows of it is then plain: `shown` looks every field up by its id, whatever it is called.
"""

import datetime as dt
import decimal
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestamptzType,
)

from headrace.iceberg import schema as schemas
from headrace.tables.evolution.steps import (
    AddColumn,
    DropColumn,
    MakeOptional,
    MoveColumn,
    RenameColumn,
    SchemaStep,
    WidenColumn,
)

Draw = Callable[[st.SearchStrategy[Any]], Any]

NAMES = ("a", "b", "c", "key")  # few, so that a dropped name often comes back
_START = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
_LEAVES: dict[IcebergType, st.SearchStrategy[Any]] = {
    IntegerType(): st.integers(-(2**31), 2**31 - 1),
    LongType(): st.integers(-(2**63), 2**63 - 1),
    FloatType(): st.floats(width=32, allow_nan=False, allow_infinity=False),
    DoubleType(): st.floats(allow_nan=False, allow_infinity=False),
    StringType(): st.text("xyz", max_size=3),
    BooleanType(): st.booleans(),
    BinaryType(): st.binary(max_size=3),
    DateType(): st.dates(dt.date(1970, 1, 1), dt.date(2100, 1, 1)),
    TimestamptzType(): st.integers(0, 10**9).map(lambda s: _START + dt.timedelta(seconds=s)),
}
_WIDER = {IntegerType(): LongType(), FloatType(): DoubleType()}


def types(*, depth: int = 2) -> st.SearchStrategy[IcebergType]:
    """Any type a table can keep, nested up to `depth`; its fields are not numbered yet."""
    leaves = st.sampled_from([*_LEAVES, DecimalType(5, 2)])
    if depth == 0:
        return leaves
    inner = types(depth=depth - 1)
    return st.one_of(
        leaves,
        structs(inner),
        inner.map(lambda kind: ListType(0, kind, element_required=False)),
        st.tuples(st.sampled_from([StringType(), IntegerType()]), inner).map(
            lambda pair: MapType(0, pair[0], 0, pair[1], value_required=False)
        ),
    )


def structs(inner: st.SearchStrategy[IcebergType]) -> st.SearchStrategy[StructType]:
    """A struct of one to three optional fields."""
    fields = st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=3)
    return fields.map(
        lambda found: StructType(
            *(NestedField(0, name, kind, required=False) for name, kind in found.items())
        )
    )


def values(kind: IcebergType) -> st.SearchStrategy[Any]:
    """Any value of a numbered type, by field id; null and empty ones are common."""
    return st.none() | _present(kind)


def _present(kind: IcebergType) -> st.SearchStrategy[Any]:
    if isinstance(kind, StructType):
        return st.fixed_dictionaries({f.field_id: values(f.field_type) for f in kind.fields})
    if isinstance(kind, ListType):
        return st.lists(values(kind.element_type), max_size=2)
    if isinstance(kind, MapType):
        pairs = st.tuples(_LEAVES[kind.key_type], values(kind.value_type))
        return st.lists(pairs, max_size=2, unique_by=lambda pair: pair[0])
    if isinstance(kind, DecimalType):
        cents = st.integers(-(10**kind.precision) + 1, 10**kind.precision - 1)
        return cents.map(lambda n: decimal.Decimal(n).scaleb(-kind.scale))
    return _LEAVES[kind]


def shown(value: Any, kind: IcebergType) -> Any:  # noqa: ANN401  (any value)
    """What a schema with `kind` shows of a value that is kept by field id."""
    if value is None:
        return None
    if isinstance(kind, StructType):
        return {f.name: shown(value.get(f.field_id), f.field_type) for f in kind.fields}
    if isinstance(kind, ListType):
        return [shown(each, kind.element_type) for each in value]
    if isinstance(kind, MapType):
        return [(key, shown(each, kind.value_type)) for key, each in value]
    return value


def without_null_lists(value: Any, kind: IcebergType) -> Any:  # noqa: ANN401  (any value)
    """A shown value with null lists and maps as empty ones, which is how pyiceberg 0.12 reads them."""
    if isinstance(kind, StructType) and value is not None:
        return {f.name: without_null_lists(value[f.name], f.field_type) for f in kind.fields}
    if isinstance(kind, ListType):
        return [without_null_lists(each, kind.element_type) for each in value or ()]
    if isinstance(kind, MapType):
        return [(key, without_null_lists(each, kind.value_type)) for key, each in value or ()]
    return value


def places(schema: Schema) -> Iterator[tuple[tuple[str, ...], StructType]]:
    """Every struct of a schema, with the names that lead to it."""
    yield (), schema.as_struct()
    for field in schema.fields:
        yield from _places(field.field_type, (field.name,))


def _places(kind: IcebergType, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(kind, StructType):
        yield path, kind
        for field in kind.fields:
            yield from _places(field.field_type, (*path, field.name))
    elif isinstance(kind, ListType):
        yield from _places(kind.element_type, (*path, "element"))
    elif isinstance(kind, MapType):
        yield from _places(kind.value_type, (*path, "value"))


def a_step(draw: Draw, schema: Schema) -> SchemaStep:
    """Draw an addition, drop, rename, move or widening at a random depth; `row` stays as it is."""
    path, struct = draw(st.sampled_from(list(places(schema))))
    names = [f.name for f in struct.fields if f.name != "row"]
    free = [name for name in NAMES if name not in names]
    wider = {f.name: w for f in struct.fields if (w := _wider(f.field_type)) is not None}
    kinds = ["move"] if names else []
    kinds += ["add"] if free else []
    kinds += ["rename"] if free and names else []
    kinds += ["drop"] if names and len(struct.fields) > 1 else []
    kinds += ["widen"] if wider else []
    kind = draw(st.sampled_from(kinds))
    if kind == "add":
        return AddColumn(
            _joined(path, draw(st.sampled_from(free))), type=arrow(draw(types(depth=1)))
        )
    name = draw(st.sampled_from(sorted(wider) if kind == "widen" else names))
    if kind == "drop":
        return DropColumn(_joined(path, name))
    if kind == "rename":
        return RenameColumn(_joined(path, name), to=draw(st.sampled_from(free)))
    if kind == "widen":
        return WidenColumn(_joined(path, name), type=arrow(wider[name]))
    others = [f.name for f in struct.fields if f.name != name]
    where = draw(st.sampled_from(["before", "after", "first"] if others else ["first"]))
    other = "" if where == "first" else draw(st.sampled_from(others))
    return MoveColumn(_joined(path, name), where=where, other=other)


def take_with_pyiceberg(step: SchemaStep, update: UpdateSchema) -> None:
    """Take a step the way pyiceberg does."""
    path = tuple(step.path.split("."))
    match step:
        case AddColumn():
            update.add_column(path, iceberg(step.type))
        case DropColumn():
            update.delete_column(path)
        case RenameColumn():
            update.rename_column(path, step.to)
        case WidenColumn():
            update.update_column(path, field_type=iceberg(step.type))
        case MakeOptional():
            update.make_column_optional(path)
        case MoveColumn(where="first"):
            update.move_first(path)
        case MoveColumn(where="before"):
            update.move_before(path, (*path[:-1], step.other))
        case MoveColumn():
            update.move_after(path, (*path[:-1], step.other))


def arrow(kind: IcebergType) -> pa.DataType:
    """The Arrow type of an Iceberg one, numbered or not."""
    numbered = assign_fresh_schema_ids(Schema(NestedField(0, "c", kind, required=False)))
    return schemas.to_arrow(numbered).field("c").type


def iceberg(kind: pa.DataType) -> IcebergType:
    """The Iceberg type of an Arrow one."""
    return schemas.to_iceberg(pa.schema([pa.field("c", kind)]), table="t").fields[0].field_type


def _joined(path: tuple[str, ...], name: str) -> str:
    return ".".join((*path, name))


def _wider(kind: IcebergType) -> IcebergType | None:
    if isinstance(kind, DecimalType):
        return DecimalType(kind.precision + 4, kind.scale) if kind.precision <= 34 else None
    return _WIDER.get(kind)
